"""The Keyword Transformer: a vision-transformer-like classifier of 98 frames of 40 MFCC, arXiv 2104.00769.

Post-norm blocks of one attention head; the class token's output is what a head reads. The names of the modules are
those of the published weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

WIDTH, HIDDEN, DEPTH, FRAMES, BANDS = 64, 256, 12, 98, 40


class Block(nn.Module):
    """x = LN(x + attention(x)), x = LN(x + MLP(x))."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.o = nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH, eps=1e-6), nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))
        x = self.ln1(x + self.o(mixed))
        return self.ln2(x + self.fc2(F.gelu(self.fc1(x), approximate="tanh")))


class KeywordTransformer(nn.Module):
    """From frames to logits. # shape: (batch, 98, 40) -> (batch, classes)"""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(BANDS, WIDTH)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos = nn.Parameter(torch.zeros(1, FRAMES + 1, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, frames: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        x = self.embed(frames)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1) + self.pos
        for block in self.blocks:
            x = block(x)
        logits = self.head(x[:, 0])
        return (
            {"logits": logits}
            if labels is None
            else {"loss": F.cross_entropy(logits, labels), "logits": logits}
        )


def keyword_transformer(folder: Path, classes: int) -> KeywordTransformer:
    """The published weights under a new head."""
    model = KeywordTransformer(classes)
    weights = {
        name: value for name, value in load_file(folder / "model.safetensors").items() if "head." not in name
    }
    model.load_state_dict(
        weights | {f"head.{name}": value for name, value in model.head.state_dict().items()}
    )
    return model
