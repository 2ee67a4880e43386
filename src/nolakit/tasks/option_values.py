"""Values of configuration fields, given as text or as Python values."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, Union, get_args, get_origin

from nolakit.errors import ConfigError


def parse_value(name: str, value: Any, hint: Any) -> Any:
    """A value for a field of type `hint`. Text is read as JSON where that fits the type, else as itself; a
    list may be given as `a,b`.

    Raises:
        ConfigError: a value of another type.
    """
    for candidate in _readings(value):
        if fits(candidate, hint):
            return candidate
    raise ConfigError(f"found {name}={value!r}; expected {_described(hint)}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type. Types that are not understood fit everything."""
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    kind = origin or hint
    if (
        isinstance(kind, type)
        and issubclass(kind, list | tuple | set | AbstractSet | Sequence)
        and kind is not str
    ):
        return isinstance(value, list | tuple | set) and all(
            fits(x, arguments[0]) for x in value if arguments
        )
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, kind) if isinstance(kind, type) else True


def _readings(value: Any) -> list[Any]:
    if not isinstance(value, str):
        return [value]
    readings: list[Any] = []
    try:
        readings.append(json.loads(value))
    except json.JSONDecodeError:
        if value.lower() in ("true", "false", "none"):
            readings.append({"true": True, "false": False, "none": None}[value.lower()])
    if "," in value:
        readings.append([part.strip() for part in value.split(",") if part.strip()])
    return [*readings, value, [value]]


def _described(hint: Any) -> str:
    if hint is Any:
        return "anything"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_described(argument) for argument in get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return {
        type(None): "null",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
    }.get(hint, str(getattr(hint, "__name__", hint)))
