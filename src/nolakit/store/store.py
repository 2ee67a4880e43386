"""The store: ten thousand adapters in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nolakit.errors import AdapterError, EntryNotFoundError, OutputExistsError, StoreDamagedError
from nolakit.store import adding, entries, finding, pins, removing, tagging
from nolakit.store.adding import New
from nolakit.store.checking import Verification, verify
from nolakit.store.connections import Connections, create_file
from nolakit.store.entries import Entry
from nolakit.store.exporting import export
from nolakit.store.failures import typed
from nolakit.store.formats import opened_as
from nolakit.store.importing import find_sources, read_sources
from nolakit.store.names import DIGEST_PREFIX
from nolakit.store.pinning import Pinning
from nolakit.store.removing import Collected
from nolakit.store.stats import Stats, stats

if TYPE_CHECKING:
    from nolakit.adapter.packed import PackedAdapter

Progress = Callable[[int, int], None]


class Store:
    """Packed adapters under names, versions, tags and digests, in one SQLite file.

    Content is immutable and is held once. What a method acknowledges by returning is on the disk. Any number of
    processes and threads may read while one writes; another writer waits for `timeout` seconds. References are
    `name` (the newest version), `name@3`, `name:tag` and `sha256:<digest>`.

    Args:
        path: the file, which `Store.create` makes.
        read_only: never write. In a folder that may not be written, no process may write the store meanwhile.
        timeout: seconds to wait for another writer.
        check_every: compute the digest at each read, instead of at this object's first read of each content.

    Raises:
        StoreNotFoundError: no file. StoreFormatError: a file that is no store, or a newer one.

    Every method raises StoreBusyError, StoreFullError, StoreReadOnlyError and StoreDamagedError where it applies.
    """

    def __init__(
        self, path: str | Path, *, read_only: bool = False, timeout: float = 10.0, check_every: bool = False
    ) -> None:
        self.path = Path(path)
        self._check_every, self._checked = check_every, set[bytes]()
        self._connections = Connections(self.path, read_only=read_only, timeout=timeout)

    @classmethod
    def create(cls, path: str | Path, *, timeout: float = 10.0) -> Store:
        """Make an empty store and open it. Raises OutputExistsError where something is."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            create_file(Path(path))
        except FileExistsError as error:
            raise OutputExistsError(f"found {str(path)!r} already there; name another file") from error
        return cls(path, timeout=timeout)

    @classmethod
    def fetch(
        cls, url: str, path: str | Path, *, overwrite: bool = False, progress: Progress | None = None
    ) -> Store:
        """Get a published store through fsspec, check all of it, and open it, see `nolakit.store.remote.fetch`."""
        from nolakit.store.remote import fetch

        fetch(url, Path(path), overwrite=overwrite, progress=progress)
        return cls(path)

    def publish(self, url: str, *, overwrite: bool = False, progress: Progress | None = None) -> int:
        """Put a copy of one moment where fsspec can write, see `nolakit.store.remote.publish`. Returns its bytes."""
        from nolakit.store.remote import publish

        return publish(self._connections, url, overwrite=overwrite, progress=progress)

    def add(
        self, name: str, adapter: str | Path | bytes, *, bits: int | None = None, tags: Sequence[str] = ()
    ) -> Entry:
        """Add an adapter as the newest version of a name. Where the newest has this content, it is returned.

        Args:
            adapter: an adapter folder, a packed file, or the bytes of one.
            bits: pack with 32, 16, 8 or 4. None keeps a packed adapter, and packs a folder without loss.
            tags: that mean this version from now on.

        Raises:
            AdapterError: an adapter that cannot be read. StoreNameError: a name or tag that cannot be.
        """
        return adding.add_one(self._connections, New(name, adapter, tags), bits=bits)

    def add_all(
        self,
        adapters: Iterable[New],
        *,
        bits: int | None = None,
        committed: Callable[[list[Entry]], None] | None = None,
    ) -> list[Entry]:
        """Add many adapters in transactions of at most 32 MiB, see `nolakit.store.adding.add_all`."""
        return adding.add_all(self._connections, adapters, bits=bits, committed=committed)

    def import_from(
        self,
        paths: Sequence[str | Path],
        *,
        prefix: str = "",
        bits: int | None = None,
        progress: Progress | None = None,
    ) -> list[Entry]:
        """Add what lies in folders, packed files and bundles, named as `nolakit.store.importing` says."""
        sources = find_sources(paths, prefix=prefix)
        total, done = sum(source.adapters for source in sources), 0

        def committed(batch: list[Entry]) -> None:
            nonlocal done
            done += len(batch)
            if progress is not None:
                progress(done, total)

        return self.add_all(read_sources(sources), bits=bits, committed=committed)

    def names(self) -> list[str]:
        """Every name, sorted."""
        with typed(str(self.path)):
            return entries.names(self._connections.here())

    def entries(self, *patterns: str, every: bool = False) -> list[Entry]:
        """The newest version of each name, or every version; of names that match one of the globs, if any."""
        with typed(str(self.path)):
            return entries.list_entries(self._connections.here(), patterns, every=every)

    def entry(self, ref: str) -> Entry:
        """The version that a reference means. A digest means the first version that has it."""
        connection = self._connections.here()
        with typed(str(self.path)), entries.one_state(connection):
            found = finding.find(connection, ref)
            row = found.version
            if row is None:
                query = "SELECT min(id) FROM versions WHERE blob = ?"
                (row,) = connection.execute(query, (found.blob,)).fetchone()
            if row is None:
                raise EntryNotFoundError(f"found no name of {ref!r}; its content is still there")
            return entries.entries_of(connection, [row])[row]

    def digest(self, ref: str) -> str:
        """The SHA-256 of what a reference means, hexadecimal. Raises StoreNameError, EntryNotFoundError.

        Cost: one look-up in an index.
        """
        with typed(str(self.path)):
            return finding.find(self._connections.here(), ref).digest.hex()

    def read(self, ref: str) -> bytes:
        """The bytes of a packed adapter. Raises as `get`."""
        return self._read(ref)[0]

    def get(self, ref: str) -> PackedAdapter:
        """An adapter, for `nolakit.expand`, `inspect`, `export_lora` and others.

        Raises:
            StoreNameError: not a reference. EntryNotFoundError: nothing has it.
            StoreDamagedError: what is stored is not what was put in.

        Cost: one query; at the first read of a content a SHA-256 of its bytes.
        """
        return self._read(ref)[1]

    @contextmanager
    def pin(self, ref: str, *, who: str = "", seconds: float | None = None) -> Iterator[str]:
        """Keep what a reference means from being removed until the block ends, the seconds are over, or the
        process has ended. Gives the reference `sha256:<digest>`, which means the same content for as long."""
        with self._connections.writing() as connection:
            found = finding.find(connection, ref)
            row = pins.insert_pin(connection, found.blob, who, seconds)
        try:
            yield DIGEST_PREFIX + found.digest.hex()
        finally:
            with self._connections.writing() as connection:
                connection.execute("DELETE FROM pins WHERE id = ?", (row,))

    def pinning(self, *, who: str = "") -> Pinning:
        """Pins that are added one after the other and released together, see `nolakit.store.pinning`."""
        return Pinning(self._connections, who)

    def tag(self, ref: str, tag: str) -> None:
        """Have a tag of a name mean a version of it, whatever it meant before."""
        tagging.tag(self._connections, ref, tag)

    def untag(self, ref: str) -> None:
        """Remove the tag of `name:tag`; the version stays."""
        tagging.untag(self._connections, ref)

    def remove(self, *refs: str) -> list[Entry]:
        """Remove versions (`name@3`) or names with all versions (`name`, globs), see `nolakit.store.removing`."""
        return removing.remove(self._connections, refs)

    def collect(
        self, *, dry_run: bool = False, compact: bool = False, progress: Progress | None = None
    ) -> Collected:
        """Delete the content that nothing refers to, see `nolakit.store.removing`."""
        return removing.collect(self._connections, dry_run=dry_run, compact=compact, progress=progress)

    def verify(self, *, progress: Progress | None = None) -> Verification:
        """Read everything and list what is damaged."""
        return verify(self._connections, progress=progress)

    def stats(self) -> Stats:
        """Count and measure."""
        return stats(self._connections)

    def export(
        self,
        patterns: Sequence[str],
        path: str | Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[Entry]:
        """Write adapters to one file for sharing, see `nolakit.store.exporting`."""
        return export(self, patterns, path, overwrite=overwrite, progress=progress)

    def close(self) -> None:
        """Close the file, for all threads of this process."""
        self._connections.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, ref: str) -> tuple[bytes, PackedAdapter]:
        try:
            with typed(str(self.path)):
                digest, data = finding.read(self._connections.here(), ref)
            adapter = opened_as(data, digest, ref, check=self._check_every or digest not in self._checked)
        except (AdapterError, StoreDamagedError) as error:
            raise StoreDamagedError(
                f"found {ref!r} of {str(self.path)!r} damaged: {error}. Add it again from where it came, which heals "
                "it unless SQLite's own pages are damaged; `nolakit store verify` lists what else is"
            ) from error
        self._checked.add(digest)
        return data, adapter
