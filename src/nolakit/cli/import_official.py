"""`nolakit import-official`: without the base, transformers or peft."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.options import AsJson, Output, Overwrite, check_dtype
from nolakit.cli.output import print_facts, print_json
from nolakit.cli.progress import counted

EXAMPLE = "Example: nolakit import-official checkpoint-200/adapter_model --made-on cuda -o alpaca-lora"


def command(
    checkpoint: Annotated[
        Path, typer.Argument(help="Folder that UCDvision's LLaMA code saved, with safetensors weights.")
    ],
    output: Output,
    made_on: Annotated[
        str | None,
        typer.Option(
            help="Device of its training: cpu, cuda, or cuda and the GPU's name; default as recorded."
        ),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 (the default), bfloat16 or float16.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Expand an adapter of the official NOLA code on the kind of device that trained it, and write it as LoRA."""
    check_dtype(dtype)
    import torch

    from nolakit.export.official import import_official

    with counted("expanding") as progress:
        import_official(
            checkpoint,
            output,
            made_on=made_on,
            dtype=getattr(torch, dtype or "float32"),
            overwrite=overwrite,
            progress=progress,
        )
    size = sum(file.stat().st_size for file in output.glob("*.safetensors"))
    if as_json:
        print_json({"output": str(output), "format": "lora", "bytes": size})
    else:
        print_facts(f"imported: {output}", {"format": "lora", "bytes of weights": size})
