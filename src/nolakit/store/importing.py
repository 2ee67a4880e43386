"""Adapters that lie in folders, packed files and bundles, with the names that a store gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from nolakit.errors import AdapterNotFoundError
from nolakit.store.adding import New
from nolakit.store.bundles import Bundled, is_bundle, read_bundle, read_manifest
from nolakit.store.names import check_name

CONFIG_NAME = "adapter_config.json"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Source:
    """An adapter folder or a packed file under a name; or a bundle, with what it has."""

    path: Path
    name: str = ""
    bundled: Sequence[Bundled] = ()

    @property
    def adapters(self) -> int:
        return len(self.bundled) or 1


def find_sources(paths: Sequence[str | Path], *, prefix: str = "") -> list[Source]:
    """What is to be imported.

    Args:
        paths: adapter folders, packed files, bundles, folders that have such at any depth, and globs of all these.
            An adapter is named like its folder or file, below a folder by its path in it: `team/task`.
        prefix: put before each name.

    Raises:
        AdapterNotFoundError: a path or a glob where nothing is. StoreNameError: a name that cannot be.
        AdapterError: a file that is neither a packed adapter nor a bundle.
    """
    sources: list[Source] = []
    for path in paths:
        text = str(path)
        found = sorted(glob(text, recursive=True)) if has_magic(text) and not Path(text).exists() else [text]
        before = len(sources)
        for one in map(Path, found):
            sources += _below(one, prefix)
        if len(sources) == before:
            raise AdapterNotFoundError(
                f"found no adapter at {text!r}; expected adapter folders, packed files or bundles there"
            )
    return sources


def name_of(path: str | Path) -> str:
    """The name of an adapter folder or a packed file. Raises StoreNameError where it cannot be one."""
    return check_name(Path(path).absolute().name.removesuffix(SUFFIX))


def read_sources(sources: Sequence[Source]) -> Iterator[New]:
    """The adapters of sources, each read when it is asked for."""
    for source in sources:
        if source.bundled:
            for one, data in read_bundle(source.path, source.bundled):
                yield New(one.name, data, one.tags, one.digest)
        else:
            yield New(source.name, source.path)


def _below(path: Path, prefix: str) -> Iterator[Source]:
    if path.is_file() or (path / CONFIG_NAME).is_file():
        absolute = path.absolute()
        yield _source(path, absolute.name, prefix)
        return
    for one in sorted(path.rglob("*")):
        if one.name == CONFIG_NAME:
            yield _source(one.parent, one.parent.relative_to(path).as_posix(), prefix)
        elif one.suffix == SUFFIX and not (one.parent / CONFIG_NAME).is_file():
            yield _source(one, one.relative_to(path).as_posix(), prefix)


def _source(path: Path, name: str, prefix: str) -> Source:
    if path.is_dir():
        return Source(path, check_name(prefix + name))
    if is_bundle(path):
        listed = read_manifest(path)
        named = [Bundled(check_name(prefix + one.name), one.digest, one.size, one.tags) for one in listed]
        return Source(path, bundled=named)
    return Source(path, check_name(prefix + name.removesuffix(SUFFIX)))
