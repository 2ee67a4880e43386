"""The methods of the family, by name. A new one is a file beside `nola.py` and a row here.

A package of its own adds one with `register`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nolakit.errors import ConfigError

if TYPE_CHECKING:
    from nolakit.methods.base import Method

# name -> module and class; imported on first use, so that a name costs no torch
_METHODS = {
    "nola": ("nolakit.methods.nola", "Nola"),
    "vera": ("nolakit.methods.vera", "Vera"),
    "lora_xs": ("nolakit.methods.lora_xs", "LoraXs"),
    "randlora": ("nolakit.methods.randlora", "RandLora"),
    "mora": ("nolakit.methods.mora", "Mora"),
    "pranc": ("nolakit.methods.pranc", "Pranc"),
    "lora_fa": ("nolakit.methods.lora_fa", "LoraFa"),
    "lora_mini": ("nolakit.methods.lora_mini", "LoraMini"),
    "lorta": ("nolakit.methods.lorta", "Lorta"),
    "melora": ("nolakit.methods.melora", "Melora"),
    "prolora": ("nolakit.methods.prolora", "Prolora"),
    "tied_lora": ("nolakit.methods.tied_lora", "TiedLora"),
    "unilora": ("nolakit.methods.unilora", "UniLora"),
    "lora_sb": ("nolakit.methods.lora_sb", "LoraSb"),
    "nora": ("nolakit.methods.nora", "Nora"),
    "tinylora": ("nolakit.methods.tinylora", "TinyLora"),
    "basis_conv": ("nolakit.methods.basis_conv", "BasisConv"),
}

PEFT_TYPE_PREFIX = "NOLAKIT_"
PEFT_PREFIX = "peft:"  # before the name of PEFT's own method, where one here has the same name


def names() -> list[str]:
    """Every method's name."""
    return list(_METHODS)


def register(name: str, module: str, attribute: str) -> None:
    """Add a method of another package, before PEFT is imported or `nolakit.tuner.registration.register_all` is called
    again.

    Args:
        name: in lower case, a Python identifier.
        module, attribute: where its class is, a `nolakit.methods.base.Method`.

    Raises:
        ConfigError: a name that another method has, or that is no name.
    """
    if (
        not name.isidentifier()
        or name != name.lower()
        or _METHODS.get(name, (module, attribute)) != (module, attribute)
    ):
        raise ConfigError(
            f"found the method name {name!r}; expected an identifier in lower case that none of "
            f"{', '.join(names())} has"
        )
    _METHODS[name] = (module, attribute)


def class_name(name: str) -> str:
    """The name of a method's class, which is not imported for it."""
    return _METHODS[name][1]


def method_class(name: str) -> type[Method]:
    """The class of the method called `name`.

    Raises:
        ConfigError: no method has that name.
    """
    if name not in _METHODS:
        raise ConfigError(f"found method {name!r}; expected one of {', '.join(names())}")
    module, attribute = _METHODS[name]
    return getattr(import_module(module), attribute)


def from_config(name: str, config: Mapping[str, Any]) -> Method:
    """The method called `name` as a stored configuration describes it, over a basis where it says so.

    Raises:
        ConfigError, BasisError: no method of that name, or a value out of range.
        KeyError: an option is missing.
    """
    method = method_class(name).from_config(config)
    each = config.get("coefficient_basis")
    total, by, weights = (config.get(option) for option in ("budget", "budget_by", "budget_weights"))
    if each is not None and total is not None:
        raise ConfigError(f"found coefficient_basis={each!r} and budget={total!r}; expected one of them")
    spreads = any(option == "budget" for option, _ in method.options())
    if each is None and (spreads or (total is None and by is None and weights is None)):
        return method
    from nolakit.methods.budget import Budget
    from nolakit.methods.over import Over

    return Over(method, each, config.get("seed", 0), Budget.from_options(total, by, weights))


def peft_type(name: str) -> str:
    """The `peft_type` of a method in `adapter_config.json`: namespaced, so that a method of the same name
    in PEFT itself is another type."""
    return PEFT_TYPE_PREFIX + name.upper()


def name_of(peft_type_value: str) -> str | None:
    """The method's name behind a `peft_type`, or None where it is not one of ours."""
    name = peft_type_value.removeprefix(PEFT_TYPE_PREFIX).lower()
    return name if name in _METHODS and peft_type(name) == peft_type_value else None
