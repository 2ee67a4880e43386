"""Options that several subcommands share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from nolakit.errors import ConfigError
from nolakit.tasks.settings import DTYPES

Adapter = Annotated[
    Path,
    typer.Argument(
        help="Adapter folder, as `nolakit train` or PEFT's save_pretrained writes it, or a packed file."
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write. Appears whole or not at all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]
Base = Annotated[str | None, typer.Option(help="Base model, where it is not where it was in training.")]
Merged = Annotated[bool, typer.Option("--merged", help="Merge the adapter into the base's weights first.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; default as in training.")]


def check_dtype(dtype: str | None) -> None:
    """Raises ConfigError for a dtype that is not one of the three."""
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"found dtype {dtype!r}; expected one of {', '.join(DTYPES)}")


def read_settings(pairs: Iterable[str]) -> dict[str, str]:
    """`key=value` options as a dict. Raises ConfigError where there is no key or no `=`."""
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"found --set {pair!r}; expected key=value, such as --set use_rslora=true")
        values[key.strip().replace("-", "_")] = value
    return values


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def compact(values: dict[str, Any]) -> str:
    """Settings in one line, as they would be given."""
    return " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()
    )
