"""Greedy tokens that a comparison can hold anybody to.

Where a model's two best logits are closer than TIE, the order of a sum decides which of them is greedy, and with it
everything behind: a batch of another size already changes it.
"""

from __future__ import annotations

from typing import Any

import torch

TIE = 1e-3  # logits, whose spread is about 1: some hundred times what a batch's size changes by rounding


def clear_tokens(model: Any, texts: list[list[int]], tokens: int, **options: Any) -> list[list[int]]:
    """transformers' greedy tokens of each text, up to the first near tie.

    Args:
        texts: token ids, all of one length.
        tokens: new ones at most.
        options: more of `generate`'s.
    """
    ids = torch.tensor(texts)
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False,
            eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True, **options,
        )  # fmt: skip
    best = torch.stack(out.logits, dim=1).topk(2).values  # shape: (text, token, 2)
    lengths = ((best[..., 0] - best[..., 1]) >= TIE).long().cumprod(1).sum(1).tolist()
    found = out.sequences[:, ids.shape[1] :].tolist()
    return [row[:length] for row, length in zip(found, lengths, strict=True)]
