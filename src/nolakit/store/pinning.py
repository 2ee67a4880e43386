"""Many pins that are released together, for a server."""

from __future__ import annotations

from nolakit.store import finding, pins
from nolakit.store.connections import Connections
from nolakit.store.names import DIGEST_PREFIX


class Pinning:
    """What this process keeps from being removed, until `release` or its end. One thread at a time."""

    def __init__(self, connections: Connections, who: str) -> None:
        self._connections, self._who = connections, who
        self._rows: dict[bytes, int] = {}

    def add(self, ref: str) -> str:
        """Pin what a reference means, once. Returns the reference `sha256:<digest>`.

        Raises:
            StoreNameError, EntryNotFoundError: as `Store.entry`. StoreReadOnlyError, StoreBusyError: nothing is pinned.
        """
        with self._connections.writing() as connection:
            found = finding.find(connection, ref)
            row = self._rows.get(found.digest)
            if row is None:
                row = pins.insert_pin(connection, found.blob, self._who, None)
        self._rows[found.digest] = row
        return DIGEST_PREFIX + found.digest.hex()

    def release(self) -> None:
        """Release all in one transaction."""
        rows, self._rows = self._rows, {}
        if rows:
            with self._connections.writing() as connection:
                connection.executemany("DELETE FROM pins WHERE id = ?", [(row,) for row in rows.values()])
