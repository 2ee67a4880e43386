"""`nolakit count`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nolakit import methods
from nolakit.cli.options import AsJson, compact, given, read_settings
from nolakit.cli.output import notes, print_json, print_rows
from nolakit.errors import ConfigError

EXAMPLE = (
    "Example: nolakit count meta-llama/Llama-2-7b-hf --method nola --method lora --num-basis 128 --lora-r 1"
)


def command(
    model: Annotated[str, typer.Argument(help="A transformers id, a folder, or a config.json.")],
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method; may be given again; all: every one.")
    ] = None,
    target_modules: Annotated[
        str, typer.Option(help="a,b,c, a regular expression, or all-linear.")
    ] = "all-linear",
    r: Annotated[
        int | None, typer.Option("--r", help="Rank of nolakit's methods; default each one's own.")
    ] = None,
    num_basis: Annotated[
        int | None, typer.Option(help="Trained numbers a factor of nola; default its own.")
    ] = None,
    lora_r: Annotated[int, typer.Option(help="Rank of lora and of other low-rank methods.")] = 8,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="METHOD.KEY=VALUE, any field of a method's configuration; may be given again."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count trained numbers and file bytes of each method on a model, without its weights."""
    from nolakit.tasks.configurations import UNSUPPORTED, method_names, option_defaults
    from nolakit.tasks.counting import USUAL_METHODS, count

    chosen = list(method or USUAL_METHODS)
    if "all" in chosen:
        chosen = [name for name in method_names() if name != "head"]
    options: dict[str, dict[str, Any]] = {name: given(r=r) for name in methods.names()}
    options["nola"] |= given(num_basis=num_basis)
    for name in chosen:
        if name in ("lora", "loha", "lokr") and name not in UNSUPPORTED:
            options[name] = given(r=lora_r) if "r" in option_defaults(name) else {}
    for key, value in read_settings(settings or ()).items():
        name, _, field = key.partition(".")
        if name not in chosen or not field:
            raise ConfigError(
                f"found --set {key}; expected METHOD.KEY=VALUE, with one of {', '.join(chosen)}"
            )
        options.setdefault(name, {})[field] = value
    with notes.status("counting"):
        rows = count(model, methods=chosen, options=options, target_modules=target_modules)
    if as_json:
        print_json([row.to_dict() for row in rows])
        return
    counted = [row for row in rows if row.reason is None]
    print_rows(
        ["method", "trained", "file bytes", "modules", "settings"],
        [[row.method, row.trained, row.file_bytes, row.modules, compact(row.settings)] for row in counted],
    )
    for row in rows:
        if row.reason is not None:
            typer.echo(f"{row.method}: {row.reason}")
