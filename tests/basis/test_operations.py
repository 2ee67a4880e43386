"""`combine` and `project`: values, gradients, dtypes, shapes, refusals and what they leave untouched."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from backends_here import BACKENDS_HERE
from nolakit.basis import combine, project, stream_number, use_backend, vector
from nolakit.errors import BackendError, BasisError
from plain_philox import basis_bytes

SEED, STREAM = 11, stream_number("lora_B")
# of sums of up to 16,384 float32 terms, relative to the largest entry
TOLERANCE = 2e-6

CASES = [  # (batch shape, num_basis, size): odd sizes, one entry, one vector, several tiles, several threads
    ((), 1, 1),
    ((), 3, 15),
    ((), 7, 16),
    ((2,), 5, 17),
    ((), 64, 1023),
    ((2, 3), 33, 2500),
    ((), 512, 16384),
]


def materialised(num_basis: int, size: int) -> np.ndarray:
    """The basis in float64 from the plain generator, scaled. # shape: (num_basis, size)"""
    rows = [np.frombuffer(basis_bytes(SEED, STREAM, index, 0, size), np.uint8) for index in range(num_basis)]
    return (2.0 * np.stack(rows) - 255) / 256 / math.sqrt(num_basis)


@pytest.fixture(scope="module")
def whole_basis() -> np.ndarray:
    return materialised(512, 16384) * math.sqrt(512)


def assert_close(result: torch.Tensor, expected: np.ndarray) -> None:
    assert result.shape == expected.shape
    assert np.abs(result.double().cpu().numpy() - expected).max() <= TOLERANCE * max(
        1.0, np.abs(expected).max()
    )


ROWS = [
    (backend, device, *case)
    for backend, device in BACKENDS_HERE.items()
    # Triton's interpreter would take a minute for the last two
    for case in (CASES[:-2] if (backend, device) == ("triton", "cpu") else CASES)
]


@pytest.mark.parametrize("backend, device, batch, num_basis, size", ROWS)
def test_values(backend, device, batch, num_basis, size, whole_basis):
    basis = whole_basis[:num_basis, :size] / math.sqrt(num_basis)
    generator = torch.Generator().manual_seed(size)
    coefficients = torch.randn(*batch, num_basis, generator=generator)
    grad = torch.randn(*batch, size, generator=generator)
    with use_backend(backend):
        combined = combine(coefficients.to(device), seed=SEED, stream=STREAM, size=size)
        projected = project(grad.to(device), num_basis=num_basis, seed=SEED, stream=STREAM)
    assert_close(combined, coefficients.double().numpy() @ basis)
    assert_close(projected, grad.double().numpy() @ basis.T)


@pytest.mark.parametrize("batch, num_basis, size", CASES[:4])
def test_gradients_in_float64(batch, num_basis, size):
    coefficients = torch.randn(*batch, num_basis, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(*batch, size, dtype=torch.float64, requires_grad=True)

    def combined(c):
        return combine(c, seed=SEED, stream=STREAM, size=size)

    def projected(g):
        return project(g, num_basis=num_basis, seed=SEED, stream=STREAM)

    assert torch.autograd.gradcheck(combined, coefficients)
    assert torch.autograd.gradcheck(projected, grad)
    assert torch.autograd.gradgradcheck(lambda c: combined(c) ** 2, coefficients)


@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
def test_the_gradient_of_combine_is_project(backend, device):
    coefficients = torch.randn(2, 40, device=device, requires_grad=True)
    grad = torch.randn(2, 700, device=device)
    with use_backend(backend):
        combine(coefficients, seed=SEED, stream=STREAM, size=700).backward(grad)
        expected = project(grad, num_basis=40, seed=SEED, stream=STREAM)
    assert torch.equal(coefficients.grad, expected)


@pytest.mark.parametrize("dtype, expected", [
    (torch.float32, torch.float32), (torch.bfloat16, torch.float32), (torch.float16, torch.float32),
    (torch.float64, torch.float64),
])  # fmt: skip
def test_results_are_float32_at_least(dtype, expected):
    coefficients = torch.randn(8).to(dtype)
    combined = combine(coefficients, seed=SEED, stream=STREAM, size=100)
    assert combined.dtype == expected
    wide = combine(coefficients.to(expected), seed=SEED, stream=STREAM, size=100)
    assert torch.equal(combined, wide)
    assert project(combined.to(dtype), num_basis=8, seed=SEED, stream=STREAM).dtype == expected


@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
def test_autocast_changes_nothing(backend, device):
    coefficients = torch.randn(64, device=device, requires_grad=True)
    with use_backend(backend):
        plain = combine(coefficients, seed=SEED, stream=STREAM, size=1000)
        plain.sum().backward()
        grad, coefficients.grad = coefficients.grad, None
        with torch.autocast(device, dtype=torch.bfloat16):
            cast = combine(coefficients, seed=SEED, stream=STREAM, size=1000)
            cast.sum().backward()
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)
    assert torch.equal(coefficients.grad, grad)


def test_results_do_not_depend_on_the_number_of_threads():
    coefficients, grad = torch.randn(300), torch.randn(20000)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            combined = combine(coefficients, seed=SEED, stream=STREAM, size=20000)
            results.append((combined, project(grad, num_basis=300, seed=SEED, stream=STREAM)))
    finally:
        torch.set_num_threads(threads)
    for combined, projected in results[1:]:
        assert torch.equal(combined, results[0][0])
        assert torch.equal(projected, results[0][1])


@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
def test_global_generators_are_left_alone(backend, device):
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    with use_backend(backend):
        combine(torch.ones(4, device=device), seed=SEED, stream=STREAM, size=64)
        project(torch.ones(64, device=device), num_basis=4, seed=SEED, stream=STREAM)
        vector(64, seed=SEED, stream=STREAM, device=device)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_seeds_streams_and_roles_differ():
    vectors = [
        vector(256, seed=seed, stream=stream) for seed in (0, 1, 1 << 32) for stream in (0, 1, 1 << 32)
    ]
    vectors += [vector(256, seed=0, stream=stream_number(role)) for role in ("lora_A", "lora_B", "lora_A0")]
    for first in range(len(vectors)):
        for second in range(first):
            assert not torch.equal(vectors[first], vectors[second])


def test_entries_are_uniform():
    values = vector(1 << 20, seed=1, stream=2)
    counts = torch.bincount(((values * 256 + 255) / 2).long(), minlength=256)
    expected = values.numel() / 256
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert 170 < chi_squared < 350  # 255 degrees of freedom: 255 +- 4 * 22.6
    assert abs(values.mean()) < 4 * (1 / 3 / values.numel()) ** 0.5
    assert values.var() == pytest.approx(1 / 3, rel=5e-3)


def test_compiled_in_one_graph():
    def update(c):
        return combine(c, seed=SEED, stream=STREAM, size=48).view(6, 8).sum(0)

    coefficients = torch.randn(10, requires_grad=True)
    compiled = torch.compile(update, fullgraph=True, backend="aot_eager")
    (expected,) = torch.autograd.grad(update(coefficients).square().sum(), coefficients)
    (grad,) = torch.autograd.grad(compiled(coefficients).square().sum(), coefficients)
    assert torch.equal(grad, expected)
    assert torch.equal(compiled(coefficients), update(coefficients))


def test_meta_tensors_get_shapes_without_work():
    out = combine(torch.empty(2, 1 << 20, device="meta"), seed=0, stream=0, size=1 << 30)
    assert out.shape == (2, 1 << 30)
    assert out.device.type == "meta"


@pytest.mark.parametrize("arguments, said", [
    ({"seed": -1}, "seed -1"), ({"seed": 1 << 64}, "seed"), ({"seed": True}, "seed"), ({"stream": -1}, "stream"),
    ({"stream": 1 << 64}, "stream"), ({"size": 0}, "size 0"), ({"size": (1 << 36) + 1}, "size"),
    ({"coefficients": torch.ones(3, dtype=torch.long)}, "int64"), ({"coefficients": torch.tensor(1.0)}, "shape"),
    ({"coefficients": torch.ones(2, 0)}, "shape"),
])  # fmt: skip
def test_bad_arguments_are_refused(arguments, said):
    good = {"coefficients": torch.ones(3), "seed": 0, "stream": 0, "size": 8} | arguments
    with pytest.raises(BasisError, match=said):
        combine(good.pop("coefficients"), **good)


def test_bad_names_are_refused():
    with pytest.raises(BackendError, match="no-such"), use_backend("no-such"):
        pass
    with use_backend("numba"), pytest.raises(BackendError, match="float64"):
        combine(torch.ones(2, dtype=torch.float64), seed=0, stream=0, size=4)
    for role in ("", "a/b"):
        with pytest.raises(BasisError, match="role"):
            stream_number(role)
    with pytest.raises(BasisError, match="num_basis 0"):
        project(torch.ones(3), num_basis=0, seed=0, stream=0)


def test_numba_holds_no_basis_in_memory():
    """Peak extra memory of a combination over a basis of 512 MiB in float32 stays within a few outputs."""
    code = (
        "import resource, torch\nfrom nolakit.basis import combine, project\n"
        "combine(torch.ones(4), seed=0, stream=0, size=64)\n"
        "project(torch.ones(64), num_basis=4, seed=0, stream=0)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "out = combine(torch.ones(256), seed=0, stream=0, size=1 << 19)\n"
        "project(out, num_basis=256, seed=0, stream=0)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    kibibytes = int(printed) if sys.platform.startswith("linux") else int(printed) // 1024
    assert kibibytes < 32 << 10
