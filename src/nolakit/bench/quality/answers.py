"""The questions that the benchmark is for, answered from its rows as tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from nolakit.bench.quality.candidates import CANDIDATES
from nolakit.bench.quality.summary import Summary, deviation, differences, matches
from nolakit.bench.quality.task import Task

Found = Mapping[Task, Sequence[Summary]]
LIMITS = {"1 KB": 1_000, "10 KB": 10_000, "100 KB": 100_000}
REFERENCE = "NOLA k=16"
RANK_ONE = ("LoRA r=1", "LoRA r=1, query-value")
UNADAPTED = ("frozen base", "full fine-tuning")
PACKED = (", 8 bits", ", 4 bits")  # of an adapter that is there in 16


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; every column but the first is aligned on the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(task: Task, value: float, spread: float | None = None, sign: bool = False) -> str:
    """An accuracy in percent with a digit, a loss in nats with three."""
    scale, digits = (100, 1) if task.higher else (1, 3)
    text = f"{value * scale:{'+' if sign else ''}.{digits}f}"
    return text if spread is None else f"{text} ± {spread * scale:.{digits}f}"


def fractions(found: Found) -> str:
    """The least NOLA, of all modules, that matches LoRA r=1 of all modules and of query and value alone; the frozen
    base says how much there was to match."""
    rows = []
    for task, each in found.items():
        by_count = sorted(each, key=lambda s: s.trained)
        nolas = [s for s in by_count if s.family == "NOLA" and not s.name.endswith(PACKED)]
        base = next((shown(task, s.mean, s.deviation) for s in each if s.name == UNADAPTED[0]), "")
        for lora in (s for s in by_count if s.name in RANK_ONE and nolas):
            match = next((s for s in nolas if matches(task, s, lora)), None)
            cells = ["none", "", "", ""]
            if match:
                fraction = f"{match.trained / lora.trained:.1%}"
                cells = [match.name, f"{match.trained:,}", fraction, shown(task, match.mean, match.deviation)]
            given = [base, lora.name, f"{lora.trained:,}", shown(task, lora.mean, lora.deviation)]
            rows.append([task.title, *given, *cells])
    head = [
        "task",
        "frozen base",
        "LoRA",
        "numbers",
        "metric",
        "least NOLA that matches it",
        "numbers",
        "of LoRA's",
        "metric",
    ]
    return table(head, rows)


def fronts(found: Found) -> str:
    """The best whose files are of each size."""
    return _best(found, {text: lambda s, most=most: s.bytes <= most for text, most in LIMITS.items()})


def fronts_of_numbers(found: Found) -> str:
    """The best whose trained numbers alone are of each size, in 16 bits: what an adapter is worth where descriptions
    are shared by many, as in a server's memory."""
    limits = {"100 B": 100, **LIMITS}
    return _best(found, {text: lambda s, most=most: 2 * s.trained <= most for text, most in limits.items()})


def _best(found: Found, limits: Mapping[str, Callable[[Summary], bool]]) -> str:
    rows = []
    for task, each in found.items():
        cells = []
        for fits in limits.values():
            chosen = [s for s in each if fits(s) and s.name not in UNADAPTED and not s.name.endswith(PACKED)]
            best = max(chosen, key=lambda s: task.goodness(s.mean), default=None)
            cells.append("none fits" if best is None else f"{best.name}: {shown(task, best.mean)}")
        rows.append([task.title, *cells])
    return table(["task", *limits], rows)


def shared(found: Found) -> str:
    """One basis for all modules against one each, paired by seed."""
    rows = []
    for task, each in found.items():
        by_name = {summary.name: summary for summary in each}
        for k in (4, 16, 64):
            one, other = by_name.get(f"NOLA k={k}"), by_name.get(f"NOLA k={k}, own basis")
            if one and other:
                gains = differences(other, one)
                error = deviation(gains) / len(gains) ** 0.5
                cells = [shown(task, each.mean, each.deviation) for each in (one, other)]
                rows.append(
                    [task.title, str(k), *cells, shown(task, statistics.mean(gains), error, sign=True)]
                )
    return table(["task", "k", "shared", "own", "own - shared (± standard error)"], rows)


def bits(found: Found) -> str:
    """What 8 and 4 bits cost, paired by seed, and what training for 4 bits gives."""
    rows = []
    for task, each in found.items():
        by_name = {summary.name: summary for summary in each}
        for k in (16, 64):
            whole = by_name.get(f"NOLA k={k}")
            forms = (f"NOLA k={k}, 8 bits", f"NOLA k={k}, 4 bits", f"NOLA k={k}, trained for 4 bits")
            if whole and forms[0] in by_name:
                cells = [_change(task, by_name.get(form), whole) for form in forms]
                sizes = " / ".join(f"{by_name[name].bytes:,}" for name in (whole.name, *forms[:2]))
                rows.append([task.title, str(k), shown(task, whole.mean, whole.deviation), *cells, sizes])
    return table(
        ["task", "k", "16 bits", "8 bits", "4 bits", "trained for 4 bits", "bytes at 16 / 8 / 4"], rows
    )


def ablations(found: Found) -> str:
    """Each change against the default at k = 16, paired by seed."""
    changed = {task: [s.name for s in each if _is_changed(s.name)] for task, each in found.items()}
    tasks = [task for task, names in changed.items() if names]
    names = dict.fromkeys(name for task in tasks for name in changed[task])
    rows = []
    for name in [REFERENCE, *names]:
        cells = []
        for task in tasks:
            by_name = {summary.name: summary for summary in found[task]}
            whole, each = by_name.get(REFERENCE), by_name.get(name)
            if whole is None or each is None:
                cells.append("")
            elif name == REFERENCE:
                cells.append(f"{shown(task, whole.mean, whole.deviation)} ({whole.trained:,})")
            else:
                cells.append(f"{_change(task, each, whole)} ({each.trained:,})")
        rows.append([name, *cells])
    return table(["NOLA, r=16", *(task.title for task in tasks)], rows)


def _change(task: Task, one: Summary | None, other: Summary) -> str:
    if one is None:
        return ""
    gains = differences(one, other)
    return shown(task, statistics.mean(gains), deviation(gains) / len(gains) ** 0.5, sign=True)


def _is_changed(name: str) -> bool:
    """Whether it is an ablation; another count alone is none."""
    row = CANDIDATES.get(name)
    if row is None or row.group != "ablations":
        return False
    return row.where != "all" or row.options.get("num_basis") in (
        None,
        CANDIDATES[REFERENCE].options["num_basis"],
    )
