"""`nolakit generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.options import Adapter, AsJson, Base, Merged
from nolakit.cli.output import note, print_json
from nolakit.errors import ConfigError

EXAMPLE = 'Example: nolakit generate stories-adapter --prompt "Once upon a time" --max-new-tokens 100'


def command(
    adapter: Adapter,
    prompt: Annotated[list[str] | None, typer.Option(help="A prompt; may be given again.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Text file with one prompt a line.")] = None,
    base: Base = None,
    merged: Merged = False,
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens of this total.")] = 1.0,
    num_beams: Annotated[int, typer.Option(help="Beams of a beam search.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Continue prompts with a trained language model."""
    if (prompt is None) == (prompts is None):
        raise ConfigError("found both --prompt and --prompts, or neither; expected one of them")
    note(f"loading {adapter} and its base")
    from nolakit.tasks.generation import generate, read_prompts

    texts = read_prompts(prompts) if prompts is not None else prompt or []
    generations = generate(
        adapter, texts, base=base, merged=merged, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p,
        num_beams=num_beams, seed=seed,
    )  # fmt: skip
    if as_json:
        print_json([generation.to_dict() for generation in generations])
        return
    for generation in generations:
        typer.secho(generation.prompt, fg="cyan", nl=False)
        typer.echo(generation.text if generation.text[:1].isspace() else " " + generation.text)
