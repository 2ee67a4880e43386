"""The tokens that PEFT generates with an adapter of the store: what vLLM must generate too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from materials import load_base

import nolakit
from nolakit.store.store import Store


def peft_tokens(
    base: Path, store: Store, prompts: Mapping[str, Sequence[int]], tokens: int, work: Path
) -> dict[str, tuple[int, ...]]:
    """Greedy tokens of each reference in the store after its prompt; `base` is the plain base."""
    found = {}
    for ref, prompt in prompts.items():
        model = load_base(base)
        if ref != "base":
            file = work / "reference.nola"
            file.write_bytes(store.read(ref))
            model = nolakit.load(model, file)
        found[ref] = greedy(model, prompt, tokens)
    return found


def greedy(model: Any, prompt: Sequence[int], tokens: int) -> tuple[int, ...]:
    """The likeliest token, again and again."""
    ids = torch.tensor([list(prompt)])
    with torch.no_grad():
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
        )
    return tuple(made[0, len(prompt) :].tolist())
