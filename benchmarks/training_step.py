"""A training step against PEFT's own methods: every method once, LoRA of the same rank in more settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch

from nolakit.basis import use_backend
from training_models import GPT2, LLAMA, METHODS, NUM_BASIS, RANK, Base, Training, tokens_for, training
from work import OURS, Cost, Work

LENGTH = 128
LORA = "PEFT LoRA"
PAIR = (OURS, LORA)
SETTINGS = [  # base, targets, methods, (micro-batches, batch), rounds, target against LoRA
    (GPT2, "c_attn", PAIR, (1, 4), 15, 1.05),
    (GPT2, "c_attn", PAIR, (8, 4), 4, 1.02),
    (GPT2, "all-linear", PAIR, (1, 4), 9, None),
    (GPT2, "c_attn", METHODS, (1, 4), 5, None),
    (LLAMA, "q,v", METHODS, (1, 4), 7, None),
    (LLAMA, "q,v", PAIR, (8, 4), 5, None),
    (LLAMA, "all-linear", METHODS, (1, 4), 7, None),
    (LLAMA, "all-linear", PAIR, (8, 4), 5, None),
]


def works() -> Iterator[Work]:
    """LoRA alone where a small difference matters, so that its run and ours are neighbours; every method once."""
    for base, targets, methods, (accumulated, batch), rounds, target in SETTINGS:
        yield step_work(base, targets, methods, accumulated, batch, target, rounds)


def step_work(
    base: Base, targets: str, methods, accumulated: int, batch: int, target: float | None = None, rounds: int = 9
) -> Work:  # fmt: skip
    """One setting, over models that are made when the work is asked for."""
    tokens = tokens_for(base, batch, LENGTH)
    beside = ", every method" if len(methods) > 2 else ""
    prepared = {name: training(base, targets, name) for name in methods}
    return Work(
        f"step, {base.name}, {targets}, r={RANK} k={NUM_BASIS}, {accumulated} x {batch} x {LENGTH}{beside}",
        {name: lambda p=each: p.step(tokens, accumulated) for name, each in prepared.items()},
        lambda: check_gradients(prepared[OURS], tokens),
        step_cost(prepared[OURS].model.get_base_model(), accumulated * batch),
        {} if target is None else {LORA: target},
        trained={name: each.count for name, each in prepared.items()},
        rounds=rounds,
    )


def step_cost(model: torch.nn.Module, rows: int) -> Cost:
    """Each frozen matrix once forward and once backward for every token; attention is left out, and the adapter."""
    heads = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "lora" not in name)
    looked_up = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding))
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    multiplied = heads - looked_up + (model.get_input_embeddings().weight.numel() if tied else 0)
    return Cost(multiply_adds=2 * multiplied * rows * LENGTH)


def check_gradients(training: Training, tokens: torch.Tensor) -> None:
    """The coefficients' gradients on a short text are those that the reference backend gives."""
    found = {}
    for _ in range(2):  # lora_A moves from the second step
        training.step(tokens[:1, :8])
    training.model.eval()  # without dropout
    for backend in (None, "reference"):
        with use_backend(backend) if backend else nullcontext():
            training.backward(tokens[:1, :8])
        found[backend] = torch.cat([parameter.grad.flatten() for parameter in training.trained])
        training.optimizer.zero_grad()
    training.model.train()
    assert (found[None] != 0).all()
    torch.testing.assert_close(found[None], found["reference"], rtol=1e-3, atol=1e-6)
