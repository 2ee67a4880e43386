"""`nolakit average`: the adapter whose update is the weighted sum of others'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.options import AsJson, Output, Overwrite
from nolakit.cli.output import print_facts, print_json
from nolakit.errors import ConfigError

EXAMPLE = "Example: nolakit average monday-adapter tuesday-adapter --weights 0.5,0.5 -o both-adapter"


def command(
    adapters: Annotated[
        list[Path], typer.Argument(help="Adapters of one linear method, configuration and base.")
    ],
    output: Output,
    weights: Annotated[
        str | None, typer.Option(help="A number for each, with commas; default 1 / n each, their average.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Add adapters up, exactly, where their update is linear in their numbers."""
    numbers = [1 / len(adapters)] * len(adapters) if weights is None else _numbers(weights)
    from nolakit.adapter.arithmetic import weighted_sum

    weighted_sum(adapters, numbers, output, overwrite=overwrite)
    from nolakit.adapter.inspect import inspect

    found = inspect(output)
    values = {
        "output": str(output),
        "weights": numbers,
        "trained": found.trained,
        "bytes": found.weights_bytes,
    }
    if as_json:
        print_json(values)
    else:
        print_facts(
            f"averaged: {output}",
            {
                "weights": ", ".join(f"{one:g}" for one in numbers),
                "trained numbers": found.trained,
                "bytes of weights": found.weights_bytes,
            },
        )


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"found --weights {text!r}; expected numbers with commas, such as 0.5,0.5"
        ) from error
