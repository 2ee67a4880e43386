"""The fields of a method, and checks of their values that methods share."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from nolakit.errors import ConfigError

KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "an integer"),
    float: ((float, int), "a number"),
    str: ((str,), "a text"),
}


def option(default: Any, help: str) -> Any:
    """A field of a method: its default, and what the command line and the documentation say of it."""
    return dataclasses.field(default=default, metadata={"help": help})


def seed_option() -> Any:
    """The field `seed` of a method with random parts."""
    return option(0, "Regenerates the frozen random numbers")


def check_kind(name: str, value: Any, default: Any) -> None:
    """Raises ConfigError for a value of another kind than its default, or a number that is not finite."""
    kind = type(default)
    if kind not in KINDS:
        return
    kinds, expected = KINDS[kind]
    if type(value) not in kinds or (type(value) is float and not math.isfinite(value)):
        raise ConfigError(f"found {name}={repr(value)[:80]}; expected {expected}")


def check_positive_integer(name: str, value: Any) -> None:
    """Raises ConfigError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"found {name}={value!r}; expected an integer of at least 1")


def check_flag(name: str, value: Any) -> None:
    """Raises ConfigError unless `value` is a boolean."""
    if not isinstance(value, bool):
        raise ConfigError(f"found {name}={value!r}; expected true or false")
