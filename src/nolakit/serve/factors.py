"""From an adapter's bytes to what a slot holds.

    lora_A^T (in, rank), scaling lora_B^T (rank, out), and heads that were trained whole

The scaling is multiplied into lora_B in float32, before rounding to the base's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nolakit.adapter.contents import Adapter, ModuleInfo
from nolakit.adapter.expand import expand
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.errors import BaseMismatchError, UnsupportedError
from nolakit.export.scaling import scaling_of
from nolakit.serve.base import Base, dims_of, trained_whole

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Factors:
    """What an adapter adds, by canonical path.

    updates: lora_A^T and scaled lora_B^T. # shapes: (in, rank), (rank, out)
    heads: weight and bias that replace the base's. # shapes: (in, out), (out,)
    """

    updates: dict[str, Pair]
    heads: dict[str, Pair]

    @property
    def labels(self) -> int | None:
        """Outputs of the last head; None without heads."""
        return next(reversed(self.heads.values()))[0].shape[1] if self.heads else None


class Checked:
    """What was found of an adapter that an engine can take, and holds for others of its kind.

    Args:
        heads: whether modules that were trained whole may replace the base's.

    Raises:
        AdapterError: it cannot be read.
        BaseMismatchError: it was made for another base.
        UnsupportedError: its update has full rank or too high a rank, it replaces weights, or it trained whole what
            the engine cannot replace.
    """

    def __init__(self, adapter: Adapter, base: Base, *, max_rank: int, heads: bool) -> None:
        self.base = base
        method = adapter.layout.method
        if method.dense or method.replaces_weights:
            raise UnsupportedError(
                f"found a {adapter.method!r} adapter in {adapter.name!r}, whose update has no factors of a low rank; "
                "merge it and serve the merged model, or serve its best approximation as LoRA elsewhere (nolakit "
                "export --approximate-rank)"
            )
        self.modules = adapter.checked_modules()
        rank = max(module.site.rank for module in self.modules)
        if rank > max_rank:
            raise UnsupportedError(
                f"found rank {rank} in {adapter.name!r}; this engine takes at most {max_rank}: raise max_rank"
            )
        base.check(adapter, self.modules)
        self.heads = trained_whole(adapter, adapter.config.get("base_model_prefix") or base.prefix)
        self.scalings = [scaling_of(adapter.config, module) for module in self.modules]
        self._check_heads(adapter, allowed=heads)

    def factors(self, adapter: Adapter) -> Factors:
        """Make them. Cost: as `nolakit.expand`."""
        made = expand(adapter, device=self.base.device, weight_at=self.base.weight_at)
        updates = {
            module.canonical: self._pair(module, scaling, made)
            for module, scaling in zip(self.modules, self.scalings, strict=True)
        }
        return Factors(updates, {path: self._head(adapter, keys) for path, keys in self.heads.items()})

    def _pair(self, module: ModuleInfo, scaling: float, made: dict[str, torch.Tensor]) -> Pair:
        key = FILE_PREFIX + module.path
        lora_a, lora_b = made[f"{key}.lora_A.weight"], made[f"{key}.lora_B.weight"]
        scaled = lora_b.T * scaling
        return lora_a.T.to(self.base.dtype), scaled.to(self.base.dtype)

    def _head(self, adapter: Adapter, keys: list[str]) -> Pair:
        with adapter.open_tensors() as file:
            found = {key.rpartition(".")[2]: file.get_tensor(key) for key in keys}
        weight = found["weight"].T.to(self.base.device, self.base.dtype)
        bias = found.get("bias", torch.zeros(weight.shape[1]))
        return weight, bias.to(self.base.device, self.base.dtype)

    def _check_heads(self, adapter: Adapter, *, allowed: bool) -> None:
        for path, keys in self.heads.items():
            names = {key.rpartition(".")[2] for key in keys}
            module = self.base.modules.get(path)
            if not allowed or module is None or not {"weight"} <= names <= {"weight", "bias"}:
                raise UnsupportedError(
                    f"found {keys[0]!r} in {adapter.name!r}, trained whole; this engine replaces "
                    f"{'linear heads of its base' if allowed else 'nothing'}: merge it and serve the merged model"
                )
            shape = adapter.tensors[f"{keys[0].rpartition('.')[0]}.weight"].shape
            if len(shape) != 2 or shape[1] != dims_of(module, path)[0]:
                raise BaseMismatchError(
                    f"found a head {path!r} of shape {shape} in {adapter.name!r}; the base has "
                    f"{dims_of(module, path)[0]} inputs there"
                )
