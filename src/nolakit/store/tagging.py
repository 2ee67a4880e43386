"""Tags: words that mean a version, until they mean another."""

from __future__ import annotations

from nolakit.errors import StoreNameError
from nolakit.store.connections import Connections
from nolakit.store.finding import find
from nolakit.store.inserting import set_tags
from nolakit.store.names import check_tag, parse_ref


def tag(connections: Connections, ref: str, tag: str) -> None:
    """Have a tag of the reference's name mean the reference's version.

    Raises:
        EntryNotFoundError: nothing has the reference. StoreNameError: a tag that cannot be, or a digest.
    """
    check_tag(tag)
    with connections.writing() as connection:
        found = find(connection, ref)
        if found.version is None:
            raise StoreNameError(
                f"found {ref[:80]!r}; a tag belongs to a name: expected name, name@3 or name:tag"
            )
        set_tags(connection, found.version, [tag])


def untag(connections: Connections, ref: str) -> None:
    """Remove the tag of a reference `name:tag`; the version stays. Raises as `tag`."""
    parsed = parse_ref(ref)
    if parsed.tag is None:
        raise StoreNameError(f"found {ref[:80]!r}; expected name:tag")
    with connections.writing() as connection:
        find(connection, ref)
        connection.execute("DELETE FROM tags WHERE name = ? AND tag = ?", (parsed.name, parsed.tag))
