"""A request in the batch, and which prompts to compute together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from nolakit.serve.request import Finished, Handle, Reason, Token
from nolakit.serve.sampling import Chooser, Sampling
from nolakit.serve.watching import Watch

PREFILL_TOKENS = 4096  # of one pass over prompts, padding included; longer prompts go alone


@dataclass(eq=False)
class Row:
    """A request in the batch, or on its way there. name: the adapter's, None of the plain base. submitted: by
    time.perf_counter()."""

    handle: Handle
    name: str | None
    sampling: Sampling
    chooser: Chooser
    watch: Watch
    slot: int = 0
    tokens: list[Token] = field(default_factory=list)
    submitted: float = field(default_factory=time.perf_counter)

    @property
    def digest(self) -> str | None:
        """Of the adapter."""
        return self.handle.digest

    @property
    def cancelled(self) -> bool:
        """Whether its caller has gone."""
        return self.handle.cancelled

    def give_up(self) -> None:
        """End as cancelled."""
        self.finish("cancelled")

    def finish(self, reason: Reason) -> None:
        """End with what there is."""
        self._end(reason, Finished(tuple(self.tokens), reason))

    def fail(self, error: Exception) -> None:
        """End with an error."""
        self._end("error", error)

    def _end(self, outcome: str, event: Finished | Exception) -> None:
        seconds = time.perf_counter() - self.submitted
        self.watch.finished(outcome, len(self.handle.prompt), len(self.tokens), seconds)
        self.handle.report(event)


def groups_of_similar_length(rows: list[Row]) -> list[list[Row]]:
    """Prompts to compute together: padding at most doubles the work, and no pass has more than PREFILL_TOKENS."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: len(row.handle.prompt)):
        length = len(row.handle.prompt)
        if groups:
            last = groups[-1]
            shortest = len(last[0].handle.prompt)
            if length <= 2 * shortest + 16 and length * (len(last) + 1) <= PREFILL_TOKENS:
                last.append(row)
                continue
        groups.append([row])
    return groups
