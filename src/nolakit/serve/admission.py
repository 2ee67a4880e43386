"""Who comes into the batch next: requests in order, whose adapter is in a slot or gets one now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from nolakit.serve.residency import Residency
from nolakit.serve.waiting import Waiting
from nolakit.serve.watching import Watch


class Request(Protocol):
    """What waits. digest and name: of its adapter, None of the plain base. slot: given when it is admitted.
    submitted: by time.perf_counter()."""

    name: str | None
    slot: int
    submitted: float

    @property
    def digest(self) -> str | None:
        """Of its adapter."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether its caller has gone."""
        ...

    def give_up(self) -> None:
        """End it as cancelled."""
        ...

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        ...


Waiter = TypeVar("Waiter", bound=Request)


class Admission(Generic[Waiter]):
    """The queue before the slots.

    Args:
        patience: so many later requests may overtake one whose adapter has no slot yet.
    """

    def __init__(self, residency: Residency, watch: Watch, limit: int, patience: int) -> None:
        self.waiting: Waiting[Waiter] = Waiting(limit, patience)
        self._residency, self._watch = residency, watch

    def admit(self, room: int) -> list[Waiter]:
        """Take up to `room` requests, each with a slot that is pinned until `release`."""
        waiting = self.waiting.items()
        self._residency.tidy({request.digest for request in waiting})
        admitted: list[Waiter] = []

        def ready(request: Waiter) -> bool:
            if request.cancelled:
                request.give_up()
                return True
            if len(admitted) == room:
                self._residency.prefetch(request.digest)
                return False
            hit = self._residency.resident(request.digest)
            try:
                slot = self._residency.slot_for(request.digest, request.name)
            except Exception as error:
                request.fail(error)
                return True
            if slot is None:
                return False
            request.slot = slot
            waited = time.perf_counter() - request.submitted
            self._watch.admitted(hit=hit if request.digest else None, waited=waited)
            admitted.append(request)
            return True

        if waiting:
            self.waiting.take(ready)
        return admitted

    def release(self, requests: Sequence[Waiter]) -> None:
        """Admitted requests have ended."""
        for request in requests:
            self._residency.release(request.slot)

    def close(self, error: Exception) -> None:
        """End what waits, and admit no more."""
        for request in self.waiting.close():
            request.fail(error)
