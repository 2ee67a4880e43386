"""Import of an adapter that UCDvision's LLaMA code trained, as a PEFT LoRA folder.

Its basis is `torch.manual_seed(seed)` followed by `uniform_(-1, 1)` on the device of the coefficients and in their
dtype. torch's generators give other numbers on another kind of device, and CUDA's give other numbers on another GPU
model, so only the kind of device that made a basis can make it again. nolakit's own format exists to end this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from nolakit.adapter.contents import COEFFICIENTS
from nolakit.adapter.files import CONFIG_NAME, WEIGHTS_NAME, read_config
from nolakit.adapter.headers import open_safetensors, read_header
from nolakit.adapter.writing import check_free
from nolakit.errors import AdapterError, AdapterNotFoundError, DeviceError, UnsupportedError
from nolakit.export.lora import write_lora
from nolakit.methods.site import ROLES

CONVERSION = """import torch; from safetensors.torch import save_file
save_file({k: v.contiguous() for k, v in torch.load("adapter_model.bin", map_location="cpu").items()}, \
"adapter_model.safetensors", metadata={"device": "cuda " + torch.cuda.get_device_name()})"""
INTEGERS = (torch.int64, torch.int32)  # dtypes of seeds
BLOCK = 64  # basis vectors that are widened to float32 at a time


def import_official(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    made_on: str | None = None,
    dtype: torch.dtype = torch.float32,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Expand an official NOLA checkpoint on the kind of device that trained it, and write it as LoRA.

        lora_A = A0 + 1/sqrt(k) sum_i alpha_i A_i,   lora_B = B0 + 1/sqrt(k) sum_i beta_i B_i

    with A0 and B0 as they are in the file and A_i, B_i from its seeds. The sums are taken in float32, where the
    official code rounds to the dtype of the coefficients.

    Args:
        checkpoint: a folder with adapter_config.json (`use_nola`) and adapter_model.safetensors.
        folder: where to write; appears whole or not at all.
        made_on: the device of the training, "cpu" or "cuda", or with the GPU's name, "cuda NVIDIA A100-SXM4-80GB". None
            takes what the file's metadata say under "device".
        dtype: of the factors.
        overwrite: replace what is there.
        progress: called with the number of factors done and of all.

    Returns:
        The folder.

    Raises:
        DeviceError: the device that made the basis is not known, or is not this machine's.
        AdapterError: files that are missing or no official checkpoint.
        UnsupportedError: a pickle, with the two lines that convert it.
        OutputExistsError: `folder` is there and `overwrite` is not set.

    Memory: one factor's whole basis, k * rank * (in or out) numbers, as in the official code.
    """
    check_free(folder, overwrite=overwrite)
    source = Path(checkpoint)
    _refuse_pickles(source)
    config = read_config(source / CONFIG_NAME)
    if not config.get("use_nola"):
        raise AdapterError(
            f"found {str(source / CONFIG_NAME)!r} without use_nola; expected a checkpoint of UCDvision's LLaMA code"
        )
    header = read_header(source / WEIGHTS_NAME)
    factors = [key.removesuffix("." + COEFFICIENTS) for key in header if key.endswith("." + COEFFICIENTS)]
    missing = [
        f"{name}.{part}" for name in factors for part in ("seed", "weight") if f"{name}.{part}" not in header
    ]
    if not factors or missing:
        raise AdapterError(
            f"found no {missing[0] if missing else COEFFICIENTS!r} in {str(source / WEIGHTS_NAME)!r}; expected the "
            "seed, the weight and the coefficients of each factor, as the official code saves them"
        )
    device = _device(source / WEIGHTS_NAME, made_on)
    with open_safetensors(source / WEIGHTS_NAME) as file:
        tensors = {key: file.get_tensor(key) for key in header}
    for done, name in enumerate(factors, 1):
        start = tensors.pop(f"{name}.weight")
        seed, coefficients = tensors.pop(f"{name}.seed"), tensors.pop(f"{name}.{COEFFICIENTS}")
        if (
            name.rpartition(".")[2] not in ROLES
            or start.ndim != 2
            or not start.numel()
            or coefficients.ndim != 1
            or not len(coefficients)
        ):
            raise AdapterError(
                f"found {name!r} of shape {tuple(start.shape)}; expected a lora_A or lora_B matrix"
            )
        if seed.numel() != 1 or seed.dtype not in INTEGERS or not (_finite(coefficients) and _finite(start)):
            raise AdapterError(
                f"found {name!r} with a seed that is no integer, or numbers that are not finite floats"
            )
        _check_memory(coefficients.numel() * start.numel() * coefficients.element_size(), name)
        combined = _combine(coefficients.to(device), tuple(start.shape), int(seed.item()))
        tensors[f"{name}.weight"] = (start.float() + combined.cpu()).to(dtype)
        if progress:
            progress(done, len(factors))
    return write_lora(config, tensors, folder, overwrite=overwrite)


def _combine(coefficients: torch.Tensor, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """`1/sqrt(k) sum_i c_i W_i` with the official basis of a seed, on the device of the coefficients."""
    count = coefficients.numel()
    generator = torch.Generator(coefficients.device).manual_seed(seed)
    basis = torch.empty(count, *shape, dtype=coefficients.dtype, device=coefficients.device)
    basis.uniform_(-1.0, 1.0, generator=generator).mul_(1.0 / math.sqrt(count))
    total = torch.zeros(math.prod(shape), device=coefficients.device)
    for first in range(0, count, BLOCK):
        block = basis[first : first + BLOCK].flatten(1).float()
        total += coefficients[first : first + BLOCK].float() @ block
    return total.reshape(shape)


def _finite(numbers: torch.Tensor) -> bool:
    return numbers.dtype in (torch.float32, torch.float16, torch.bfloat16) and bool(numbers.isfinite().all())


def _check_memory(size: int, name: str) -> None:
    free = psutil.virtual_memory().available
    if size > free:
        raise AdapterError(
            f"found {name!r}, whose basis takes {size:,} bytes at once, as the official code made it; this machine has "
            f"{free:,} free"
        )


def _refuse_pickles(source: Path) -> None:
    """Raises UnsupportedError for a pickle, AdapterNotFoundError where a file is missing."""
    pickles = [source] if source.is_file() else sorted(source.glob("adapter_model.[bp]*"))
    if pickles and not (source / WEIGHTS_NAME).is_file():
        raise UnsupportedError(
            f"found {str(pickles[0])!r}; nolakit opens no pickles, which can run any code. Convert it to safetensors "
            f"in the environment and on the machine that made it:\n{CONVERSION}"
        )
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (source / name).is_file():
            raise AdapterNotFoundError(
                f"found no {name} in {str(source)!r}; expected a checkpoint folder of UCDvision's LLaMA code"
            )


def _device(path: Path, made_on: str | None) -> torch.device:
    """The device that made the basis, if this machine has it."""
    with open_safetensors(path) as file:
        recorded = (file.metadata() or {}).get("device")
    shorter, device = sorted([recorded or "", made_on or ""], key=len)
    if not f"{device} ".startswith(f"{shorter} ".lstrip()):
        raise DeviceError(
            f"found made_on {made_on!r} for a checkpoint that records {recorded!r}; leave it out"
        )
    if not device:
        raise DeviceError(
            "found no record of the device that trained this checkpoint; its random basis is another one on every "
            "kind of device, and a wrong one gives a wrong adapter without a sign. Say which (--made-on cpu or cuda)"
        )
    kind, _, name = device.partition(" ")
    here = _devices_here()
    if kind not in here:
        raise DeviceError(
            f"found a checkpoint whose basis was made on {device!r}; this machine has {', '.join(here)}, whose "
            f"generators give other numbers. Import it on a machine with {device!r}; the LoRA folder made there works "
            "everywhere"
        )
    if name and name != here[kind]:
        raise DeviceError(
            f"found a checkpoint whose basis was made on {name!r}; this machine's {kind} is {here[kind]!r}, and torch "
            "gives other random numbers on another GPU model. Import it on the model that made it"
        )
    return torch.device(kind)


def _devices_here() -> dict[str, str]:
    """Kinds of devices of this machine, each with the model's name if torch tells it."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return {"cpu": ""}
    name = torch.cuda.get_device_name() if accelerator.type == "cuda" else ""
    return {"cpu": "", accelerator.type: name}
