"""One forward pass with a different adapter in each row.

    y_i = module(x_i) + (x_i A_s) B_s        s = the slot of row i; slot 0 is the plain base, A_0 = B_0 = 0

Each adapted module keeps the factors of all slots in two preallocated tensors. Rows of a batch stay the same over many
steps, so their factors are gathered when rows change, and a step is two batched products a module, without a loop over
adapters. Heads that were trained whole are replaced in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nolakit.adapter.fingerprint import weight_of
from nolakit.errors import UnsupportedError
from nolakit.serve.base import Base, dims_of, is_conv1d
from nolakit.serve.factors import Factors, Pair


class MixedModule:
    """A linear layer of the base under the factors of all slots.

    Cost: (slots + 1) * rank * (in + out) numbers, of the largest rank that was written; two products of
    rows * tokens * rank * (in + out) multiply-adds a forward pass.
    """

    def __init__(
        self, module: nn.Module, path: str, slots: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.inputs, self.outputs = dims_of(module, path)
        self.path = path
        self.a = torch.zeros(slots + 1, self.inputs, 0, dtype=dtype, device=device)
        self.b = torch.zeros(slots + 1, 0, self.outputs, dtype=dtype, device=device)
        self.used: set[int] = set()
        self.rows: Pair | None = None  # shapes: (rows, in, rank), (rows, rank, out)
        self.hook = module.register_forward_hook(self._forward)

    def write(self, slot: int, pair: Pair) -> None:
        """Fill a slot; a rank below the largest one is padded with zeros, which add nothing."""
        rank = pair[0].shape[1]
        missing = rank - self.a.shape[2]
        if missing > 0:
            self.a = nn.functional.pad(self.a, (0, missing))
            self.b = nn.functional.pad(self.b, (0, 0, 0, missing))
        self.a[slot, :, :rank], self.a[slot, :, rank:] = pair[0], 0
        self.b[slot, :rank], self.b[slot, rank:] = pair[1], 0
        self.used.add(slot)

    def clear(self, slot: int) -> None:
        """Make a slot add nothing."""
        if slot in self.used:
            self.used.remove(slot)
            self.a[slot], self.b[slot] = 0, 0

    def choose(self, slots: Sequence[int], index: torch.Tensor) -> None:
        """The slot of each row of the next passes."""
        if self.used.isdisjoint(slots):
            self.rows = None
        else:
            self.rows = _rows(self.a, slots, index), _rows(self.b, slots, index)

    def _forward(self, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
        if self.rows is None:
            return None
        a, b = self.rows
        x = by_row(args[0], a.shape[0], self.path)
        mixed = torch.bmm(x.to(a.dtype), a)
        y = by_row(output, a.shape[0], self.path)
        if y.dtype == b.dtype:
            return torch.baddbmm(y, mixed, b).view(output.shape)
        return (y + torch.bmm(mixed, b)).to(output.dtype).view(output.shape)


class MixedHead:
    """A linear layer of the base that adapters replace whole: y_i = x_i W_s + bias_s, with the base's own in slot 0.

    Heads may have any number of outputs; those that a row's head does not have are 0.
    """

    def __init__(
        self, module: nn.Module, path: str, slots: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        inputs, outputs = dims_of(module, path)
        weight, bias = weight_of(module), getattr(module, "bias", None)
        assert weight is not None
        own = (weight if is_conv1d(module) else weight.T).detach()
        self.path = path
        self.own: Pair = own, torch.zeros(outputs) if bias is None else bias.detach()
        self.weight = torch.zeros(slots + 1, inputs, outputs, dtype=dtype, device=device)
        self.bias = torch.zeros(slots + 1, 1, outputs, dtype=dtype, device=device)
        self.used: set[int] = set()
        for slot in range(slots + 1):
            self._fill(slot, self.own)
        self.rows: Pair | None = None
        self.hook = module.register_forward_hook(self._forward)

    def write(self, slot: int, pair: Pair) -> None:
        """Replace the head in a slot."""
        missing = pair[0].shape[1] - self.weight.shape[2]
        if missing > 0:
            self.weight = nn.functional.pad(self.weight, (0, missing))
            self.bias = nn.functional.pad(self.bias, (0, missing))
        self._fill(slot, pair)
        self.used.add(slot)

    def clear(self, slot: int) -> None:
        """Put the base's own head back."""
        if slot in self.used:
            self.used.remove(slot)
            self._fill(slot, self.own)

    def choose(self, slots: Sequence[int], index: torch.Tensor) -> None:
        """The slot of each row of the next passes."""
        if self.used.isdisjoint(slots):
            self.rows = None
        else:
            self.rows = _rows(self.weight, slots, index), _rows(self.bias, slots, index)

    def _fill(self, slot: int, pair: Pair) -> None:
        labels = pair[0].shape[1]
        self.weight[slot], self.bias[slot] = 0, 0
        self.weight[slot, :, :labels], self.bias[slot, 0, :labels] = pair

    def _forward(self, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
        if self.rows is None:
            return None
        weight, bias = self.rows
        x = by_row(args[0], weight.shape[0], self.path)
        made = torch.baddbmm(bias, x.to(weight.dtype), weight).to(output.dtype)
        return made.view(*output.shape[:-1], made.shape[-1])


class Mixture:
    """All modules of a base that adapters change. They get their hooks when the first adapter needs them.

    Args:
        slots: adapters at once; slots are numbered from 1, and 0 is the plain base.
    """

    def __init__(self, base: Base, slots: int) -> None:
        self.base, self.slots = base, slots
        self._modules: dict[str, MixedModule] = {}
        self._heads: dict[str, MixedHead] = {}
        self._labels: dict[int, int | None] = {}
        self._chosen: list[int] | None = None  # what the rows' factors were gathered for

    def write(self, slot: int, factors: Factors) -> None:
        """Fill a slot with an adapter, whatever was there."""
        self.clear(slot)
        for path, pair in factors.updates.items():
            self._entry(self._modules, MixedModule, path).write(slot, pair)
        for path, pair in factors.heads.items():
            self._entry(self._heads, MixedHead, path).write(slot, pair)
        self._labels[slot] = factors.labels

    def clear(self, slot: int) -> None:
        """Make a slot the plain base."""
        self._chosen = None
        for module in self._every():
            module.clear(slot)
        self._labels.pop(slot, None)

    def choose(self, slots: Sequence[int]) -> None:
        """The slot of each row of the next forward passes. Cost: where they are those of the last time, nothing."""
        if self._chosen == list(slots):
            return
        self._chosen = None  # until all modules have theirs
        index = torch.tensor(slots, device=self.base.device)
        for module in self._every():
            module.choose(slots, index)
        self._chosen = [*slots]

    def labels(self, slot: int) -> int | None:
        """Outputs of a slot's own head; None where it has the base's."""
        return self._labels.get(slot)

    def close(self) -> None:
        """Leave the base as it was."""
        for module in self._every():
            module.hook.remove()

    @property
    def bytes(self) -> int:
        """Of the preallocated factors."""
        return sum(module.a.nbytes + module.b.nbytes for module in self._modules.values()) + sum(
            head.weight.nbytes + head.bias.nbytes for head in self._heads.values()
        )

    def _every(self) -> list[MixedModule | MixedHead]:
        return [*self._modules.values(), *self._heads.values()]

    def _entry(self, found: dict[str, Any], kind: type[Any], path: str) -> Any:
        if path not in found:
            found[path] = kind(self.base.modules[path], path, self.slots, self.base.dtype, self.base.device)
        return found[path]


def by_row(x: torch.Tensor, rows: int, path: str) -> torch.Tensor:
    """x with the rows of the batch in front, of models that flatten them away too. # shape: (rows, tokens, features)"""
    if x.dim() == 3 and x.shape[0] == rows:
        return x
    if x.numel() % (rows * x.shape[-1]) or x.dim() < 2:
        raise UnsupportedError(
            f"found an input of shape {tuple(x.shape)} at {path!r} for a batch of {rows}; an engine takes adapters of "
            "modules that see each row by itself, which routed experts do not"
        )
    return x.reshape(rows, -1, x.shape[-1])


def _rows(held: torch.Tensor, slots: Sequence[int], index: torch.Tensor) -> torch.Tensor:
    if len(set(slots)) == 1:
        return held[slots[0]].expand(len(slots), *held.shape[1:])
    return held.index_select(0, index)
