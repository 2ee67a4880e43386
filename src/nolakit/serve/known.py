"""The coefficients of every adapter that was used, and nothing else of it twice.

Adapters of one training recipe differ in their numbers alone, so what they have in common (configuration, module
names, the checks of both) is held and done once, and an adapter costs its numbers and about 300 bytes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from nolakit.adapter.container import Stored
from nolakit.adapter.contents import DTYPE_BYTES
from nolakit.adapter.packed import Description, PackedAdapter
from nolakit.serve.factors import Checked


@dataclass(frozen=True)
class Kind:
    """What adapters have in common. tensors: name, dtype and shape of what differs, in the order of their bytes."""

    description: Description
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
    checked: Checked


class Known:
    """Adapters by digest. Any thread may call.

    Args:
        check: finds out whether an adapter can be served; called once for each kind.
    """

    def __init__(self, check: Callable[[PackedAdapter], Checked]) -> None:
        self._check, self._lock = check, threading.Lock()
        self._kinds: dict[str, Kind] = {}
        self._numbers: dict[bytes, tuple[Kind, bytes]] = {}
        self.bytes = 0

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, adapter: PackedAdapter) -> None:
        """Hold an adapter's numbers. Raises what checking raises."""
        tensors = tuple((name, one.dtype, one.shape) for name, one in sorted(adapter.stored.items()))
        key = _key(adapter.description, tensors)
        kind = self._kinds.get(key)
        if kind is None:
            kind = Kind(adapter.description, tensors, self._check(adapter))
        numbers = b"".join(adapter.stored[name].data for name, _, _ in tensors)
        digest = bytes.fromhex(adapter.digest)
        with self._lock:
            self._kinds.setdefault(key, kind)
            if digest not in self._numbers:
                self._numbers[digest] = self._kinds[key], numbers
                self.bytes += len(numbers)

    def get(self, digest: bytes) -> tuple[PackedAdapter, Checked] | None:
        """An adapter as it was added, without the record of its training; None where it is not known."""
        found = self._numbers.get(digest)
        if found is None:
            return None
        kind, numbers = found
        stored, start = {}, 0
        for name, dtype, shape in kind.tensors:
            stop = start + prod(shape) * DTYPE_BYTES[dtype]
            stored[name] = Stored(dtype, shape, numbers[start:stop])
            start = stop
        name = f"sha256:{digest.hex()}"
        return PackedAdapter(name, kind.description, digest.hex(), stored, (len(numbers), 0)), kind.checked

    def drop(self, digest: bytes) -> None:
        """Forget an adapter."""
        with self._lock:
            _, numbers = self._numbers.pop(digest, (None, b""))
            self.bytes -= len(numbers)


def _key(said: Description, tensors: tuple[tuple[str, str, tuple[int, ...]], ...]) -> str:
    return json.dumps(
        [said.bits, said.dtype, said.patterns, said.counts, said.config, tensors], sort_keys=True
    )
