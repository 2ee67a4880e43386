"""What the status page shows."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from typing import Any

from nolakit.errors import EntryNotFoundError, StoreNameError
from nolakit.http.history import History
from nolakit.http.keys import Key
from nolakit.http.served import Served
from nolakit.store.names import DIGEST_PREFIX, parse_ref

PAGE = files("nolakit.http").joinpath("status.html").read_text(encoding="utf-8")


def status(served: Served, history: History, key: Key) -> dict[str, Any]:
    """Counts, slots and history. Names that are not on the key's list are left out."""
    stats = served.stats()
    slots = []
    for slot in stats.slots:
        name = _name(served, slot.name)
        shown = _shows(key, name)
        slots.append(
            {
                "digest": slot.digest if shown else None,
                "name": name if shown else None,
                "used": slot.digest is not None,
                "running": slot.running,
            }
        )
    counts = {name: value for name, value in stats.to_dict().items() if name != "slots"}
    return {
        "model": served.name,
        "task": served.task,
        "version": version("nolakit"),
        "adapters": len(served.store.names()),
        "counts": {**counts, "hit_rate": stats.hit_rate},
        "slots": slots,
        "history": history.columns(),
    }


def _name(served: Served, ref: str | None) -> str | None:
    """What people call an adapter that a request named by its digest."""
    if ref is None or not ref.startswith(DIGEST_PREFIX):
        return ref
    try:
        return served.store.entry(ref).ref
    except EntryNotFoundError:
        return ref


def _shows(key: Key, name: str | None) -> bool:
    if key.unrestricted or name is None:
        return key.unrestricted
    try:
        return key.allows(parse_ref(name).name)
    except StoreNameError:
        return False
