"""Who may do what: keys are looked at before a body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from nolakit.errors import EntryNotFoundError
from nolakit.http.failures import HttpError, response
from nolakit.http.keys import EVERYTHING, Key, Keys
from nolakit.http.served import Served
from nolakit.store.names import DIGEST_PREFIX, parse_ref

OPEN = ("/", "/health")  # neither tells anything of adapters


class Access:
    """Middleware: finds the key of a request and counts it. Answers 401 and 429."""

    def __init__(self, app: ASGIApp, *, keys: Keys | None, admin: bool) -> None:
        self._app, self._keys = app, keys
        self._anybody = Key("anybody", "", EVERYTHING, admin=admin)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        try:
            scope.setdefault("state", {})["key"] = self._key(Headers(scope=scope).get("authorization", ""))
        except HttpError as error:
            await response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _key(self, header: str) -> Key:
        if self._keys is None:
            return self._anybody
        scheme, _, presented = header.partition(" ")
        key = self._keys.find(presented.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            what = "a key that is none" if header else "no key"
            raise HttpError(401, "invalid_api_key", f"found {what}; expected 'Authorization: Bearer KEY'")
        wait = self._keys.spend(key)
        if wait is not None:
            raise HttpError(
                429, "rate_limit_exceeded", f"found the limits of key {key.name!r} reached; try again in {wait} s",
                retry_after=wait,
            )  # fmt: skip
        return key


def key_of(request: Request) -> Key:
    """The key that `Access` found."""
    return request.state.key


def check_admin(request: Request) -> None:
    """Raises HttpError 403 for a key that may not change the store."""
    if not key_of(request).admin:
        raise HttpError(
            403, "not_admin",
            "found a request to change adapters without the right to; expected a key with admin = true, or a server "
            "without keys that was started with --admin",
        )  # fmt: skip


def adapter_of(served: Served, key: Key, model: str) -> str | None:
    """The adapter that `model` means, None for the plain base; may wait for the disk.

    Raises:
        HttpError: 403, a name that is not on the key's list, whether there is one or not.
        StoreNameError: not a reference. EntryNotFoundError: content that has no name any more.
    """
    if model == served.name:
        check_allowed(key, model)
        return None
    ref = parse_ref(model)
    if ref.digest is None:
        check_allowed(key, ref.name)
        return model
    if not key.unrestricted:
        digest = model.removeprefix(DIGEST_PREFIX)
        named = served.store.entries(*key.adapters, every=True) if key.adapters else []
        if all(entry.digest != digest for entry in named):
            raise _forbidden(model)
    elif not _has_name(served, model):
        raise EntryNotFoundError(f"found no adapter {model!r} in the store")
    return model


def check_allowed(key: Key, name: str) -> None:
    """Raises HttpError 403 for a name that is not on the key's list."""
    if not key.allows(name):
        raise _forbidden(name)


def _forbidden(model: str) -> HttpError:
    return HttpError(
        403,
        "model_not_allowed",
        f"found {model[:300]!r}, which is not among what this key may use",
        param="model",
    )


def _has_name(served: Served, model: str) -> bool:
    """Whether content is still of an adapter: what was retired may be in the file for a while."""
    try:
        served.store.entry(model)
    except EntryNotFoundError:
        return False
    return True
