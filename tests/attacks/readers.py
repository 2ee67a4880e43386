"""Whatever takes an adapter, a checkpoint or a base from somebody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nolakit
from nolakit.export.gguf import export_gguf
from nolakit.export.merged import export_merged

Read = Callable[[Path, Path], Any]  # of an input, to an output


def readers(base: Path) -> dict[str, Read]:
    """Readers of adapters, over a base folder where one is needed."""

    def bytes_read(path: Path, out: Path) -> None:
        if path.is_file():
            nolakit.expand(nolakit.read_packed(path.read_bytes(), str(path)))
        else:
            nolakit.open_adapter(path)

    return {
        "open": lambda path, out: nolakit.open_adapter(path),
        "inspect": lambda path, out: nolakit.inspect(path).to_dict(),
        "expand": lambda path, out: nolakit.expand(path),
        "read": bytes_read,
        "pack": lambda path, out: nolakit.pack(path, 8),
        "write packed": lambda path, out: nolakit.write_packed(path, out, bits=4),
        "unpack": lambda path, out: nolakit.unpack(path, out),
        "lora": lambda path, out: nolakit.export_lora(path, out),
        "merged": lambda path, out: export_merged(path, out, base=base),
        "gguf": lambda path, out: export_gguf(path, out, base=base),
        "load": lambda path, out: nolakit.load(None, path),
    }


COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": (),
    "unpack": ("-o",),
    "pack": ("--bits", "8", "-o"),
    "export": ("--to", "lora", "-o"),
    "merge": ("--base", "{base}", "-o"),
}
# Of `merge` the record of training.json is asked for first, so it says other things; the rest say the reader's words.


def command(name: str, path: Path, base: Path, out: Path) -> tuple[object, ...]:
    """The arguments of a command that reads an adapter and writes to `out`."""
    options = [option.format(base=base) for option in COMMANDS[name]]
    return name, path, *options, *((out,) if options else ())
