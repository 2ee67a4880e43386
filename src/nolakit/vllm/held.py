"""The coefficients that a worker has loaded, which stay in its memory.

vLLM expands an adapter again after it was evicted, in the middle of a step of all requests, and ends where that fails.
So nothing that was loaded once depends on the store any more. It costs the bytes of the packed adapters, for 10,000 of
16 KiB 160 MiB, until the process ends.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from nolakit.adapter.unpacking import read_packed
from nolakit.vllm.opened import open_store
from nolakit.vllm.virtual_path import VirtualPath

if TYPE_CHECKING:
    from nolakit.adapter.packed import PackedAdapter

_held: dict[str, bytes] = {}
_lock = threading.Lock()


def adapter_at(path: VirtualPath) -> PackedAdapter:
    """The adapter that a path names: from memory, else from the store, digest checked.

    Raises:
        StoreNotFoundError, EntryNotFoundError, StoreDamagedError, StoreError: as `Store.read`, at the first load only.
    """
    with _lock:
        data = _held.get(path.digest)
        if data is None:
            data = _held[path.digest] = open_store(path.store).read(path.ref)
    return read_packed(data, path.name, check_digest=False)
