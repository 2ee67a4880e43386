"""Adapters of a store in one file, for sharing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nolakit.adapter.writing import new_file
from nolakit.errors import EntryNotFoundError
from nolakit.store.bundles import Bundled, write_bundle
from nolakit.store.entries import Entry
from nolakit.store.names import DIGEST_PREFIX

if TYPE_CHECKING:
    from nolakit.store.store import Store


def export(
    store: Store,
    patterns: Sequence[str],
    path: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """Write the packed file of one adapter, or a bundle of more, see `nolakit.store.bundles`.

    Args:
        patterns: references, and globs of names, of which the newest version is taken. None is all names.
        path: appears whole or not at all.
        progress: called with adapters that are written, and all.

    Raises:
        EntryNotFoundError: nothing has a reference or matches. OutputExistsError: `path` is there.
    """
    chosen = list({one.ref: one for pattern in patterns or ["*"] for one in _chosen(store, pattern)}.values())
    contents = len({one.digest for one in chosen})
    done = 0

    def read(digest: str) -> bytes:
        nonlocal done
        data, done = store.read(DIGEST_PREFIX + digest), done + 1
        if progress is not None:
            progress(done, contents)
        return data

    with new_file(path, overwrite=overwrite) as fresh:
        if len(chosen) == 1:
            fresh.write_bytes(read(chosen[0].digest))
        else:
            listed = [Bundled(one.name, one.digest, one.size, one.tags) for one in chosen]
            write_bundle(fresh, listed, read)
    return chosen


def _chosen(store: Store, pattern: str) -> list[Entry]:
    if not any(mark in pattern for mark in "*?["):
        return [store.entry(pattern)]
    found = store.entries(pattern)
    if not found:
        raise EntryNotFoundError(f"found no name that matches {pattern!r} in the store")
    return found
