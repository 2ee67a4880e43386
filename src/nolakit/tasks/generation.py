"""Texts from a trained language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from nolakit.errors import ConfigError, DataError, UnsupportedError
from nolakit.tasks.loading import load_trained, on_accelerator
from nolakit.tasks.models import load_tokenizer
from nolakit.tasks.quiet import quiet
from nolakit.tasks.texts import join_prompt


@dataclass
class Generation:
    """A prompt, what the model added to it, how many tokens that were, and whether it ended by itself."""

    prompt: str
    text: str
    tokens: int
    ended: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def generate(
    adapter: str | Path,
    prompts: Sequence[str],
    *,
    base: str | Path | None = None,
    merged: bool = False,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    top_p: float = 1.0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    no_repeat_ngram: int = 0,
    seed: int = 0,
) -> Iterator[Generation]:
    """Continue each prompt, one after the other.

    Args:
        adapter: an adapter folder, or a whole model that nolakit trained or merged.
        prompts: a prompt of an adapter trained on prompts and completions ends as in training.
        base: the base model; None is where it was in training.
        merged: merge the adapter into the base's weights first.
        max_new_tokens: at most so many tokens.
        temperature: 0 takes the likeliest token each time.
        top_p: sample from the likeliest tokens of this total probability.
        num_beams: beams of a beam search.
        length_penalty: of a beam search, whose scores are divided by length to this power.
        no_repeat_ngram: no sequence of so many tokens is said twice, the prompt's included; 0 allows all.
        seed: of the sampling; seeds torch's global generator, which transformers samples from.

    Raises:
        AdapterError, ModelError, BaseMismatchError: as `nolakit.tasks.loading.load_trained`.
        UnsupportedError: an adapter that is not a language model's.
        ConfigError: a setting out of its range.
        DataError: no prompt.
    """
    options = _options(max_new_tokens, temperature, top_p, num_beams)
    if no_repeat_ngram < 0:
        raise ConfigError(f"found no_repeat_ngram={no_repeat_ngram}; expected at least 0")
    if num_beams > 1:
        options["length_penalty"] = length_penalty
    if no_repeat_ngram:
        options["no_repeat_ngram_size"] = no_repeat_ngram
    if not prompts:
        raise DataError("found no prompt; expected at least one")
    with quiet():
        trained = load_trained(adapter, base=base, merged=merged)
        if trained.record.task != "causal-lm":
            raise UnsupportedError(f"found a {trained.record.task} adapter; only a causal-lm generates text")
        tokenizer = load_tokenizer(trained.base)
        joins = bool(trained.record.columns.get("prompt_column"))
        separator = trained.record.settings.get("separator", "\n") if joins else ""
        model = on_accelerator(trained.model)
        set_seed(seed)
        for prompt in prompts:
            yield _continue(model, tokenizer, prompt, separator, options)


def read_prompts(path: Path) -> list[str]:
    """The prompts of a text file, one a line. Raises DataError where there is none."""
    if not path.is_file():
        raise DataError(f"found no file {str(path)!r}; expected a text file with one prompt a line")
    prompts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not prompts:
        raise DataError(f"found no prompt in {str(path)!r}; expected one a line")
    return prompts


def _options(max_new_tokens: int, temperature: float, top_p: float, num_beams: int) -> dict[str, Any]:
    if max_new_tokens < 1 or num_beams < 1 or temperature < 0 or not 0 < top_p <= 1:
        raise ConfigError(
            f"found max_new_tokens={max_new_tokens}, num_beams={num_beams}, temperature={temperature}, "
            f"top_p={top_p}; expected at least 1, 1, 0, and a share above 0 up to 1"
        )
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "num_beams": num_beams,
        "do_sample": temperature > 0,
    }
    return {**options, "temperature": temperature, "top_p": top_p} if temperature > 0 else options


def _continue(model: Any, tokenizer: Any, prompt: str, separator: str, options: dict[str, Any]) -> Generation:
    ids = tokenizer(join_prompt(prompt, separator) if separator else prompt)["input_ids"]
    end = tokenizer.eos_token_id
    ids = ids[:-1] if ids and ids[-1] == end else ids
    if not ids:
        raise DataError(f"found prompt {prompt!r}, which has no tokens; expected some text")
    tokens = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        out = model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            pad_token_id=tokenizer.pad_token_id,
            **options,
        )
    new = out[0, len(ids) :].tolist()
    ended = end in new
    new = new[: new.index(end)] if ended else new
    return Generation(prompt, tokenizer.decode(new, skip_special_tokens=True), len(new), ended)
