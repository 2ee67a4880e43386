"""`nolakit export`: without the base, transformers or peft."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.options import Adapter, AsJson, Dtype, Output, Overwrite, check_dtype
from nolakit.cli.output import print_facts, print_json
from nolakit.errors import ConfigError

EXAMPLE = "Example: nolakit export reviews-adapter --to lora -o reviews-lora"
FORMATS = ("lora",)
RECORD_NAME = "training.json"


def command(
    adapter: Adapter,
    output: Output,
    to: Annotated[
        str, typer.Option(help="lora: a PEFT LoRA folder, for every tool that takes LoRA.")
    ] = "lora",
    dtype: Dtype = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write an adapter in another format, with the same update."""
    check_dtype(dtype)
    if to not in FORMATS:
        raise ConfigError(f"found --to {to!r}; expected {' or '.join(FORMATS)}")
    import torch

    from nolakit.adapter.files import WEIGHTS_NAME
    from nolakit.export.lora import export_lora

    export_lora(adapter, output, dtype=getattr(torch, dtype or "float32"), overwrite=overwrite)
    record = Path(adapter) / RECORD_NAME
    if record.is_file():  # so that the export can be evaluated
        shutil.copyfile(record, Path(output) / RECORD_NAME)
    values = {"output": str(output), "format": to, "bytes": (Path(output) / WEIGHTS_NAME).stat().st_size}
    if as_json:
        print_json(values)
    else:
        print_facts(f"exported: {output}", {"format": to, "bytes of weights": values["bytes"]})
