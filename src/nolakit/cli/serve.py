"""`nolakit serve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.options import AsJson, Dtype, check_dtype
from nolakit.cli.output import note
from nolakit.errors import ConfigError, UnsupportedError

PACKAGES = ("fastapi", "limits", "prometheus_client", "uvicorn", "starlette", "pydantic")
EXAMPLE = "Example: nolakit serve --model gpt2 --store adapters.nola --slots 32"


def command(
    model: Annotated[str, typer.Option(help="Base model, a transformers id or folder.")],
    store: Annotated[Path, typer.Option(help="The store's file.")],
    task: Annotated[str, typer.Option(help="causal-lm, text-classification or embeddings.")] = "causal-lm",
    name: Annotated[
        str | None, typer.Option(help="What requests call the base; default: as --model.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    keys: Annotated[Path | None, typer.Option(help="TOML file of API keys, see `nolakit serve-key`.")] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Without --keys: everybody may add, retire and tag adapters.")
    ] = False,
    slots: Annotated[int, typer.Option(help="Adapters expanded at once.", min=1)] = 16,
    max_batch: Annotated[int, typer.Option(help="Requests in the batch at once.", min=1)] = 16,
    max_queue: Annotated[int, typer.Option(help="Requests that wait at most.", min=1)] = 256,
    max_length: Annotated[
        int | None,
        typer.Option(help="Tokens of a request, prompt and answer; default: the model's context.", min=2),
    ] = None,
    max_rank: Annotated[int, typer.Option(help="Largest rank of an adapter.", min=1)] = 64,
    pin: Annotated[
        list[str] | None, typer.Option(help="An adapter that stays in a slot; may be given again.")
    ] = None,
    dtype: Dtype = None,
    quantize: Annotated[str | None, typer.Option(help="8bit or 4bit.")] = None,
    drain: Annotated[int, typer.Option(help="Seconds that requests have to finish at the end.", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """Serve a base and all adapters of a store over HTTP, as OpenAI's API; `model` in a request names the adapter."""
    if keys is not None and admin:
        raise ConfigError("found --admin with --keys; expected admin = true at a key of the file")
    check_dtype(dtype)
    try:
        from nolakit.http import server
        from nolakit.http.keys import read_keys
        from nolakit.tasks.serving import Options, serving
    except ModuleNotFoundError as error:
        raise missing(error) from error

    known = None if keys is None else read_keys(keys)
    listening = server.listen(host, port)
    url = server.address_of(listening)
    note(f"loading {model}")
    options = Options(
        model=model, store=store, task=task, name=name, dtype=dtype or "float32", quantize=quantize, slots=slots,
        max_batch=max_batch, max_queue=max_queue, max_length=max_length, max_rank=max_rank, pins=tuple(pin or ()),
    )  # fmt: skip

    def ready() -> None:
        if as_json:
            typer.echo(json.dumps({"url": url, "model": served.name, "task": served.task}))
        else:
            typer.echo(f"serving {served.name} on {url}, status page {url}/")

    with listening, serving(options) as (served, metrics):
        from nolakit.http.app import make_app

        app = make_app(served, metrics, keys=known, admin=admin)
        server.run(server.Server(app, served, ready=ready, drain_seconds=drain), listening)
    note("ended")


def missing(error: ModuleNotFoundError) -> Exception:
    """What to raise where a module is not there: one of the serving packages is the user's to install."""
    if (error.name or "").partition(".")[0] in PACKAGES:
        return UnsupportedError(f"found no package {error.name!r}; pip install 'nolakit[serve]'")
    return error
