"""Tiny base models made on the spot, one row each, with inputs that they learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import transformers
from torch import nn

VOCABULARY = 40
LIVELY = {"initializer_range": 0.1}  # small weights would leave outputs near zero
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, **LIVELY}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Output(NamedTuple):
    """What `Plain` returns, named as transformers names it."""

    loss: torch.Tensor | None
    logits: torch.Tensor


class Plain(nn.Module):
    """A module that transformers never saw: strided and grouped convolutions, then linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.fc1 = nn.Linear(12 * 16, 24)
        self.fc2 = nn.Linear(24, 5)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Output:
        hidden = F.relu(self.grouped(F.relu(self.conv(pixel_values)))).flatten(1)
        logits = self.fc2(F.relu(self.fc1(hidden)))
        return Output(None if labels is None else F.cross_entropy(logits, labels), logits)


@dataclass(frozen=True)
class Case:
    """A base model: how to make it, what to adapt, and what to feed it."""

    name: str
    build: Callable[[], nn.Module]
    targets: list[str]
    inputs: Callable[[int], dict[str, torch.Tensor]]  # batch size -> keyword arguments with labels
    task_type: str | None = None
    options: dict[str, Any] = field(default_factory=dict)  # of the adapter's configuration

    def make(self, seed: int = 0) -> Any:
        """The model, always the same for one seed, in evaluation mode. torch's generator stays as it was."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return self.build().eval()

    def batch(self, size: int = 4, seed: int = 1) -> dict[str, torch.Tensor]:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return self.inputs(size)


def llama_config(**changes: Any) -> transformers.LlamaConfig:
    sizes = {**SIZES, "intermediate_size": 48, "vocab_size": VOCABULARY, "num_key_value_heads": 2, **changes}
    return transformers.LlamaConfig(max_position_embeddings=64, pad_token_id=0, **sizes)


def _text(size: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, VOCABULARY, (size, 9))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def _labelled_text(size: int) -> dict[str, torch.Tensor]:
    return {**_text(size), "labels": torch.arange(size) % 3}


def _images(pixels: int) -> Callable[[int], dict[str, torch.Tensor]]:
    return lambda size: {
        "pixel_values": torch.randn(size, 3, pixels, pixels),
        "labels": torch.arange(size) % 3,
    }


CASES = [
    Case(
        "llama",
        lambda: transformers.LlamaForCausalLM(llama_config()),
        ["q_proj", "v_proj", "down_proj"],
        _text,
        "CAUSAL_LM",
    ),
    Case(
        "gpt2",
        lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=VOCABULARY,
                n_positions=32,
                n_embd=32,
                n_layer=2,
                n_head=4,
                attn_pdrop=0.0,
                embd_pdrop=0.0,
                resid_pdrop=0.0,
                bos_token_id=1,
                eos_token_id=2,
                **LIVELY,
            )
        ),
        ["c_attn", "c_fc"],  # Conv1D, whose weight is transposed
        _text,
        "CAUSAL_LM",
        {"fan_in_fan_out": True},
    ),
    Case(
        "bert",
        lambda: transformers.BertForSequenceClassification(
            transformers.BertConfig(
                vocab_size=VOCABULARY,
                intermediate_size=48,
                max_position_embeddings=32,
                num_labels=3,
                **SIZES,
                **NO_DROPOUT,
            )
        ),
        ["query", "value"],
        _labelled_text,
        "SEQ_CLS",
    ),
    Case(
        "vit",
        lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(
                image_size=16, patch_size=8, intermediate_size=48, num_labels=3, **SIZES, **NO_DROPOUT
            )
        ),
        ["q_proj", "v_proj", "projection"],  # "projection" is the patch embedding, a Conv2d
        _images(16),
    ),
    Case(
        "t5",
        lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=VOCABULARY,
                d_model=32,
                d_kv=8,
                d_ff=48,
                num_layers=2,
                num_heads=4,
                dropout_rate=0.0,
                decoder_start_token_id=0,
            )
        ),
        ["q", "v"],
        _text,
        "SEQ_2_SEQ_LM",
    ),
    Case("plain", Plain, ["conv", "fc1"], _images(8)),
]
BY_NAME = {case.name: case for case in CASES}
