"""What llama.cpp calls the tensors of a base model, and how it orders their rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nolakit.adapter.contents import ModuleInfo
from nolakit.errors import BaseMismatchError, ModelError, UnsupportedError

MOST_LAYERS = 10_000  # names are made for each


@dataclass(frozen=True)
class Architecture:
    """llama.cpp's name of a transformers model type, and whether its q and k rows are permuted for the rope."""

    name: str
    permuted: bool


# Those whose tokens the tests compare with transformers'.
ARCHITECTURES = {
    "llama": Architecture("llama", permuted=True),
    "mistral": Architecture("llama", permuted=True),
    "qwen2": Architecture("qwen2", permuted=False),
    "qwen3": Architecture("qwen3", permuted=False),
}


def architecture_of(config: dict[str, Any]) -> Architecture:
    """llama.cpp's architecture of a base. Raises UnsupportedError where there is none that is tested."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise UnsupportedError(
            f"found a base of type {kind!r}; expected one of {', '.join(ARCHITECTURES)}, whose GGUF adapters are "
            "tested. For another, `--to lora` and llama.cpp's convert_lora_to_gguf.py"
        )
    return ARCHITECTURES[kind]


def tensor_names(
    gguf: Any, architecture: Architecture, config: dict[str, Any]
) -> Callable[[ModuleInfo], str]:
    """The GGUF tensor of a module."""
    layers = config.get("num_hidden_layers")
    if type(layers) is not int or not 0 < layers <= MOST_LAYERS:
        raise ModelError(
            f"found num_hidden_layers {repr(layers)[:80]} in the base's configuration; expected a number up to "
            f"{MOST_LAYERS:,}"
        )
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.name)
    table = gguf.get_tensor_name_map(kind, layers)

    def name(module: ModuleInfo) -> str:
        found = table.get_name(module.canonical) or table.get_name(f"model.{module.canonical}")
        if found is None:
            raise BaseMismatchError(
                f"found module {module.path!r}, which a {architecture.name} of {layers} layers does not have; expected "
                "the base that the adapter was trained on (--base)"
            )
        return f"{found}.weight"

    return name


def heads_of(config: dict[str, Any], module: ModuleInfo) -> int:
    """Heads of q or k. Raises BaseMismatchError where the rows do not divide into them."""
    heads = config.get("num_attention_heads")
    if module.path.endswith("k_proj"):
        heads = config.get("num_key_value_heads") or heads
    rows = module.dims["lora_B"][0]
    if type(heads) is not int or heads < 1 or rows % (2 * heads):
        raise BaseMismatchError(
            f"found {rows} rows at {module.path!r}, which are no {heads!r} heads of even width; expected the base that "
            "the adapter was trained on (--base)"
        )
    return heads
