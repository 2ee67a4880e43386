"""`nolakit pack`: an adapter in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nolakit.cli.options import Adapter, AsJson, Base, Overwrite
from nolakit.cli.output import note, print_facts, print_json, print_rows, results

EXAMPLE = "Example: nolakit pack reviews-adapter -o reviews.safetensors --bits 4 --check test.jsonl"


def command(
    adapter: Adapter,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .safetensors file, or a folder for stock PEFT. Appears whole or not at all.",
        ),
    ],
    bits: Annotated[
        int, typer.Option(help="Of a coefficient: 32 loses nothing, 16 is float16, 8 and 4 are integers.")
    ] = 32,
    check: Annotated[
        str | None,
        typer.Option("--check", help="Data, as for `nolakit evaluate`: report what packing costs."),
    ] = None,
    base: Base = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put an adapter into one small file with a digest."""
    from nolakit.adapter.packed_files import check_output, write_packed

    check_output(output, overwrite=overwrite)
    cost = _cost(adapter, bits, check, base) if check is not None else None
    write_packed(adapter, output, bits=bits, overwrite=overwrite)
    from nolakit.adapter.inspect import inspect

    found = inspect(output)
    values: dict[str, Any] = {
        "output": str(output),
        "bits": found.bits,
        "bytes": found.weights_bytes,
        "coefficient_bytes": found.coefficient_bytes,
        "digest": found.digest,
    }
    if as_json:
        print_json({**values, "check": cost})
        return
    print_facts(
        f"packed: {values.pop('output')}", {name.replace("_", " "): value for name, value in values.items()}
    )
    if cost is not None:
        results.print()
        print_rows(
            ["metric", "before", "after", "difference"],
            [
                [name.replace("_", " "), value, cost["after"][name], cost["difference"][name]]
                for name, value in cost["before"].items()
            ],
        )
        print_facts("", {"rows": cost["rows"], "relative error of the update": cost["update_error"]})


def _cost(adapter: Path, bits: int, data: str, base: str | None) -> dict[str, Any]:
    note(f"loading {adapter} and its base, twice")
    from nolakit.cli.progress import Bars
    from nolakit.tasks.packing_cost import packing_cost
    from nolakit.tasks.reporting import Reports

    return packing_cost(adapter, bits, data=data, base=base, callbacks=[Reports(Bars())]).to_dict()
