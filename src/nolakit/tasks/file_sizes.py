"""Exact size of a safetensors file before it is written.

bytes = 8 + header + data,   header = JSON of names, dtypes, shapes and offsets, padded to 8 bytes
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

DTYPE_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
    torch.complex64: "C64",
}  # fmt: skip
# The library writes wider types first, so that every tensor is aligned, then by name.
ORDER = ("C64", "F64", "I64", "F32", "I32", "BF16", "F16", "I16", "I8", "U8", "BOOL")


def safetensors_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> int:
    """Bytes of the file that `safetensors.torch.save_file` would write.

    Args:
        tensors: by name; the meta device will do.
        metadata: the file's; PEFT writes `{"format": "pt"}`.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, tensor in sorted(
        tensors.items(), key=lambda item: (ORDER.index(DTYPE_NAMES[item[1].dtype]), item[0])
    ):
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + start
