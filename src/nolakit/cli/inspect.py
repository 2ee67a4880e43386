"""`nolakit inspect`: an adapter without its base, and without torch."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import Adapter, AsJson, compact
from nolakit.cli.output import print_facts, print_json, print_rows, results

EXAMPLE = "Example: nolakit inspect reviews-adapter --json"
SHOWN = 24


def command(
    adapter: Adapter,
    every: Annotated[bool, typer.Option("--all", help="Show every module, however many.")] = False,
    as_json: AsJson = False,
) -> None:
    """Describe an adapter: method, seed, numbers, bytes, and each module."""
    from nolakit.adapter.inspect import inspect

    found = inspect(adapter)
    if as_json:
        print_json(found.to_dict())
        return
    print_facts(
        str(adapter),
        {
            "method": found.method,
            "seed": None if found.seed is None else str(found.seed),
            "settings": compact(found.settings) or None,
            "base model": found.base_model,
            "task type": found.task_type,
            "trained numbers": found.trained,
            "and head and others": found.trained_other or None,
            "and frozen parts": found.stored_parts or None,
            "as LoRA factors": found.lora_numbers or None,
            "bits of a coefficient": found.bits,
            "bytes of coefficients": found.coefficient_bytes,
            "bytes of weights": found.weights_bytes,
            "bytes of configuration": found.config_bytes or None,
            "SHA-256 of the content": found.digest,
            "base fingerprint": (found.base_fingerprint or {}).get("structure"),
        },
    )
    rows = found.modules if every else found.modules[:SHOWN]
    if rows:
        results.print()
        print_rows(
            ["module", "rank", "in", "out", "trained", "as LoRA"],
            [[m.path, m.rank, m.in_features, m.out_features, m.trained, m.lora_numbers] for m in rows],
        )
    if len(found.modules) > len(rows):
        results.print(f"and {len(found.modules) - len(rows)} more (--all)")
