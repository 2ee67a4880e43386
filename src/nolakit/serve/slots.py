"""Which adapter is in which slot: least recently used goes first, what a request uses stays."""

from __future__ import annotations

from collections import OrderedDict


class Slots:
    """Slots 1 to `count`; 0 is the plain base and is nobody's."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count, 0, -1))
        self._slot: OrderedDict[str, int] = OrderedDict()  # least recently used first
        self._users: dict[int, int] = dict.fromkeys(range(count + 1), 0)
        self.kept: set[str] = set()  # adapters that lose no slot, used or not

    def find(self, digest: str | None) -> int | None:
        """The slot of an adapter, 0 of the plain base; None where it has none."""
        return 0 if digest is None else self._slot.get(digest)

    def room(self) -> bool:
        """Whether `take` can."""
        return bool(self._free) or self._evictable() is not None

    def take(self, digest: str) -> tuple[int, str | None]:
        """A slot for an adapter that has none, and the adapter that loses it, if any. Asks for `room`."""
        evicted = None
        if self._free:
            slot = self._free.pop()
        else:
            evicted = self._evictable()
            assert evicted is not None
            slot = self._slot.pop(evicted)
        self._slot[digest] = slot
        return slot, evicted

    def _evictable(self) -> str | None:
        return next(
            (held for held, slot in self._slot.items() if not self._users[slot] and held not in self.kept),
            None,
        )

    def pin(self, slot: int) -> None:
        """One more request uses a slot."""
        self._users[slot] += 1
        for digest, held in self._slot.items():
            if held == slot:
                self._slot.move_to_end(digest)
                break

    def unpin(self, slot: int) -> None:
        """A request has ended."""
        self._users[slot] -= 1

    def drop(self, digest: str) -> int | None:
        """Free the slot of an adapter that no request uses. Returns it; None where there was nothing to free."""
        slot = self._slot.get(digest)
        if slot is None or self._users[slot]:
            return None
        del self._slot[digest]
        self._free.append(slot)
        return slot

    def listing(self) -> list[tuple[int, str | None, int]]:
        """Number, adapter and users of each slot."""
        held = {slot: digest for digest, slot in self._slot.items()}
        return [(slot, held.get(slot), users) for slot, users in self._users.items() if slot]
