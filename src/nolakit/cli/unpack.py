"""`nolakit unpack`: an adapter folder from a packed file."""

from __future__ import annotations

from nolakit.cli.options import Adapter, AsJson, Output, Overwrite
from nolakit.cli.output import print_facts, print_json

EXAMPLE = "Example: nolakit unpack reviews.safetensors -o reviews-adapter"


def command(adapter: Adapter, output: Output, overwrite: Overwrite = False, as_json: AsJson = False) -> None:
    """Write a packed adapter as a folder that every program with PEFT and nolakit opens."""
    from nolakit.adapter.files import open_adapter
    from nolakit.adapter.packed_files import unpack

    unpack(adapter, output, overwrite=overwrite)
    size = open_adapter(output).file_bytes[0]
    if as_json:
        print_json({"output": str(output), "bytes": size})
    else:
        print_facts(f"unpacked: {output}", {"bytes of weights": size})
