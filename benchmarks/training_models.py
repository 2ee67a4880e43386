"""Models with random weights, and the methods of PEFT that are trained on them beside ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    RandLoraConfig,
    TinyLoraConfig,
    UniLoraConfig,
    VeraConfig,
    get_peft_model,
)
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from nolakit import NolaConfig
from work import OURS

RANK, NUM_BASIS = 8, 512
METHODS: dict[str, Callable[..., PeftConfig]] = {  # at PEFT's own defaults but for LoRA's rank
    OURS: lambda **o: NolaConfig(r=RANK, num_basis=NUM_BASIS, **o),
    "PEFT LoRA": lambda **o: LoraConfig(r=RANK, lora_alpha=16, **o),
    "PEFT VeRA": VeraConfig,
    "PEFT RandLoRA": RandLoraConfig,
    "PEFT Uni-LoRA": UniLoraConfig,
    "PEFT TinyLoRA": TinyLoraConfig,
}


@dataclass(frozen=True)
class Base:
    """A model and the names of what is adapted in it."""

    name: str
    make: Callable[[], PreTrainedModel]
    targets: dict[str, list[str]]
    options: dict[str, bool]


LLAMA_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GPT2 = Base(
    "GPT-2 small",
    lambda: GPT2LMHeadModel(GPT2Config()),
    {"c_attn": ["c_attn"], "all-linear": ["c_attn", "c_proj", "c_fc"]},
    {"fan_in_fan_out": True},
)
LLAMA = Base(
    "Llama 37M",
    lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8192,
            hidden_size=512,
            intermediate_size=1408,
            num_hidden_layers=10,
            num_attention_heads=8,
            num_key_value_heads=4,
        )
    ),
    {"q,v": ["q_proj", "v_proj"], "all-linear": LLAMA_LINEAR},
    {},
)


class Training:
    """An adapted model and its optimizer."""

    def __init__(self, model: PreTrainedModel, config: PeftConfig) -> None:
        self.model = get_peft_model(model, config).train()
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-3)

    @property
    def count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.trained)

    def backward(self, tokens: torch.Tensor) -> None:
        self.model(input_ids=tokens, labels=tokens).loss.backward()

    def step(self, tokens: torch.Tensor, accumulated: int = 1) -> None:
        """One step of the optimizer over `accumulated` micro-batches."""
        for _ in range(accumulated):
            self.backward(tokens)
        self.optimizer.step()
        self.optimizer.zero_grad()


def training(base: Base, targets: str, method: str) -> Training:
    """One of `METHODS` on a new model."""
    return Training(base.make(), METHODS[method](target_modules=base.targets[targets], **base.options))


def tokens_for(base: Base, batch: int, length: int) -> torch.Tensor:
    """# shape: (batch, length)"""
    return torch.randint(0, 8192, (batch, length), generator=torch.Generator().manual_seed(batch))
