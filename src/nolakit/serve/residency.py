"""Which adapters are known, being expanded, and in a slot.

known      packed bytes in memory, from the first request on: a store may move or vanish afterwards
making     expanded by a thread of its own, while the batch goes on
resident   in a slot, until a newer adapter needs it
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from nolakit.adapter.packed import PackedAdapter
from nolakit.errors import ConfigError, EntryNotFoundError
from nolakit.serve.base import Base
from nolakit.serve.factors import Checked, Factors
from nolakit.serve.known import Known
from nolakit.serve.mixing import Mixture
from nolakit.serve.openmp import release_workers
from nolakit.serve.slots import Slots
from nolakit.serve.watching import Slot, Watch
from nolakit.store.names import DIGEST_PREFIX, parse_ref
from nolakit.store.store import Store

LOG = logging.getLogger(__name__)


class Residency:
    """Any thread may call `know`; the others are the engine's.

    Args:
        heads: whether adapters may replace linear layers of the base.
        wake: called by another thread when an adapter has been expanded.
    """

    def __init__(
        self,
        base: Base,
        store: Store,
        *,
        slots: int,
        max_rank: int,
        heads: bool,
        watch: Watch,
        wake: Callable[[], None],
    ) -> None:
        self.mixture = Mixture(base, slots)
        self._base, self._store, self._max_rank, self._heads = base, store, max_rank, heads
        self._watch, self._wake = watch, wake
        self._slots, self._most = Slots(slots), slots
        self._names: dict[int, str] = {}
        self._known = Known(self._check)
        self._making: dict[str, Future[Factors]] = {}
        self._retired: set[str] = set()
        self._maker = ThreadPoolExecutor(1, "nolakit-expand")

    def know(self, ref: str) -> str:
        """Have an adapter's coefficients in memory. Returns its digest.

        Raises:
            StoreError: as `Store.get`. AdapterError, BaseMismatchError, UnsupportedError: as `Checked`.

        Cost: one look-up in the store; of a new one reading, a SHA-256 and the checks.
        """
        key = parse_ref(ref).digest
        if key is None or key not in self._known:
            key = bytes.fromhex(self._store.digest(ref))
        digest = key.hex()
        if key not in self._known:
            self._known.add(self._store.get(DIGEST_PREFIX + digest))
        self._retired.discard(digest)
        return digest

    def keep(self, ref: str) -> str:
        """Have an adapter in a slot from now on, until `let_go`. Any thread may call. Returns its digest.

        Raises what `know` raises, and ConfigError where no slot would be left for others.
        """
        digest = self.know(ref)
        kept = self._slots.kept | {digest}
        if len(kept) >= self._most:
            raise ConfigError(
                f"found {len(kept)} adapters to pin in {self._most} slots; expected fewer than there are slots"
            )
        self._slots.kept = kept
        self._wake()
        return digest

    def let_go(self, digest: str) -> None:
        """Let an adapter lose its slot again."""
        self._slots.kept = self._slots.kept - {digest}

    def slot_for(self, digest: str | None, name: str | None) -> int | None:
        """A slot that holds the adapter, pinned until `release`; None where it is being made or no slot is free.

        Raises what making it raised.
        """
        slot = self._slots.find(digest)
        if slot is None:
            assert digest is not None
            future = self.prefetch(digest)
            if future is None or not future.done() or not self._slots.room():
                return None
            del self._making[digest]
            factors = future.result()
            slot, evicted = self._slots.take(digest)
            if evicted is not None:
                self._watch.evicted()
            self.mixture.write(slot, factors)
        if slot and name is not None:
            self._names[slot] = name
        self._slots.pin(slot)
        return slot

    def release(self, slot: int) -> None:
        """The request that had the slot has ended."""
        self._slots.unpin(slot)

    def prefetch(self, digest: str | None) -> Future[Factors] | None:
        """Have an adapter expanded that is in no slot; None where it is, or as many are being made as there are
        slots."""
        if self.resident(digest):
            return None
        assert digest is not None
        future = self._making.get(digest)
        if future is None and len(self._making) < self._most:
            future = self._making[digest] = self._maker.submit(self._make, digest)
            future.add_done_callback(lambda _: self._wake())
        return future

    def resident(self, digest: str | None) -> bool:
        """Whether the adapter is in a slot, or is the plain base."""
        return self._slots.find(digest) is not None

    def tidy(self, wanted: Collection[str | None]) -> None:
        """Forget what was made for requests that have gone, and what was retired.

        Args:
            wanted: adapters that waiting requests are for.
        """
        for digest in self._making.keys() - wanted - self._slots.kept:
            self._making.pop(digest).cancel()
        for digest in self._slots.kept:
            if not self.resident(digest):
                self._place(digest)
        for digest in [*self._retired]:
            slot = self._slots.drop(digest)
            if slot is not None:
                self.mixture.clear(slot)
            if digest not in wanted and not self.resident(digest):
                self._retired.discard(digest)
                self._known.drop(bytes.fromhex(digest))

    def retire(self, digest: str) -> None:
        """Drop an adapter as soon as no request needs it, pinned or not."""
        self.let_go(digest)
        self._retired.add(digest)

    @property
    def known(self) -> tuple[int, int]:
        """Adapters whose coefficients are in memory, and their bytes."""
        return len(self._known), self._known.bytes

    def slots(self) -> tuple[Slot, ...]:
        """What is in each slot."""
        return tuple(
            Slot(digest, self._names.get(slot) if digest else None, users, digest in self._slots.kept)
            for slot, digest, users in self._slots.listing()
        )

    def close(self) -> None:
        """Leave the base as it was, and end the thread."""
        self._maker.shutdown(cancel_futures=True)
        self.mixture.close()

    def _place(self, digest: str) -> None:
        try:
            slot = self.slot_for(digest, None)
        except Exception:  # a request for it will be told
            LOG.exception("the pinned adapter %s cannot be expanded", digest)
            self.let_go(digest)
            return
        if slot is not None:
            self.release(slot)

    def _make(self, digest: str) -> Factors:
        start = time.perf_counter()
        found = self._known.get(bytes.fromhex(digest))
        if found is None:
            raise EntryNotFoundError(f"found the adapter {digest} retired while its request waited")
        adapter, checked = found
        with torch.inference_mode():
            factors = checked.factors(adapter)
        release_workers()
        self._watch.expanded(time.perf_counter() - start)
        return factors

    def _check(self, adapter: PackedAdapter) -> Checked:
        return Checked(adapter, self._base, max_rank=self._max_rank, heads=self._heads)
