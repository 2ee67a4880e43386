"""The rows that are being generated: prompts join in one forward pass, then every pass gives each row a token."""

from __future__ import annotations

import time
from collections.abc import Iterable
from inspect import signature
from typing import Any

import torch
from transformers import DynamicCache

from nolakit.errors import AdapterError
from nolakit.serve.mixing import Mixture
from nolakit.serve.request import Token
from nolakit.serve.row import Row, groups_of_similar_length
from nolakit.serve.rows import RowCache
from nolakit.serve.watching import Watch


class Batch:
    """Args:
    model: a causal LM.
    max_length: tokens of a row at most.
    """

    def __init__(
        self, model: Any, mixture: Mixture, max_rows: int, max_length: int, eos: Iterable[int], watch: Watch
    ) -> None:
        self.model, self.mixture, self.watch = model, mixture, watch
        self.max_rows, self.max_length, self.eos = max_rows, max_length, frozenset(eos)
        self.rows: list[Row] = []
        self._options = signature(model.forward).parameters
        self._new_cache()

    def join(self, rows: list[Row]) -> list[Row]:
        """Compute prompts and choose their first tokens. Returns the rows that have ended."""
        ended = []
        for group in groups_of_similar_length(rows):
            try:
                ended += self._prefill(group)
            except Exception as error:
                for row in group:
                    row.fail(error)
                ended += group
        self._mix()
        return ended

    def step(self) -> list[Row]:
        """One token for every row. Returns the rows that have ended."""
        ended = self._leave_cancelled()
        if not self.rows:
            return ended
        start = time.perf_counter()
        try:
            logits = self._decode()
        except Exception as error:  # the next batch may fare better, such as with less memory in use
            failed = [*self.rows]
            for row in failed:
                row.fail(error)
            self.rows.clear()
            self._new_cache()
            return ended + failed
        done = self._choose(self.rows, logits)
        self.watch.stepped(len(self.rows), time.perf_counter() - start)
        for number in reversed(range(len(self.rows))):
            if self.rows[number] in done:
                self._leave(number)
        if done:
            self._mix()
        return ended + done

    def clear(self, error: Exception) -> list[Row]:
        """End all rows with an error."""
        rows, self.rows = self.rows, []
        for row in rows:
            row.fail(error)
        self._new_cache()
        return rows

    def _prefill(self, rows: list[Row]) -> list[Row]:
        start = time.perf_counter()
        device = self.model.device
        lengths = [len(row.handle.prompt) for row in rows]
        width = max(lengths)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for row, held, there in zip(rows, ids, mask, strict=True):
            held[width - len(row.handle.prompt) :] = torch.tensor(row.handle.prompt)
            there[width - len(row.handle.prompt) :] = 1
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache()  # without the model's configuration: a sliding window's keys are all kept
        self.mixture.choose([row.slot for row in rows])
        logits = self._forward(ids.to(device), mask.to(device), positions.to(device), cache)
        done = self._choose(rows, logits)
        staying = [number for number, row in enumerate(rows) if row not in done]
        if staying:
            if done:
                cache.batch_select_indices(torch.tensor(staying, device=device))
            self.cache.join(cache, [lengths[number] for number in staying])
            self.rows += [rows[number] for number in staying]
        self.watch.stepped(len(rows), time.perf_counter() - start)
        return done

    def _decode(self) -> torch.Tensor:
        self.cache.step()
        device, columns = self.model.device, self.cache.columns
        ids = torch.tensor([[row.tokens[-1].id] for row in self.rows])
        starts = torch.tensor(self.cache.starts)[:, None]
        mask = (torch.arange(columns.first, columns.end + 1)[None] >= starts).long()
        logits = self._forward(ids.to(device), mask.to(device), (columns.end - starts).to(device), self.cache)
        self.cache.stepped()
        return logits

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any
    ) -> torch.Tensor:
        """Logits of the last column. # shape: (rows, vocabulary) float32"""
        options = {"position_ids": positions, "logits_to_keep": 1}
        known = {name: value for name, value in options.items() if name in self._options}
        out = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **known)
        return out.logits[:, -1].float()

    def _choose(self, rows: list[Row], logits: torch.Tensor) -> list[Row]:
        """A token for each row. Returns the rows that have ended."""
        largest, likeliest = logits.max(-1)
        finite, greedy = largest.isfinite().tolist(), likeliest.tolist()
        done = []
        for number, row in enumerate(rows):
            if not finite[number]:
                done.append(row)
                row.fail(AdapterError(
                    f"found logits that are not finite, of {row.name or 'the base'!r}; its update is too large for "
                    f"{self.model.dtype}"
                ))  # fmt: skip
                continue
            id = greedy[number] if row.chooser.plain else row.chooser.choose(_history(row), logits[number])
            if self._append(row, id, logits[number]):
                done.append(row)
        return done

    def _append(self, row: Row, id: int, logits: torch.Tensor) -> bool:
        """Whether the row has ended."""
        if id in self.eos and not row.sampling.ignore_eos:
            row.finish("stop")
            return True
        token = _token(id, logits, row.sampling.logprobs)
        row.tokens.append(token)
        if len(row.tokens) == 1:
            self.watch.first_token(time.perf_counter() - row.submitted)
        row.handle.report(token)
        full = len(row.handle.prompt) + len(row.tokens) >= self.max_length
        if full or len(row.tokens) >= row.sampling.max_new_tokens:
            row.finish("length")
            return True
        return False

    def _leave_cancelled(self) -> list[Row]:
        gone = []
        for number in reversed(range(len(self.rows))):
            row = self.rows[number]
            if row.handle.cancelled:
                row.finish("cancelled")
                self._leave(number)
                gone.append(row)
        if gone:
            self._mix()
        return gone

    def _leave(self, number: int) -> None:
        """The last row takes the number of one that has ended, as in the cache."""
        self.cache.leave(number)
        last = self.rows.pop()
        if number < len(self.rows):
            self.rows[number] = last

    def _mix(self) -> None:
        if self.rows:
            self.mixture.choose([row.slot for row in self.rows])

    def _new_cache(self) -> None:
        self.cache = RowCache(self.max_rows)


def _history(row: Row) -> list[int]:
    return row.handle.prompt + [token.id for token in row.tokens]


def _token(id: int, logits: torch.Tensor, logprobs: int | None) -> Token:
    if logprobs is None:
        return Token(id)
    found = logits.log_softmax(-1)
    values, ids = found.topk(logprobs)
    return Token(id, float(found[id]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))
