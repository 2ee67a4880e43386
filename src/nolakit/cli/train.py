"""`nolakit train`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nolakit.cli.options import AsJson, Output, Overwrite, given, read_settings
from nolakit.cli.output import note, print_facts, print_json

EXAMPLE = (
    "Example: nolakit train --task text-classification --model bert-base-uncased --data reviews.jsonl "
    "--method nola --r 8 --num-basis 256 -o reviews-adapter"
)
METHOD, RUN, DATA, SAVE = "Method", "Training", "Data", "Checkpoints"


def command(
    model: Annotated[str, typer.Option(help="Base model: a transformers id or a folder.")],
    data: Annotated[
        str, typer.Option(help="JSONL, CSV or text file, a folder, an image folder, or a data set's id.")
    ],
    output: Output,
    task: Annotated[
        str, typer.Option(help="causal-lm, text-classification or image-classification.")
    ] = "causal-lm",
    method: Annotated[
        str,
        typer.Option(
            help="nola, any PEFT method (lora, vera, ...), head (frozen base) or full (all weights).",
            rich_help_panel=METHOD,
        ),
    ] = "nola",
    r: Annotated[int | None, typer.Option("--r", help="Rank of the update.", rich_help_panel=METHOD)] = None,
    num_basis: Annotated[
        int | None, typer.Option(help="Trained numbers a factor (nola).", rich_help_panel=METHOD)
    ] = None,
    lora_alpha: Annotated[
        str | None, typer.Option(help="The update is scaled by lora_alpha / r.", rich_help_panel=METHOD)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Regenerates the frozen basis.", rich_help_panel=METHOD)
    ] = None,
    share_basis: Annotated[
        bool | None, typer.Option(help="One basis for all modules, or one each.", rich_help_panel=METHOD)
    ] = None,
    coefficient_bits: Annotated[
        int | None,
        typer.Option(
            help="8, 4, 3 or 2: train for packing with so many bits (nolakit's methods).",
            rich_help_panel=METHOD,
        ),
    ] = None,
    target_modules: Annotated[
        str | None, typer.Option(help="a,b,c, a regular expression, or all-linear.", rich_help_panel=METHOD)
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value, any other field of the method's configuration.", rich_help_panel=METHOD
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate; default the method's own.", rich_help_panel=RUN)
    ] = None,
    head_lr: Annotated[
        float | None, typer.Option(help="Learning rate of a new head.", rich_help_panel=RUN)
    ] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the data.", rich_help_panel=RUN)] = 3.0,
    max_steps: Annotated[
        int | None, typer.Option(help="Optimizer steps, in place of epochs.", rich_help_panel=RUN)
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Rows a forward pass.", rich_help_panel=RUN)] = 16,
    accumulate: Annotated[int, typer.Option(help="Passes an optimizer step.", rich_help_panel=RUN)] = 1,
    warmup: Annotated[
        float, typer.Option(help="Steps, or a share of all if below 1.", rich_help_panel=RUN)
    ] = 0.0,
    schedule: Annotated[
        str, typer.Option(help="linear, cosine, constant, constant_with_warmup.", rich_help_panel=RUN)
    ] = "linear",
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.", rich_help_panel=RUN)] = 0.0,
    label_smoothing: Annotated[float, typer.Option(help="Share spread over all.", rich_help_panel=RUN)] = 0.0,
    calibration_rows: Annotated[
        int,
        typer.Option(
            help="Rows that a method such as lora_sb measures before it trains.", rich_help_panel=RUN
        ),
    ] = 64,
    dtype: Annotated[
        str, typer.Option(help="Of the base: float32, bfloat16, float16.", rich_help_panel=RUN)
    ] = "float32",
    quantize: Annotated[str | None, typer.Option(help="8bit or 4bit base.", rich_help_panel=RUN)] = None,
    data_seed: Annotated[
        int, typer.Option(help="Order of the data, dropout, a new head's start.", rich_help_panel=RUN)
    ] = 0,
    eval_data: Annotated[str | None, typer.Option(help="Evaluation data.", rich_help_panel=DATA)] = None,
    eval_fraction: Annotated[
        float, typer.Option(help="Cut off the training data where there is no other.", rich_help_panel=DATA)
    ] = 0.1,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens a row; default at most 512.", rich_help_panel=DATA)
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option("--text-column", "--image-column", help="Default: found.", rich_help_panel=DATA),
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Default: found.", rich_help_panel=DATA)] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Default: found.", rich_help_panel=DATA)] = None,
    completion_column: Annotated[
        str | None, typer.Option(help="Default: found.", rich_help_panel=DATA)
    ] = None,
    separator: Annotated[
        str,
        typer.Option(
            help="Between prompt and completion.", rich_help_panel=DATA, show_default="a line break"
        ),
    ] = "\n",
    text_unit: Annotated[
        str, typer.Option(help="A document of a text file is a line or the file.", rich_help_panel=DATA)
    ] = "line",
    eval_every: Annotated[
        int | None, typer.Option(help="Steps; default each epoch.", rich_help_panel=SAVE)
    ] = None,
    save_every: Annotated[
        int | None, typer.Option(help="Steps; default as --eval-every.", rich_help_panel=SAVE)
    ] = None,
    early_stopping: Annotated[
        int | None, typer.Option(help="Stop after N evaluations without a better one.", rich_help_panel=SAVE)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from an interrupted run.", rich_help_panel=SAVE)
    ] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep them when done.", rich_help_panel=SAVE)
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train an adapter and keep the best one by the evaluation data."""
    values = dict(locals())
    chosen = given(
        r=r, num_basis=num_basis, lora_alpha=lora_alpha, seed=seed, share_basis=share_basis,
        target_modules=target_modules, coefficient_bits=coefficient_bits,
    )  # fmt: skip
    chosen.update(read_settings(options or ()))
    from nolakit.tasks.settings import TrainSettings

    fields = set(TrainSettings.__dataclass_fields__) - {"options", "output"}
    settings = TrainSettings(
        **{name: value for name, value in values.items() if name in fields},
        output=str(output),
        options=chosen,
    )
    note(f"{method}: loading {model} and {data}")
    from nolakit.cli.progress import Bars
    from nolakit.tasks.reporting import Reports
    from nolakit.tasks.run import train

    result = train(settings, callbacks=[Reports(Bars())])
    if result.truncated:
        note(f"{result.truncated:,} rows were longer than --max-length and lost tokens")
    values = result.to_dict()
    values.pop("history")
    if as_json:
        print_json(values)
    else:
        _print(settings.method, values)


def _print(method: str, values: dict[str, Any]) -> None:
    print_facts(
        f"{method}: {values['output']}",
        {
            **{name.replace("_", " "): value for name, value in values["metrics"].items()},
            "trained numbers": values["trained"],
            "and of the head": values["trained_head"] or None,
            "bytes of weights": values["adapter_bytes"],
            "steps": values["steps"],
            "best step": values["best_step"],
            "seconds": f"{values['seconds']:.1f}",
        },
    )
