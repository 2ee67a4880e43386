"""Paths that name an adapter's content, and where no file is.

    /nola:<store>@<sha256>/<name>          /nola:/data/adapters.nola@9f86d0...0a08/team/task

vLLM takes an absolute path as it is, and keeps the key-value cache of a prompt under the adapter's name and path. The
digest makes a retrained adapter another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nolakit.errors import AdapterError
from nolakit.store.names import DIGEST_PREFIX

PREFIX = "/nola:"
_PATH = re.compile(r"/nola:(/.+)@([0-9a-f]{64})/(.+)", re.DOTALL)


@dataclass(frozen=True)
class VirtualPath:
    """The content `digest` (hexadecimal) of a store, which was asked for as `name`."""

    store: Path
    digest: str
    name: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.store}@{self.digest}/{self.name}"

    @property
    def ref(self) -> str:
        """The reference in the store that means this content alone."""
        return DIGEST_PREFIX + self.digest


def is_virtual(path: str) -> bool:
    """Whether a path is meant to be one of ours."""
    return path.startswith(PREFIX)


def parse_virtual(path: str) -> VirtualPath:
    """Read what `str` of a VirtualPath gave. Raises AdapterError."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise AdapterError(
            f"found the path {path[:200]!r}; expected {PREFIX}<absolute path of a store>@<SHA-256>/<name>, as the "
            "resolver makes it"
        )
    return VirtualPath(Path(found[1]), found[2], found[3])
