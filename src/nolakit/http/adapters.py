"""Adapters as models: listing, adding, retiring and tagging them while they are served."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress

from nolakit.errors import EntryNotFoundError, StoreNameError
from nolakit.http.access import check_allowed
from nolakit.http.answers import Model, Models, Retired
from nolakit.http.keys import Key
from nolakit.http.served import Served
from nolakit.store.entries import Entry
from nolakit.store.names import DIGEST_PREFIX, parse_ref


def list_models(served: Served, key: Key, *, limit: int, after: str | None, created: int) -> Models:
    """A page: the base first, then the newest version of each adapter by name, of those that the key may use.

    after: the last id of the page before; what follows it in this order, whether it is still there or not.
    """
    names = [name for name in served.store.names() if key.unrestricted or key.allows(name)]
    data: list[Model] = []
    if after is None and key.allows(served.name):
        data.append(_base(served, created))
    position = 0 if after in (None, served.name) else bisect_right(names, after or "")
    while len(data) <= limit and position < len(names):
        with suppress(EntryNotFoundError):  # retired since it was listed
            data.append(_model(served.store.entry(names[position])))
        position += 1
    page = data[:limit]
    return Models(
        data=page,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=len(data) > limit,
    )


def show_model(served: Served, key: Key, model: str, *, created: int) -> Model:
    """One model by its name or reference. Raises HttpError 403, StoreNameError, EntryNotFoundError."""
    if model == served.name:
        check_allowed(key, model)
        return _base(served, created)
    ref = parse_ref(model)
    if ref.digest is None:
        check_allowed(key, ref.name)
    entry = served.store.entry(model)
    check_allowed(key, entry.name)
    return _model(entry, model)


def add(served: Served, name: str, data: bytes, tags: Sequence[str]) -> Model:
    """Add a packed file as the newest version of a name. Raises as `Store.add`."""
    if name == served.name:
        raise StoreNameError(f"found {name!r}, which is the base's name here; expected another")
    return _model(served.store.add(name, data, tags=tags))


def retire(served: Served, ref: str) -> Retired:
    """Remove a version, or a name with all of them. Requests under way finish.

    Raises:
        StoreNameError: a tag, a digest or a glob. EntryNotFoundError: nothing has the reference.
    """
    parsed = parse_ref(ref)  # which a glob is not
    if parsed.digest is not None or ":" in ref:
        raise StoreNameError(f"found {ref[:100]!r}; expected name or name@3")
    removed = served.store.remove(ref)
    for digest in {entry.digest for entry in removed}:
        if not _named(served, digest):
            served.runner.forget(digest)
    return Retired(id=ref, object="model", versions=[entry.ref for entry in removed])


def set_tag(served: Served, ref: str, version: int | None) -> Model:
    """Have the tag of `name:tag` mean a version, or the newest. Raises as `Store.tag`."""
    name, tag = _tagged(ref)
    served.store.tag(name if version is None else f"{name}@{version}", tag)
    return _model(served.store.entry(ref))


def remove_tag(served: Served, ref: str) -> Retired:
    """Remove a tag; its version stays. Raises as `Store.untag`."""
    _tagged(ref)
    served.store.untag(ref)
    return Retired(id=ref, object="tag")


def _tagged(ref: str) -> tuple[str, str]:
    parsed = parse_ref(ref)
    if parsed.tag is None:
        raise StoreNameError(f"found {ref[:100]!r}; expected name:tag")
    return parsed.name, parsed.tag


def _named(served: Served, digest: str) -> bool:
    try:
        served.store.entry(DIGEST_PREFIX + digest)
    except EntryNotFoundError:
        return False
    return True


def _base(served: Served, created: int) -> Model:
    return Model(id=served.name, created=created)


def _model(entry: Entry, name: str | None = None) -> Model:
    return Model(
        id=name or entry.name, created=entry.created, version=entry.version, tags=[*entry.tags], digest=entry.digest,
        size=entry.size, method=entry.method,
    )  # fmt: skip
