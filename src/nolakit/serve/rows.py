"""Keys and values of the rows of a batch, which join and leave at any time.

All rows end in the same column and start in their own, as a batch that is padded on the left:

    row 0   . . . . a b c d e|
    row 1   . a b c d e f g h|         . nothing, masked
    row 2   . . . . . . . a b|

A step writes one column for all rows, what attention reads is one slice, and masks, positions and sliding windows are
those of transformers' own batched generation, for any model that keeps keys and values.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer

SPARE = 64  # columns that a growing cache gains at least


class Columns:
    """What all layers have in common.

    first: the column that the longest row starts in. end: the column behind the last. rows: that are in use.
    """

    def __init__(self) -> None:
        self.first = self.end = self.rows = 0


class RowLayer(CacheLayerMixin):
    """Keys and values of one layer. # shapes: (max rows, heads, capacity, head size)"""

    is_sliding = False

    def __init__(self, columns: Columns, max_rows: int) -> None:
        super().__init__()
        self.columns, self.max_rows = columns, max_rows

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Room for no column yet, of the shapes and the dtype that the model has."""
        self.keys, self.values = (
            states.new_zeros(self.max_rows, states.shape[1], 0, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the column of this step, and give all that rows may attend to."""
        assert self.keys is not None and self.values is not None and key_states.shape[2] == 1
        here = self.columns
        self.keys[: here.rows, :, here.end : here.end + 1] = key_states
        self.values[: here.rows, :, here.end : here.end + 1] = value_states
        return (
            self.keys[: here.rows, :, here.first : here.end + 1],
            self.values[: here.rows, :, here.first : here.end + 1],
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that attention reads, and the number of the first."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns before this step's."""
        return self.columns.end - self.columns.first

    def get_max_length(self) -> int:
        """None is known."""
        return -1


class RowCache(Cache):
    """A cache of a changing batch, for decoding one token a row and step."""

    def __init__(self, max_rows: int) -> None:
        self.columns = Columns()
        self.starts: list[int] = []
        self._max_rows = max_rows
        super().__init__(layers=[])  # as many as the first prompts have

    def join(self, prefilled: DynamicCache, lengths: list[int]) -> None:
        """Append rows whose prompts were computed in one batch that is padded on the left."""
        width = max(lengths)
        if not self.layers:
            for theirs in prefilled.layers:
                assert (
                    isinstance(theirs, DynamicLayer) and theirs.keys is not None and theirs.values is not None
                )
                layer = RowLayer(self.columns, self._max_rows)
                layer.lazy_initialization(theirs.keys, theirs.values)
                self.layers.append(layer)
        self._reserve(width)
        here, count = self.columns, len(lengths)
        starts = [here.end - length for length in lengths]
        for mine, theirs in zip(self._row_layers(), prefilled.layers, strict=True):
            for held, new in self._pairs(mine, theirs):
                rows = held[here.rows : here.rows + count]
                rows[:, :, here.end - width : here.end] = new
                for row, start in zip(rows, starts, strict=True):
                    row[:, :start] = 0  # what was there must not be able to poison a sum, masked or not
        self.starts += starts
        here.rows += count
        self._fit()

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its number."""
        here = self.columns
        here.rows -= 1
        if row != here.rows:
            for layer in self._row_layers():
                assert layer.keys is not None and layer.values is not None
                for held in (layer.keys, layer.values):
                    held[row, :, : here.end] = held[here.rows, :, : here.end]
        self.starts[row] = self.starts[-1]
        self.starts.pop()
        self._fit()

    def step(self) -> None:
        """Have room for the next column."""
        self._reserve(0, behind=1)

    def stepped(self) -> None:
        """A column was written."""
        self.columns.end += 1

    @property
    def bytes(self) -> int:
        """Of keys and values, used or not."""
        return sum(
            held.nbytes
            for layer in self._row_layers()
            for held in (layer.keys, layer.values)
            if held is not None
        )

    def _fit(self) -> None:
        here = self.columns
        here.first = min(self.starts, default=here.end)
        if not self.starts:
            here.first = here.end = 0

    def _reserve(self, width: int, behind: int = 0) -> None:
        """Have `width` columns up to the end and `behind` ones behind it: move the rows, into more memory where it is
        needed. A move copies the cache once; at least SPARE steps or half as many as there are columns lie between."""
        here = self.columns
        layers = self._row_layers()
        capacity = 0 if layers[0].keys is None else layers[0].keys.shape[2]
        if here.end >= width and here.end + behind <= capacity:
            return
        used = here.end - here.first
        needed = max(used, width)
        room = needed + behind + max(SPARE, needed // 2)
        shift = needed - here.end
        for layer in layers:
            assert layer.keys is not None and layer.values is not None
            for name in ("keys", "values"):
                old = getattr(layer, name)
                new = old.new_zeros(*old.shape[:2], max(room, min(capacity, 2 * room)), old.shape[3])
                new[: here.rows, :, needed - used : needed] = old[: here.rows, :, here.first : here.end]
                setattr(layer, name, new)
        here.first, here.end = needed - used, needed
        self.starts = [start + shift for start in self.starts]

    def _row_layers(self) -> list[RowLayer]:
        return self.layers  # pyright: ignore[reportReturnType]

    @staticmethod
    def _pairs(mine: RowLayer, theirs: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        assert mine.keys is not None and mine.values is not None
        return [(mine.keys, theirs.keys), (mine.values, theirs.values)]
