"""`nolakit export`: without transformers or peft."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nolakit.cli.options import Adapter, AsJson, Overwrite, check_dtype, given
from nolakit.cli.output import print_facts, print_json
from nolakit.cli.progress import counted
from nolakit.errors import ConfigError

EXAMPLE = "Example: nolakit export reviews-adapter --to lora -o reviews-lora"
FORMATS = {
    "lora": ("base", "approximate_rank"),
    "merged": ("base", "max_shard_size"),
    "gguf": ("base",),
}  # and the options that each has


def command(
    adapter: Adapter,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder, or file of gguf. Appears whole or not at all."),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="lora: a PEFT LoRA folder. merged: base plus update, an ordinary model. gguf: a LoRA for llama.cpp."
        ),
    ] = "lora",
    base: Annotated[
        str | None,
        typer.Option(
            help="Base, where it is not the one the adapter names; lora needs it for methods computed from its weights."
        ),
    ] = None,
    approximate_rank: Annotated[
        int | None, typer.Option(help="lora: the best of this rank, for an update that has more.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16; default float32, of merged as the base is."),
    ] = None,
    max_shard_size: Annotated[
        str | None, typer.Option(help="Of one file of merged weights, such as 500MB; default 5GB.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write an adapter in another format, with the same update."""
    check_dtype(dtype)
    if to not in FORMATS:
        raise ConfigError(f"found --to {to!r}; expected one of {', '.join(FORMATS)}")
    options: dict[str, Any] = given(
        base=base, max_shard_size=max_shard_size, approximate_rank=approximate_rank
    )
    for name in options.keys() - FORMATS[to]:
        raise ConfigError(
            f"found --{name.replace('_', '-')} with --to {to}, which has no use for it; leave it out"
        )
    import torch

    from nolakit.adapter.files import open_adapter

    _ = open_adapter(adapter).record  # one that cannot be read is told before anything is written
    if dtype is not None:
        options["dtype"] = getattr(torch, dtype)
    errors: list[float] = []
    with counted("exporting") as progress:
        if to == "gguf":
            from nolakit.export.gguf import export_gguf

            export_gguf(adapter, output, overwrite=overwrite, progress=progress, **options)
        elif to == "merged":
            from nolakit.export.merged import export_merged

            export_merged(adapter, output, overwrite=overwrite, progress=progress, **options)
        else:
            from nolakit.export.lora import export_lora

            export_lora(adapter, output, overwrite=overwrite, report=errors.append, **options)
    if to != "gguf":
        from nolakit.adapter.packed_files import write_record

        write_record(adapter, output)  # so that the export can be evaluated
    files = [output] if to == "gguf" else output.glob("*.safetensors")
    values = {"output": str(output), "format": to, "bytes": sum(file.stat().st_size for file in files)}
    if errors:
        values["relative_error"] = errors[0]
    if as_json:
        print_json(values)
    else:
        facts: dict[str, Any] = {"format": to, "bytes of weights": values["bytes"]}
        if errors:
            facts["error, relative to the update"] = f"{errors[0]:.4g}"
        print_facts(f"exported: {output}", facts)
