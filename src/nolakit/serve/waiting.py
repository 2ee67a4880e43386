"""Requests that wait: bounded, in order, but one whose adapter is not there yet is overtaken for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from nolakit.errors import EngineClosedError, QueueFullError

Item = TypeVar("Item")


@dataclass
class _Place(Generic[Item]):
    item: Item
    overtaken: int = 0


class Waiting(Generic[Item]):
    """Args:
    limit: so many wait at most.
    patience: so many later ones may overtake one, then none may before it has gone.
    """

    def __init__(self, limit: int, patience: int) -> None:
        self.limit, self.patience = limit, patience
        self._places: list[_Place[Item]] = []
        self._room = threading.Condition()
        self._closed = False

    def check_room(self, *, wait: bool) -> None:
        """Raises QueueFullError where there is no room, unless it may be waited for."""
        if not wait and len(self._places) >= self.limit:
            raise QueueFullError(
                f"found {len(self._places)} requests waiting; this engine takes at most {self.limit}: try again later"
            )

    def put(self, item: Item, *, wait: bool = False) -> None:
        """Append. Raises QueueFullError where there is no room, unless it may wait for some, and EngineClosedError."""
        with self._room:
            self.check_room(wait=wait)
            self._room.wait_for(lambda: self._closed or len(self._places) < self.limit)
            if self._closed:
                raise EngineClosedError("found the engine closed; make another one")
            self._places.append(_Place(item))

    def take(self, ready: Callable[[Item], bool]) -> None:
        """Remove the items that are ready, asked in order, until one has been overtaken too often."""
        with self._room:
            places = list(self._places)
        taken: set[int] = set()
        left: list[_Place[Item]] = []
        for place in places:
            if left and left[0].overtaken >= self.patience:
                break
            if not ready(place.item):
                left.append(place)
                continue
            taken.add(id(place))
            for earlier in left:
                earlier.overtaken += 1
        with self._room:
            self._places = [place for place in self._places if id(place) not in taken]
            self._room.notify_all()

    def close(self) -> list[Item]:
        """Take everything, and no more."""
        with self._room:
            self._closed = True
            places, self._places = self._places, []
            self._room.notify_all()
        return [place.item for place in places]

    def items(self) -> list[Item]:
        """What waits, in order."""
        with self._room:
            return [place.item for place in self._places]

    def __len__(self) -> int:
        return len(self._places)
