"""How much a store holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nolakit.store.connections import Connections
from nolakit.store.entries import one_state
from nolakit.store.failures import typed
from nolakit.store.pins import Pin, list_pins
from nolakit.store.removing import UNREFERENCED

KIND = ("method", "bits", "base_model", "versions", "bytes")


@dataclass(frozen=True)
class Stats:
    """Sizes in bytes. `free` is room inside the file, `unreferenced` what `gc` would delete, `shared` what equal
    content saved, `log` the write-ahead log."""

    path: str
    file: int
    free: int
    log: int
    names: int
    versions: int
    tags: int
    blobs: int
    stored: int
    shared: int
    unreferenced: int
    kinds: list[dict[str, Any]]
    pins: list[Pin]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def stats(connections: Connections) -> Stats:
    """Count and measure, in one state of the store."""
    connection, log = connections.here(), Path(f"{connections.path}-wal")

    def one(query: str) -> int:
        return connection.execute(f"SELECT coalesce(({query}), 0)").fetchone()[0]

    with typed(str(connections.path)), one_state(connection):
        referenced = one("SELECT sum(size) FROM (SELECT max(size) AS size FROM versions GROUP BY blob)")
        unreferenced = one(f"SELECT sum(length(data)) {UNREFERENCED}")
        only_pinned = one(
            "SELECT sum(length(data)) FROM blobs WHERE id IN (SELECT blob FROM pins) "
            "AND id NOT IN (SELECT blob FROM versions)"
        )
        kinds = connection.execute(
            "SELECT k.method, k.bits, k.base_model, count(*), sum(v.size) FROM versions v "
            "JOIN kinds k ON k.id = v.kind GROUP BY k.id ORDER BY 4 DESC, 1, 2, 3"
        ).fetchall()
        return Stats(
            path=str(connections.path),
            file=connections.path.stat().st_size,
            free=one("SELECT page_size * freelist_count FROM pragma_page_size, pragma_freelist_count"),
            log=log.stat().st_size if log.exists() else 0,
            names=one("SELECT count(DISTINCT name) FROM versions"),
            versions=one("SELECT count(*) FROM versions"),
            tags=one("SELECT count(*) FROM tags"),
            blobs=one("SELECT count(*) FROM blobs"),
            stored=referenced + unreferenced + only_pinned,
            shared=one("SELECT sum(size) FROM versions") - referenced,
            unreferenced=unreferenced,
            kinds=[dict(zip(KIND, row, strict=True)) for row in kinds],
            pins=list_pins(connection),
        )
