"""`nolakit evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import Adapter, AsJson, Base, Dtype, Merged, check_dtype
from nolakit.cli.output import note, print_facts, print_json

EXAMPLE = "Example: nolakit evaluate reviews-adapter --data test.jsonl --merged"


def command(
    adapter: Adapter,
    data: Annotated[str, typer.Option(help="As for `nolakit train`.")],
    base: Base = None,
    merged: Merged = False,
    split: Annotated[
        str | None, typer.Option(help="Of the data; default test, validation or the only one.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows a forward pass; default as in training.")
    ] = None,
    dtype: Dtype = None,
    text_column: Annotated[
        str | None, typer.Option("--text-column", "--image-column", help="Default as in training.")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Default as in training.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Default as in training.")] = None,
    completion_column: Annotated[str | None, typer.Option(help="Default as in training.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load base and adapter again and print the metrics."""
    check_dtype(dtype)
    note(f"loading {adapter} and its base")
    from nolakit.cli.progress import Bars
    from nolakit.tasks.evaluation import evaluate
    from nolakit.tasks.reporting import Reports

    result = evaluate(
        adapter, data=data, base=base, merged=merged, split=split, batch_size=batch_size, dtype=dtype,
        text_column=text_column, label_column=label_column, prompt_column=prompt_column,
        completion_column=completion_column, callbacks=[Reports(Bars())],
    )  # fmt: skip
    if as_json:
        print_json(result.to_dict())
        return
    metrics = {name.replace("_", " "): value for name, value in result.metrics.items()}
    about = {"rows": result.rows, "split": result.split, "seconds": f"{result.seconds:.1f}"}
    print_facts(f"{adapter}{' (merged)' if merged else ''}", {**metrics, **about})
