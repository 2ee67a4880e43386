"""`nolakit store stats`."""

from __future__ import annotations

from nolakit.cli.options import AsJson
from nolakit.cli.output import print_facts, print_json, print_rows, results
from nolakit.cli.store.options import StoreFile

EXAMPLE = "Example: nolakit store stats adapters.nola --json"


def command(store: StoreFile, as_json: AsJson = False) -> None:
    """Count and measure: sizes, what equal content saves, what `gc` would delete, kinds of adapters, pins."""
    from nolakit.store.store import Store

    with Store(store, read_only=True) as opened:
        found = opened.stats()
    if as_json:
        print_json(found.to_dict())
        return
    print_facts(
        found.path,
        {
            "names": found.names,
            "versions": found.versions,
            "tags": found.tags,
            "contents": found.blobs,
            "bytes of contents": found.stored,
            "saved by equal content": found.shared,
            "unreferenced": found.unreferenced,
            "bytes of the file": found.file,
            "free inside": found.free,
            "bytes of the log": found.log,
        },
    )
    if found.kinds:
        results.print()
        print_rows(list(found.kinds[0]), [list(kind.values()) for kind in found.kinds])
    if found.pins:
        results.print()
        rows = [[pin.digest[:12], pin.who, str(pin.pid), pin.until] for pin in found.pins]
        print_rows(["pinned", "by", "process", "until"], rows)
