"""A training step against PEFT's LoRA of the same rank, on GPT-2 small with random weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from nolakit import NolaConfig
from work import Work

RANK, NUM_BASIS, BATCH, LENGTH = 8, 512, 4, 128
TARGETS = {"c_attn": (["c_attn"], 1.05), "all-linear": (["c_attn", "c_proj", "c_fc"], None)}


def works() -> Iterator[Work]:
    """One micro-batch and eight, on c_attn and on every layer."""
    for name, (modules, target) in TARGETS.items():
        shared = {"r": RANK, "target_modules": modules, "fan_in_fan_out": True}
        ours, theirs = (
            _prepared(config)
            for config in (NolaConfig(num_basis=NUM_BASIS, **shared), LoraConfig(lora_alpha=16, **shared))
        )
        for micro_batches in (1, 8):
            yield Work(
                f"training step, GPT-2 small, {name}, r={RANK} k={NUM_BASIS}, {micro_batches} x {BATCH} x {LENGTH}",
                {
                    "nolakit": lambda n=micro_batches, p=ours: _step(*p, n),
                    "PEFT LoRA": lambda n=micro_batches, p=theirs: _step(*p, n),
                },
                lambda p=ours: _check(*p),
                "PEFT LoRA",
                1.02 if target and micro_batches > 1 else target,
                rounds=10 if micro_batches == 1 else 3,
            )


def _prepared(config):
    model = get_peft_model(GPT2LMHeadModel(GPT2Config()), config).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    tokens = torch.randint(0, 50257, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    return model, torch.optim.AdamW(trained, lr=1e-3), tokens


def _step(model, optimizer, tokens, micro_batches) -> None:
    for _ in range(micro_batches):
        model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _check(model, optimizer, tokens) -> None:
    """Every coefficient that can move at the start does: lora_A's follow from the second step."""
    for _ in range(2):
        _step(model, optimizer, tokens, 1)
    model(input_ids=tokens, labels=tokens).loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    optimizer.zero_grad()
