"""Completions by a small Llama: E2E's descriptions of restaurants, and P3's instructions with held-out templates."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from nolakit.bench.quality.rows import read_rows
from nolakit.bench.quality.task import Loaded, Metrics, Places, Row, Size
from nolakit.tasks.collate import language_collator
from nolakit.tasks.models import load_tokenizer
from nolakit.tasks.texts import IGNORED

LONGEST = 112  # tokens of a row; longer ones are left out
NEW_TOKENS = 64
PROMPTS, AT_ONCE = 40, 40  # that texts are generated for


def completions(data: str, scored: bool, base: str, places: Places, size: Size) -> Loaded:
    """Rows of prompt and completion.

    Args:
        data: the set's folder.
        scored: whether texts are generated for the test split's prompts and compared with their completions.
        base: the model's folder.
    """
    folder = places.base(base)
    tokenizer = load_tokenizer(str(folder))
    pad: Any = tokenizer.pad_token_id
    sizes = {"train": size.train, "validation": size.validation, "test": size.test}
    read = {
        split: read_rows(places.set(data) / f"{split}.jsonl", 2 * count) for split, count in sizes.items()
    }
    splits = {split: encoded(rows, tokenizer)[: sizes[split]] for split, rows in read.items()}
    return Loaded(
        model=lambda: AutoModelForCausalLM.from_pretrained(folder),
        splits=splits,
        collate=language_collator(pad),
        score=(lambda model: generated_scores(model, tokenizer, places, data)) if scored else None,
    )


e2e = partial(completions, "e2e", True)
p3 = partial(completions, "p3", False)


def encoded(rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """Token ids, with the prompt's labels ignored; rows that are too long are left out."""
    found = []
    for row in rows:
        prompt = prompt_ids(row["prompt"], tokenizer)
        answer = [
            *tokenizer(row["completion"], add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ]
        if len(prompt) + len(answer) <= LONGEST:
            found.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    return found


def prompt_ids(prompt: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """A prompt as the model reads it."""
    ids = tokenizer(prompt if prompt.endswith("\n") else prompt + "\n")["input_ids"]
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def generated_scores(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, places: Places, data: str
) -> Metrics:
    """Greedy texts for distinct prompts of the test split, each against all completions of its prompt."""
    from nolakit.bench.text_scores import text_scores

    references: dict[str, list[str]] = {}
    for row in read_rows(places.set(data) / "test.jsonl", 10**9):
        references.setdefault(row["prompt"], []).append(row["completion"])
    prompts = [*references][:: max(1, len(references) // PROMPTS)][:PROMPTS]
    parts = [prompts[start : start + AT_ONCE] for start in range(0, len(prompts), AT_ONCE)]
    texts = [text for part in parts for text in _generate(model, tokenizer, part)]
    return text_scores(texts, [references[prompt] for prompt in prompts])


def _generate(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[str]:
    ids = [prompt_ids(prompt, tokenizer) for prompt in prompts]
    width = max(map(len, ids))
    pad: Any = tokenizer.pad_token_id
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    with torch.inference_mode():
        out = model.generate(
            input_ids=tokens,
            attention_mask=mask,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=pad,
        )
    return [text.strip() for text in tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]
