"""From the name that a request asks for to the path that vLLM loads.

Everything that can be found wrong is found here, before the engine hears of the adapter, and answered with None: vLLM
then refuses that one request.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nolakit.errors import EntryNotFoundError, NolakitError, StoreError, StoreNameError, StoreReadOnlyError
from nolakit.store.names import DIGEST_PREFIX, parse_ref
from nolakit.store.pinning import Pinning
from nolakit.store.store import Store
from nolakit.vllm.bases import Bases
from nolakit.vllm.folders import Folders
from nolakit.vllm.opened import open_store
from nolakit.vllm.servable import check_servable
from nolakit.vllm.virtual_path import VirtualPath

log = logging.getLogger("vllm.nolakit")  # vLLM shows what is logged below its own name


@dataclass(frozen=True)
class Answer:
    """A content, SHA-256 in hexadecimal, and the path that vLLM loads it from."""

    digest: str
    path: str


class Resolver:
    """Answers with paths of a store's adapters, and pins what it answered with until this process ends.

    Args:
        store: the file.
        base: as `nolakit.vllm.bases.Bases`.
        max_rank: the engine's limit; asked at each answer.
        folders: where to expand to, for workers that cannot be given adapters in memory; None answers virtual paths.
    """

    def __init__(
        self,
        store: Path,
        *,
        base: str | None = None,
        max_rank: Callable[[], int | None] = lambda: None,
        folders: Folders | None = None,
    ) -> None:
        self._path, self._bases, self._max_rank, self._folders = store, Bases(base), max_rank, folders
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nolakit-resolver")
        self._pins: dict[
            Store, Pinning
        ] = {}  # of the file that was first there, and of one that took its place
        self._first: dict[str, str] = {}
        self._warned = False
        atexit.register(self.release)

    async def request(self, served: str, name: str) -> tuple[str, str] | None:
        """`name_of` and the path of `answer`, in a thread of its own; None, and a line in the log, where it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._logged, served, name)

    def answer(self, served: str, name: str) -> Answer:
        """The content and the path of an adapter that this engine can serve.

        Args:
            served: the base, as `--model` names it.
            name: a reference in the store.

        Raises:
            StoreNameError: a name that is none, or a path. EntryNotFoundError: an unknown one.
            StoreNotFoundError, StoreDamagedError, StoreError: as `Store.get`.
            UnsupportedError, AdapterError, BaseMismatchError, ModelError: as `check_servable` and `Bases.check`.

        Cost: a look-up, at the first a SHA-256 of the adapter and a transaction; of the first of a kind `Bases.check`.
        """
        parse_ref(name)
        store = open_store(self._path)
        adapter = store.get(name)
        path = VirtualPath(self._path, adapter.digest, name)
        check_servable(adapter, self._max_rank())
        self._bases.check(adapter, served)
        self._pin(store, path)
        folder = None if self._folders is None else self._folders.folder_of(adapter)
        return Answer(path.digest, str(folder or path))

    def name_of(self, name: str, answer: Answer) -> str:
        """What to call an answer: the name, unless that was another content before. vLLM takes requests of one name for
        one adapter, so that an old content under way and a new one would hide each other."""
        first = self._first.setdefault(name, answer.digest)
        return name if first == answer.digest else f"{name}@{DIGEST_PREFIX}{answer.digest}"

    def release(self) -> None:
        """Release the pins; also done when the process ends."""
        for pins in self._pins.values():
            with suppress(StoreError):  # a store that is gone has none
                pins.release()

    def _pin(self, store: Store, path: VirtualPath) -> None:
        try:
            self._pins.setdefault(store, store.pinning(who="vLLM")).add(path.ref)
        except StoreReadOnlyError:
            if not self._warned:
                log.warning(
                    "%r may not be written, so nothing keeps what is served from being deleted",
                    str(self._path),
                )
            self._warned = True

    def _logged(self, served: str, name: str) -> tuple[str, str] | None:
        try:
            found = self.answer(served, name)
            return self.name_of(name, found), found.path
        except (EntryNotFoundError, StoreNameError) as error:
            log.info("no adapter of nolakit's: %s", error)
        except NolakitError as error:
            log.warning("adapter %r refused: %s", name[:200], error)
        except Exception:  # a request may fail, the server may not
            log.exception("adapter %r could not be looked at", name[:200])
        return None
