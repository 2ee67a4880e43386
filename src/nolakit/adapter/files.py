"""Adapter folders, read without the base, transformers, peft or (until tensors are asked for) torch.

A folder holds `adapter_config.json` and `adapter_model.safetensors`, as PEFT writes them. The tensors are
the coefficients, `base_model.model.<path>.lora_A.coefficients` and `.lora_B.coefficients`, and whatever
else was trained whole: biases, modules_to_save, token embeddings. `docs/format.md` is the specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nolakit.adapter.container import DESCRIPTION
from nolakit.adapter.contents import COEFFICIENTS, FLOATS, Adapter, ModuleInfo, TensorInfo
from nolakit.adapter.headers import open_safetensors, read_header
from nolakit.adapter.json_text import read_object
from nolakit.adapter.unpacking import open_packed
from nolakit.errors import AdapterError, AdapterNotFoundError
from nolakit.methods.site import ROLES, Role

if TYPE_CHECKING:
    import torch

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
RECORD_NAME = "training.json"


@dataclass(frozen=True)
class AdapterFile(Adapter):
    """An adapter folder."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    name: str
    file_bytes: tuple[int, int]

    @property
    def sha256(self) -> None:
        return None

    @contextmanager
    def open_tensors(self) -> Iterator[Any]:
        with open_safetensors(self.folder / WEIGHTS_NAME) as file:
            yield file

    def coefficients(self, factors: Sequence[tuple[ModuleInfo, Role]]) -> torch.Tensor:
        import torch

        names = [f"{module.key}.{role}.{COEFFICIENTS}" for module, role in factors]
        with self.open_tensors() as file:
            stacked = torch.stack([file.get_tensor(name).float() for name in names])
        for name, finite in zip(names, stacked.isfinite().all(dim=1).tolist(), strict=True):
            if not finite:
                raise AdapterError(f"found {name!r} with numbers that are not finite; the training diverged")
        return stacked

    @property
    def record(self) -> dict[str, Any] | None:
        path = self.folder / RECORD_NAME
        return read_object(path) if path.is_file() else None

    @property
    def coefficient_bytes(self) -> int:
        return sum(info.bytes for info in self.own_tensors().values())


def open_adapter(path: str | Path) -> Adapter:
    """Read the configuration and the header of an adapter: a folder, a packed file, or a folder with a packed file.

    Raises:
        AdapterNotFoundError: no such folder or file, or one of the folder's two files is missing.
        AdapterError: a configuration or a tensor file that cannot be read or does not fit the other.
    """
    folder = Path(path)
    if is_file(folder):
        return open_packed(folder)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not is_file(folder / name):
            raise AdapterNotFoundError(
                f"found no {name} in {str(folder)!r}; expected a packed adapter, or an adapter folder as "
                f"save_pretrained writes it{'' if folder.is_dir() else ' (there is no such folder or file)'}"
            )
    tensors = read_header(folder / WEIGHTS_NAME)
    if DESCRIPTION in tensors:
        return open_packed(folder / WEIGHTS_NAME)
    sizes = (folder / WEIGHTS_NAME).stat().st_size, (folder / CONFIG_NAME).stat().st_size
    adapter = AdapterFile(folder, read_config(folder / CONFIG_NAME), tensors, str(folder), sizes)
    if adapter.computed:
        _check_counts(adapter)
    return adapter


def is_file(path: Path) -> bool:
    """Whether there is such a file. Raises AdapterNotFoundError where that cannot be told: a path that is too long,
    or in a folder that may not be read."""
    try:
        return path.is_file()
    except OSError as error:
        raise AdapterNotFoundError(f"found no adapter at {str(path)[:200]!r}: {error.strerror}") from error


def read_config(path: Path) -> dict[str, Any]:
    """The configuration as a dict. Raises AdapterError where it is not one with a peft_type."""
    config = read_object(path)
    if not isinstance(config.get("peft_type"), str):
        raise AdapterError(f"found {str(path)!r} without a peft_type; expected a PEFT adapter configuration")
    return config


def _check_counts(adapter: AdapterFile) -> None:
    """Each factor has as many coefficients as its method stores, of a dtype that the format has."""
    modules = adapter.checked_modules()
    counts = adapter.layout.counts([module.site for module in modules])
    if adapter.config.get("module_names") is None and not all(
        count for each in counts for count in each.values()
    ):
        raise AdapterError(
            f"found no module_names in {adapter.name!r}, whose modules do not all have numbers of their own; expected "
            "their names. Fetch or save it again"
        )
    for module, expected in zip(modules, counts, strict=True):
        roles: set[Role] = {*ROLES, *module.coefficients}
        for role in roles:
            tensor, count = module.coefficients.get(role), expected.get(role, 0)
            found = (tensor.shape, tensor.dtype) if tensor is not None else ((0,), FLOATS[0])
            if found[0] != (count,) or found[1] not in FLOATS or (tensor is not None and not count):
                raise AdapterError(
                    f"found {role} of {module.path!r} with shape {found[0]} in {found[1]}; the configuration "
                    f"says {(count,)}, in {', '.join(FLOATS)}"
                )
