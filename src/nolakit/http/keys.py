"""API keys: a TOML file that holds no secret.

[[keys]]
name = "reviews"                    # for people and metrics of one's own; no secret
sha256 = "9f86d0…"                  # of the key, hexadecimal; `nolakit serve-key` makes both
adapters = ["team/*", "my-base"]    # globs of names, of adapters and of the base; without it all
limits = "60/minute; 1000/day"      # requests; without it any number
admin = false                       # may add, retire and tag adapters
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Any

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from nolakit.errors import ConfigError

PREFIX = "nk-"
EVERYTHING = ("*",)
FIELDS = {"name": str, "sha256": str, "adapters": list, "limits": str, "admin": bool}


@dataclass(frozen=True)
class Key:
    """What one key may do. sha256: of the key, hexadecimal."""

    name: str
    sha256: str
    adapters: tuple[str, ...] = EVERYTHING
    limits: tuple[RateLimitItem, ...] = ()
    admin: bool = False

    @property
    def unrestricted(self) -> bool:
        """Whether it may use every adapter."""
        return "*" in self.adapters

    def allows(self, name: str) -> bool:
        """Whether it may use the adapter, or the base, of this name."""
        return any(re.match(translate(glob), name) for glob in self.adapters)


class Keys:
    """The keys of a server, and how much each was used."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def find(self, presented: str) -> Key | None:
        """The key that was presented. Takes the same time for every one that is none."""
        digest = hash_key(presented)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def spend(self, key: Key) -> int | None:
        """Count a request. None where it may be answered, else the seconds to wait, and nothing is counted."""
        for limit in key.limits:
            if not self._limiter.test(limit, key.sha256):
                reset = self._limiter.get_window_stats(limit, key.sha256).reset_time
                return max(1, int(reset - time.time()) + 1)
        for limit in key.limits:
            self._limiter.hit(limit, key.sha256)
        return None


def hash_key(key: str) -> str:
    """What the file holds of a key: SHA-256, hexadecimal. A key has 256 random bits, so that needs no salt."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def read_keys(path: Path) -> Keys:
    """The keys of a file. Raises ConfigError where it is not as this module's text has it."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"found {str(path)!r}, which cannot be read as TOML: {error}") from error
    rows = found.get("keys")
    if set(found) != {"keys"} or not isinstance(rows, list) or not rows:
        raise ConfigError(f"found no [[keys]], or more than them, in {str(path)!r}; expected at least one")
    keys = [_key(row, f"key {number} of {str(path)!r}") for number, row in enumerate(rows, 1)]
    for what in ("name", "sha256"):
        if len({getattr(key, what) for key in keys}) < len(keys):
            raise ConfigError(f"found two keys of one {what} in {str(path)!r}; expected each once")
    return Keys(keys)


def _key(row: Any, where: str) -> Key:
    if not isinstance(row, dict) or not {"name", "sha256"} <= set(row) <= set(FIELDS):
        raise ConfigError(
            f"found {where} with other fields; expected name, sha256 and of {', '.join(FIELDS)}"
        )
    for field, kind in FIELDS.items():
        if field in row and not isinstance(row[field], kind):
            raise ConfigError(f"found {field}={row[field]!r} in {where}; expected a {kind.__name__}")
    if not re.fullmatch(r"[0-9a-f]{64}", row["sha256"]):
        raise ConfigError(f"found no SHA-256 in {where}; expected 64 lower-case hexadecimal digits")
    globs = row.get("adapters", [*EVERYTHING])
    if not all(isinstance(glob, str) for glob in globs):
        raise ConfigError(f"found adapters={globs!r} in {where}; expected globs as texts")
    return Key(
        row["name"],
        row["sha256"],
        tuple(globs),
        read_limits(row.get("limits"), where),
        row.get("admin", False),
    )


def read_limits(text: str | None, where: str) -> tuple[RateLimitItem, ...]:
    """Limits such as `60/minute; 1000/day`. Raises ConfigError for others."""
    try:
        return tuple(parse_many(text)) if text is not None else ()
    except ValueError as error:
        raise ConfigError(
            f"found limits={text!r} in {where}; expected such as '60/minute; 1000/day'"
        ) from error
