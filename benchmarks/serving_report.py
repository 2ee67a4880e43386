"""The tables and the plot of docs/serving.md, from the newest row of each work in serving.jsonl."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

DOCUMENT = Path(__file__).parents[1] / "docs" / "serving.md"
PLOT = DOCUMENT.with_suffix(".svg")
BEGIN, END = "<!-- benchmarks/serving.py -->\n", "<!-- end -->"
DISTINCT = ("0", "1", "4", "16", "64", "1000", "10000", "zipf")
VLLM_WAYS = ("vLLM, store", "vLLM, LoRA folders")
WAYS = ("engine", "PEFT adapter_names", "PEFT set_adapter", "transformers generate")


def write_report(path: Path) -> None:
    """Put the tables into the document, and the plot beside it."""
    newest = {row["work"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    parts = [PARTS[work](newest[work]) for work in PARTS if work in newest]
    if {"throughput", "first token", "memory", "adding"} <= newest.keys():
        parts.insert(0, targets(newest))
    if "throughput" in newest:
        plot(newest["throughput"])
    head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    text = "\n\n".join(parts)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def targets(newest: dict[str, dict[str, Any]]) -> str:
    """What was aimed for, beside what was found. Ratios are medians over rounds that ran side by side."""
    rates, first = newest["throughput"]["rates"], newest["first token"]["seconds"]
    memory, adding = newest["memory"], newest["adding"]["seconds"]
    first_added, last_added = map(statistics.median, adding.values())
    rows = [
        ("16 distinct adapters in a batch of 16, of the base's throughput",
         _ratio(rates, "engine 16", "engine 0"), "0.75"),
        ("the same, of PEFT `adapter_names`", _ratio(rates, "engine 16", "PEFT adapter_names 16"), "2.5"),
        ("Zipf trace over 10,000 adapters, 16 slots, of one adapter's throughput",
         _ratio(rates, "engine zipf", "engine 1"), "0.80"),
        ("time to the first token, cold over hot", _median_ratio(first["cold"], first["hot"]), "at most 2.0"),
        ("resident memory of known adapters, of their packed bytes",
         memory["resident_bytes"] / memory["packed_bytes"], "at most 1.1"),
        ("adding the 10,000th adapter, of the first", last_added / first_added, "1"),
    ]  # fmt: skip
    lines = ["| what | found | aimed for |", "|---|--:|--:|"]
    return "\n".join(lines + [f"| {what} | {found:.2f} | {aimed} |" for what, found, aimed in rows])


def rates_table(rates: dict[str, list[float]], ways: tuple[str, ...]) -> str:
    """Tokens a second, median of the rounds, least and most."""
    lines = [f"| distinct adapters | {' | '.join(ways)} |", "|--:|" + "--:|" * len(ways)]
    for distinct in DISTINCT:
        label = {"0": "0, the base", "zipf": "10,000, Zipf"}.get(distinct) or f"{int(distinct):,}"
        cells = [_spread(rates[key]) if (key := f"{way} {distinct}") in rates else "" for way in ways]
        if any(cells):
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def throughput(row: dict[str, Any]) -> str:
    """The engine beside PEFT."""
    rates = row["rates"]
    added = row["peft_seconds_to_add"]
    second, last = added[1] * 1e3, statistics.median(added[-8:]) * 1e3
    return rates_table(rates, WAYS) + (
        f"\n\nTokens a second, median (least to most) of {len(next(iter(rates.values())))} rounds; {row['requests']} "
        "requests of 32 prompt tokens and 64 new ones for the engine and 16 for the others, batches of 16, 16 slots. "
        "Where adapters are fewer than requests they take turns; else each request's is drawn uniformly, so that of "
        "1,000 and more nearly every one must be read or expanded first. PEFT had the 64 adapters loaded in all its "
        f"runs: adding took it {second:.0f} ms for the second and {last:.0f} ms for the last ones."
        f"\n\n![throughput](serving.svg)\n\n{_where(row)}"
    )


def vllm(row: dict[str, Any]) -> str:
    """vLLM with folders and with a store."""
    return rates_table(row["rates"], VLLM_WAYS) + (
        f"\n\nThe same of vLLM over HTTP, {row['requests']} requests a round, 16 at once, `max_loras` 16, "
        f"`max_cpu_loras` 16, in an environment of its own and another run: compare columns, not tables.\n\n"
        f"{_where(row)}"
    )


def first_token(row: dict[str, Any]) -> str:
    """Milliseconds to the first token."""
    says = {
        "base": "the base", "hot": "an adapter in a slot", "cold": "one that was never asked for",
        "evicted": "one that is known and lost its slot",
    }  # fmt: skip
    lines = ["| one request alone | first token |", "|---|--:|"]
    for way, seconds in row["seconds"].items():
        ordered = sorted(seconds)
        low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
        median = statistics.median(ordered)
        lines.append(f"| {says[way]} | {median * 1e3:.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f}) |")
    return "\n".join(lines) + "\n\nMedian, and 5th to 95th percentile."


def memory(row: dict[str, Any]) -> str:
    """What a known adapter takes."""
    each, packed = row["resident_bytes"] / row["adapters"], row["packed_bytes"] / row["adapters"]
    return (
        f"Resident memory grew by {row['resident_bytes'] / 1e6:.1f} MB while {row['adapters']:,} adapters of "
        f"{row['packed_bytes'] / 1e6:.1f} MB packed were asked for the first time, each answering: {each:,.0f} bytes "
        f"an adapter of {packed:,.0f}, SQLite's page cache included."
    )


def adding(row: dict[str, Any]) -> str:
    """From a new adapter to its first token."""
    parts = [
        f"{label}: {statistics.median(seconds) * 1e3:.0f} ms" for label, seconds in row["seconds"].items()
    ]
    return (
        "From the bytes of a new adapter to its first token, `Store.add` and a request, into an empty store and into "
        f"one of 10,000 ({'; '.join(parts)})."
    )


def soak(row: dict[str, Any]) -> str:
    """A long run."""
    return (
        f"Soak of {row['minutes']:.0f} minutes at full load (`benchmarks/soak.py`): {row['answered']:,} requests, "
        f"{row['tokens']:,} tokens, of which {row['compared']:,} stand before a near tie of PEFT's own logits and were "
        f"compared: {row['wrong']} answers other than PEFT's, {row['failed']} failures; "
        f"{row['added']:,} versions added and {row['retired']:,} names retired meanwhile, {row['evictions']:,} slots "
        f"taken over, {row['cancelled']:,} requests cancelled, {row['refused']:,} for unknown names refused. Memory "
        f"grew by {row['grown_bytes'] / 1e6:.1f} MB behind the first fifth (bound: {row['bound_bytes'] / 1e6:.1f} MB)."
    )


PARTS = {
    "throughput": throughput, "vllm": vllm, "first token": first_token, "memory": memory, "adding": adding,
    "soak": soak,
}  # fmt: skip


def plot(row: dict[str, Any]) -> None:
    """Tokens a second against distinct adapters."""
    matplotlib.rcParams["svg.hashsalt"] = "nolakit"
    figure, panel = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    numbers = [distinct for distinct in DISTINCT if distinct not in ("0", "zipf")]
    for way, style in (("engine", "o-"), ("PEFT adapter_names", "s--"), ("PEFT set_adapter", "^--")):
        found = {int(number): row["rates"].get(f"{way} {number}") for number in numbers}
        points = {number: rates for number, rates in found.items() if rates}
        medians = [statistics.median(rates) for rates in points.values()]
        below = [median - min(rates) for median, rates in zip(medians, points.values(), strict=True)]
        above = [max(rates) - median for median, rates in zip(medians, points.values(), strict=True)]
        panel.errorbar(list(points), medians, [below, above], fmt=style, capsize=2, label=way)
    panel.axhline(statistics.median(row["rates"]["engine 0"]), color="k", ls=":", label="the base alone")
    panel.set(xscale="log", ylim=(0, None), xlabel="distinct adapters", ylabel="tokens a second")
    panel.set_xticks([int(number) for number in numbers], [f"{int(number):,}" for number in numbers])
    panel.minorticks_off()
    panel.legend()
    figure.savefig(PLOT, metadata={"Date": None})
    pyplot.close(figure)


def _ratio(rates: dict[str, list[float]], one: str, other: str) -> float:
    return _median_ratio(rates[one], rates[other])


def _median_ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def _where(row: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in row["versions"].items())
    return f"Measured on: {row['device']}; {versions}."
