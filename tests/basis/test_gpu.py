"""What is special to the Triton kernels: both ways to multiply, partial sums, 64-bit addresses, repeatability.

They run on a GPU where there is one, and otherwise in Triton's interpreter on the CPU.
"""

from __future__ import annotations

import pytest
import torch

from backends_here import BACKENDS_HERE
from nolakit.basis import combine, project, use_backend
from nolakit.basis.backends import backend_for
from nolakit.errors import BackendError

TOLERANCE = 2e-6
LAST = 2**64 - 1  # every bit of the key and of the stream's counter words set

HERE = [device for name, device in BACKENDS_HERE.items() if name == "triton"]
ON_A_GPU = "cuda" in HERE

CASES = [  # (batch, num_basis, size): lanes up to 8 rows, tensor cores from 9, full and part groups, odd sizes
    (1, 1, 1),
    (1, 70, 33),  # three ranges of basis vectors
    (3, 5, 525),  # four rows a program, one of them empty; three ranges of blocks
    (8, 9, 40),
    (9, 40, 45),
    (16, 64, 320),
    (17, 35, 1237),
    (65, 3, 50),  # two groups of rows
]
if ON_A_GPU:
    CASES += [(batch, 1000, 16 * 28672) for batch in (1, 7, 16, 80)]  # a factor of a 70B model


def inputs(batch: int, num_basis: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    coefficients = torch.randn(batch, num_basis, generator=generator)
    return coefficients, torch.randn(batch, size, generator=generator)


def both(coefficients: torch.Tensor, grad: torch.Tensor, seed: int, stream: int) -> list[torch.Tensor]:
    num_basis, size = coefficients.shape[-1], grad.shape[-1]
    return [
        combine(coefficients, seed=seed, stream=stream, size=size),
        project(grad, num_basis=num_basis, seed=seed, stream=stream),
    ]


def assert_close(results: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for result, exact in zip(results, expected, strict=True):
        assert result.dtype == torch.float32
        assert (result - exact).abs().max() <= TOLERANCE * max(1.0, exact.abs().max())


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("batch, num_basis, size", CASES)
def test_values_are_the_references(device, batch, num_basis, size):
    coefficients, grad = (tensor.to(device) for tensor in inputs(batch, num_basis, size))
    with use_backend("reference"):
        expected = both(coefficients.double(), grad.double(), LAST, LAST)
    with use_backend("triton"):
        assert_close(both(coefficients, grad, LAST, LAST), expected)


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("batch", [1, 17])
def test_two_runs_give_the_same_bits(device, batch):
    tensors = [tensor.to(device) for tensor in inputs(batch, 40, 300)]
    with use_backend("triton"):
        first, second = both(*tensors, 5, 6), both(*tensors, 5, 6)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tensor_cores_keep_the_range_of_float32(device, scale):
    tensors = inputs(16, 8, 64)
    expected = both(*(tensor.double() for tensor in tensors), 5, 6)
    with use_backend("triton"):
        results = both(*(tensor.to(device) * scale for tensor in tensors), 5, 6)
    assert_close([result.cpu() / scale for result in results], expected)


@pytest.mark.parametrize("device", HERE)
def test_rows_of_a_batch_do_not_touch_each_other(device):
    coefficients, grad = (tensor.to(device) for tensor in inputs(17, 40, 90))
    coefficients[3], grad[3] = torch.nan, torch.nan
    with use_backend("triton"):
        for result in both(coefficients, grad, 5, 6):
            assert result[3].isnan().all()
            assert result[:3].isfinite().all()
            assert result[4:].isfinite().all()


@pytest.mark.parametrize("device", HERE)
def test_other_dtypes_are_refused(device):
    with use_backend("triton"), pytest.raises(BackendError, match="float64"):
        combine(torch.ones(2, dtype=torch.float64, device=device), seed=0, stream=0, size=4)


def test_a_tensor_finds_its_backend():
    """The CPU's never becomes the interpreter by itself."""
    assert backend_for(torch.ones(1)).__name__ == "nolakit.basis.cpu"
    if ON_A_GPU:
        assert backend_for(torch.ones(1, device="cuda")).__name__ == "nolakit.basis.gpu"


@pytest.mark.parametrize("device", HERE)
def test_a_row_holds_what_it_holds_alone(device):
    """On a GPU with offsets past 2**31."""
    size = (1 << 27) + 48 if device == "cuda" else 48
    coefficients = 2.0 ** torch.arange(17, device=device)[:, None]  # products are exact both ways
    with use_backend("triton"):
        out = combine(coefficients, seed=5, stream=6, size=size)
        assert torch.equal(out[16], combine(coefficients[16], seed=5, stream=6, size=size))
