"""`nolakit bench`: benchmarks that anyone can rerun."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nolakit.cli import bench_recipe
from nolakit.cli.options import AsJson
from nolakit.cli.output import note, print_json, print_rows

EXAMPLE = (
    "Example: nolakit bench quality --bases bases --data data --small --task digits-10 --rows rows.jsonl"
)

app = typer.Typer(help="Benchmarks that anyone can rerun.", no_args_is_help=True, rich_markup_mode="rich")


@app.command("quality", epilog=EXAMPLE)
def quality(
    bases: Annotated[Path, typer.Option(help="Folder of the base models' folders.")] = Path("bases"),
    data: Annotated[Path, typer.Option(help="Folder of the data sets' folders.")] = Path("data"),
    rows: Annotated[
        Path, typer.Option(help="Results, JSONL; runs that are in it are not done again.")
    ] = Path("quality.jsonl"),
    task: Annotated[list[str] | None, typer.Option(help="Names of tasks; default all.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="core, methods, ablations; default all.")] = None,
    candidate: Annotated[
        list[str] | None, typer.Option(help="Names of candidates; default the groups'.")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="The form for two cores.")] = False,
    seeds: Annotated[int, typer.Option(help="Seeds of the test split.", min=1)] = 3,
    workers: Annotated[int, typer.Option(help="Processes at once, of one thread each.", min=1)] = 1,
    list_only: Annotated[
        bool, typer.Option("--list", help="Show tasks and candidates, and run nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train every method at every budget on every task, and say what it came to.

    The learning rate of each is searched alike on the validation split; the test split is used once, with other seeds.
    An interrupted run goes on where it was.
    """
    from nolakit.bench.quality.candidates import GROUPS, candidate_named, group_named
    from nolakit.bench.quality.tasks import TASKS, task_named

    tasks = [task_named(name) for name in task or TASKS]
    names = [row for name in group or GROUPS for row in group_named(name)]
    candidates = [candidate_named(name) for name in candidate] if candidate else names
    if list_only:
        _list(tasks, candidates, as_json)
        return
    from nolakit.bench.quality.results import Results
    from nolakit.bench.quality.task import Places

    results = Results(rows)
    before = len(results.rows)
    how = {"small": small, "seeds": range(1, seeds + 1), "workers": workers}
    _run(results, Places(bases, data), tasks, candidates, **how)
    new = results.rows[before:]
    if as_json:
        print_json(new)
    else:
        print_rows(["rows", "new", "file"], [[len(results.rows), len(new), str(rows)]])


@app.command("report", epilog="Example: nolakit bench report --rows rows.jsonl -o quality.md")
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="Document; made where there is none.")],
    rows: Annotated[Path, typer.Option(help="Results of `nolakit bench quality`.")] = Path("quality.jsonl"),
    as_json: AsJson = False,
) -> None:
    """Write tables and plots of results into a document, between its two marks."""
    from nolakit.bench.quality.report import write_report
    from nolakit.bench.quality.results import Results

    written = [str(path) for path in write_report(Results(rows).rows, output)]
    if as_json:
        print_json({"written": written})
    else:
        print_rows(["written"], [[path] for path in written])


app.command("recipe", epilog=bench_recipe.EXAMPLE)(bench_recipe.command)


def _run(results: Any, places: Any, tasks: list[Any], candidates: list[Any], **how: Any) -> None:
    from nolakit.bench.quality.driver import Benchmark
    from nolakit.cli.progress import counted

    done, total = 0, len(tasks) * len(candidates)
    with counted("candidates") as advance:

        def step() -> None:
            nonlocal done
            done += 1
            advance(done, total)

        benchmark = Benchmark(places, results, **how, report=lambda row: note(_line(row)), step=step)
        benchmark.run(tasks, candidates)


def _line(row: dict[str, Any]) -> str:
    what = f"{row['task']}: {row['candidate']}, rate {row['lr']:g}, seed {row['seed']}"
    if "refused" in row:
        return f"{what}: refused, {row['refused']}"
    name = "accuracy" if "accuracy" in row else "loss"
    return f"{what}, {row['split']}: {name} {row[name]}, {row['bytes']:,} bytes, {row['seconds']} s"


def _list(tasks: list[Any], candidates: list[Any], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "tasks": [{"name": each.name, "title": each.title, "metric": each.metric} for each in tasks],
                "candidates": [
                    {"name": each.name, "group": each.group, **each.settings} for each in candidates
                ],
            }
        )
        return
    print_rows(["task", "title", "metric"], [[each.name, each.title, each.metric] for each in tasks])
    print_rows(
        ["candidate", "group", "method"], [[each.name, each.group, each.method] for each in candidates]
    )
