"""Adding adapters: checked before the transaction, on the disk after it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nolakit.errors import AdapterError
from nolakit.store.connections import Connections
from nolakit.store.entries import Entry, entries_of
from nolakit.store.formats import Kind, kind_of, opened, packed_bytes
from nolakit.store.inserting import Checked, insert
from nolakit.store.names import check_name, check_tag

BATCH_BYTES = 32 << 20
BATCH_ROWS = 2000


@dataclass(frozen=True)
class New:
    """An adapter to be added: where it is, or its bytes; and the digest that it must have, if that is known."""

    name: str
    adapter: str | Path | bytes
    tags: Sequence[str] = ()
    digest: str | None = None


def add_one(connections: Connections, new: New, *, bits: int | None) -> Entry:
    """Add an adapter in a transaction of its own. Raises as `add_all`."""
    checked = _checked(new, bits)
    with connections.writing() as connection:
        return _inserted(connection, [checked])[0]


def add_all(
    connections: Connections,
    adapters: Iterable[New],
    *,
    bits: int | None,
    committed: Callable[[list[Entry]], None] | None = None,
) -> list[Entry]:
    """Add adapters in transactions of at most 32 MiB. While one goes to the disk the next is checked.

    Args:
        bits: as `packed_bytes`.
        committed: called with the entries of each transaction when they are on the disk.

    Raises:
        AdapterError, StoreNameError: an adapter or a name that is refused. What was committed before stays.
        StoreBusyError, StoreFullError, StoreReadOnlyError: as `Connections.writing`.
    """
    entries: list[Entry] = []
    under_way: list[tuple[Future[None], list[Entry]]] = []

    def settle() -> None:
        while under_way:
            future, made = under_way.pop()
            future.result()
            entries.extend(made)
            if committed is not None:
                committed(made)

    with connections.another() as connection, ThreadPoolExecutor(1) as thread:
        try:
            for batch in _batches(_checked(new, bits) for new in adapters):
                settle()
                with connections.begun(connection):
                    made = _inserted(connection, batch)
                under_way.append((thread.submit(connections.commit, connection), made))
        finally:
            settle()
    return entries


def _inserted(connection: sqlite3.Connection, batch: list[Checked]) -> list[Entry]:
    kinds: dict[Kind, int] = {}
    rows = [insert(connection, one, kinds) for one in batch]
    entries = entries_of(connection, rows)
    return [entries[row] for row in rows]


def _checked(new: New, bits: int | None) -> Checked:
    check_name(new.name)
    for each in new.tags:
        check_tag(each)
    data = packed_bytes(new.adapter, bits)
    adapter = opened(data, f"the adapter to add as {new.name!r}")
    if new.digest not in (None, adapter.digest):
        raise AdapterError(
            f"found the content {adapter.digest} for {new.name!r}; expected {new.digest}: fetch it again"
        )
    return Checked(new.name, new.tags, bytes.fromhex(adapter.digest), kind_of(adapter), data)


def _batches(checked: Iterable[Checked]) -> Iterator[list[Checked]]:
    batch: list[Checked] = []
    size = 0
    for one in checked:
        batch.append(one)
        size += len(one.data)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
