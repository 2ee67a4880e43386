"""Fine-tuning whose result is a seed and a few hundred numbers.

Importing nolakit registers its methods with PEFT: at once where PEFT is imported already, else as soon as it
is. The import itself loads neither torch nor transformers; the names below are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module

from nolakit.hook import register_with_peft

TYPE_CHECKING = False  # `typing` would be a third of this import's time
if TYPE_CHECKING:
    from typing import Any

    from nolakit import basis, methods, serve
    from nolakit.adapter.arithmetic import weighted_sum
    from nolakit.adapter.expand import expand
    from nolakit.adapter.files import open_adapter
    from nolakit.adapter.inspect import inspect
    from nolakit.adapter.packed_files import unpack, write_packed
    from nolakit.adapter.packing import pack
    from nolakit.adapter.unpacking import read_packed
    from nolakit.export.gguf import export_gguf
    from nolakit.export.lora import export_lora
    from nolakit.export.merged import export_merged
    from nolakit.export.official import import_official
    from nolakit.store.store import Store
    from nolakit.tuner.gradient_energy import gradient_energy

    NolaConfig: Any  # and the other methods', made from their options
    from nolakit.tuner.calibration import calibrate
    from nolakit.tuner.energy import energy_ranks
    from nolakit.tuner.loading import load
    from nolakit.tuner.model import ComputedLoraModel

__all__ = [
    "ComputedLoraModel", "NolaConfig", "Store", "basis", "calibrate", "energy_ranks", "expand", "export_gguf",
    "export_lora", "export_merged", "gradient_energy", "import_official", "inspect", "load", "methods", "open_adapter",
    "pack", "read_packed", "serve", "unpack", "weighted_sum", "write_packed",
]  # fmt: skip

_LAZY = {
    "ComputedLoraModel": "nolakit.tuner.model",
    "Store": "nolakit.store.store",
    "calibrate": "nolakit.tuner.calibration",
    "energy_ranks": "nolakit.tuner.energy",
    "expand": "nolakit.adapter.expand",
    "inspect": "nolakit.adapter.inspect",
    "gradient_energy": "nolakit.tuner.gradient_energy",
    "load": "nolakit.tuner.loading",
    "open_adapter": "nolakit.adapter.files",
    "pack": "nolakit.adapter.packing",
    "read_packed": "nolakit.adapter.unpacking",
    "unpack": "nolakit.adapter.packed_files",
    "weighted_sum": "nolakit.adapter.arithmetic",
    "write_packed": "nolakit.adapter.packed_files",
    "export_lora": "nolakit.export.lora",
    "export_merged": "nolakit.export.merged",
    "export_gguf": "nolakit.export.gguf",
    "import_official": "nolakit.export.official",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in ("basis", "methods", "serve"):
        return import_module(f"nolakit.{name}")
    if name in _config_names():
        return getattr(import_module("nolakit.tuner.config"), name)
    if name == "__version__":
        from importlib.metadata import version  # 30 ms that most processes never need

        return version("nolakit")
    raise AttributeError(
        f"module 'nolakit' has no attribute {name!r}; it has {', '.join([*__all__, *_config_names()])}"
    )


def _config_names() -> list[str]:
    """The configuration class of each method, `NolaConfig` and the others."""
    methods = import_module("nolakit.methods")
    return [f"{methods.class_name(name)}Config" for name in methods.names()]


def __dir__() -> list[str]:
    return [*globals(), *__all__, *_config_names()]


register_with_peft()
