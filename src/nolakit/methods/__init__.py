"""The methods of the family, by name. A new one is a file beside `nola.py` and a row here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nolakit.errors import ConfigError

if TYPE_CHECKING:
    from nolakit.methods.base import Method

# name -> module and class; imported on first use, so that a name costs no torch
_METHODS = {"nola": ("nolakit.methods.nola", "Nola")}

PEFT_TYPE_PREFIX = "NOLAKIT_"


def names() -> list[str]:
    """Every method's name."""
    return list(_METHODS)


def method_class(name: str) -> type[Method]:
    """The class of the method called `name`.

    Raises:
        ConfigError: no method has that name.
    """
    if name not in _METHODS:
        raise ConfigError(f"found method {name!r}; expected one of {', '.join(names())}")
    module, attribute = _METHODS[name]
    return getattr(import_module(module), attribute)


def peft_type(name: str) -> str:
    """The `peft_type` of a method in `adapter_config.json`: namespaced, so that a method of the same name
    in PEFT itself is another type."""
    return PEFT_TYPE_PREFIX + name.upper()


def name_of(peft_type_value: str) -> str | None:
    """The method's name behind a `peft_type`, or None where it is not one of ours."""
    name = peft_type_value.removeprefix(PEFT_TYPE_PREFIX).lower()
    return name if name in _METHODS and peft_type(name) == peft_type_value else None
