"""Packed files that are untrue and whole."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import load

from nolakit.adapter.container import DESCRIPTION, DIGEST, write_container


def rewritten(
    data: bytes, description: dict[str, Any] | None = None, **tensors: torch.Tensor | None
) -> bytes:
    """The file with a valid digest over a changed description or changed tensors."""
    found = load(data)
    said = json.loads(bytes(found.pop(DESCRIPTION).tolist())) | (description or {})
    found.pop(DIGEST)
    found |= {name: value for name, value in tensors.items() if value is not None}
    return write_container(
        said, {name: value for name, value in found.items() if tensors.get(name, 0) is not None}
    )
