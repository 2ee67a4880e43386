"""Names of adapters in a store, and how one is referred to.

    team/task           the newest version
    team/task@3         version 3
    team/task:best      the version that has the tag `best`
    sha256:<64 hex>     the content, whatever its name

A name is never a path: it has no leading dot or dash, no `..`, no empty part, and is never opened as a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nolakit.errors import StoreNameError

MAX_NAME = 200
MAX_TAG = 64
DIGEST_PREFIX = "sha256:"
NEWEST = "latest"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Ref:
    """A name with a version, a tag or neither; or a digest alone."""

    name: str = ""
    version: int | None = None
    tag: str | None = None
    digest: bytes | None = None


def check_name(name: str) -> str:
    """Raises StoreNameError for what is not a name."""
    if not _NAME.fullmatch(name) or ".." in name or len(name) > MAX_NAME or name == "sha256":
        raise StoreNameError(
            f"found the name {name[:MAX_NAME]!r}; expected at most {MAX_NAME} letters, digits, '.', '_' and '-' in "
            "parts joined by '/', each part starting with a letter, a digit or '_', and no '..'"
        )
    return name


def check_tag(tag: str) -> str:
    """Raises StoreNameError for what is not a tag; `latest` always means the newest version and cannot be given."""
    if not _TAG.fullmatch(tag) or len(tag) > MAX_TAG or tag == NEWEST:
        raise StoreNameError(
            f"found the tag {tag[:MAX_TAG]!r}; expected at most {MAX_TAG} letters, digits, '.', '_' and '-', starting "
            f"with a letter or '_', and not {NEWEST!r}, which is always the newest version"
        )
    return tag


def parse_ref(text: str) -> Ref:
    """Read `name`, `name@3`, `name:tag` or `sha256:<digest>`. Raises StoreNameError where it is none of them."""
    if text.startswith(DIGEST_PREFIX):
        digest = text.removeprefix(DIGEST_PREFIX)
        if not _DIGEST.fullmatch(digest):
            raise StoreNameError(
                f"found {text[:100]!r}; expected 64 hexadecimal digits behind {DIGEST_PREFIX!r}"
            )
        return Ref(digest=bytes.fromhex(digest))
    name, at, version = text.partition("@")
    if at:
        if not _VERSION.fullmatch(version):
            raise StoreNameError(
                f"found the version {version[:20]!r} in {text[:100]!r}; expected a number from 1"
            )
        return Ref(check_name(name), version=int(version))
    name, colon, tag = text.partition(":")
    return Ref(check_name(name), tag=check_tag(tag) if colon and tag != NEWEST else None)
