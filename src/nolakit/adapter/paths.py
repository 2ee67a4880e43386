"""Canonical module paths: one name for a module however the model around it is wrapped.

The rule is normative (`docs/format.md`, section 4): drop the parts that wrappers add, then drop the base
model's prefix, which models with a head have and models without do not.
"""

from __future__ import annotations

from nolakit.errors import AdapterError

WRAPPER_PARTS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
FILE_PREFIX = "base_model.model."
LONGEST_PATH = 1000


def unwrapped_path(path: str) -> str:
    """The path without PEFT's file prefix and the parts that wrappers add."""
    parts = path.removeprefix(FILE_PREFIX).split(".")
    while parts and parts[0] in WRAPPER_PARTS:
        parts = parts[1:]
    return ".".join(part for part in parts if part not in WRAPPER_PARTS - {"module"})


def canonical_path(path: str, base_prefix: str) -> str:
    """`model.layers.0.mlp.up_proj` -> `layers.0.mlp.up_proj` for base_prefix `model`.

    Args:
        path: a module path relative to the base model, or one in an adapter file.
        base_prefix: the name under which the model with a head holds the model without; "" for none.
    """
    bare = unwrapped_path(path)
    return bare.removeprefix(base_prefix + ".") if base_prefix else bare


def check_path(canonical: str, key: str) -> None:
    """Raises AdapterError for what no module of a model is called: an empty part, as in `../x`, or characters that a
    terminal does not print.

    Args:
        key: the name in the file, for messages.
    """
    if len(key) > LONGEST_PATH or not key.isprintable() or not all(canonical.split(".")):
        raise AdapterError(
            f"found module {key[:80]!r}; expected a path of named modules, such as 'layers.0.q_proj'"
        )
