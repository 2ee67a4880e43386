"""`nolakit merge`."""

from __future__ import annotations

from nolakit.cli.options import Adapter, AsJson, Base, Dtype, Output, Overwrite, check_dtype
from nolakit.cli.output import note, print_facts, print_json
from nolakit.cli.progress import counted

EXAMPLE = "Example: nolakit merge reviews-adapter -o reviews-model --dtype bfloat16"


def command(
    adapter: Adapter,
    output: Output,
    base: Base = None,
    dtype: Dtype = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fold an adapter into its base and save an ordinary model with its tokenizer."""
    check_dtype(dtype)
    note(f"loading {adapter} and its base")
    from nolakit.tasks.merging import merge

    with counted("merging") as progress:
        result = merge(adapter, output, base=base, dtype=dtype, overwrite=overwrite, progress=progress)
    if as_json:
        print_json(result.to_dict())
    else:
        print_facts(f"merged: {result.output}", {"bytes of weights": result.bytes, "dtype": result.dtype})
