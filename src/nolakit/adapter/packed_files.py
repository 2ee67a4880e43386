"""Packed adapters on disk, and folders from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from nolakit.adapter.contents import Adapter
from nolakit.adapter.files import CONFIG_NAME, RECORD_NAME, WEIGHTS_NAME, open_adapter
from nolakit.adapter.packing import pack
from nolakit.adapter.writing import check_free, new_file, new_folder

PACKED_SUFFIX = ".safetensors"


def write_packed(
    adapter: str | Path | Adapter, output: str | Path, *, bits: int = 32, overwrite: bool = False
) -> Path:
    """Pack an adapter into a file, or into a folder that stock PEFT loads once nolakit is imported.

    Args:
        adapter, bits: as `pack`.
        output: a file where it ends in `.safetensors`; else a folder with the packed file as
            `adapter_model.safetensors`, and `adapter_config.json`. Appears whole or not at all.
        overwrite: replace what is there.

    Raises:
        OutputExistsError: `output` is there and `overwrite` is not set. Others as `pack`.
    """
    source = adapter if isinstance(adapter, Adapter) else open_adapter(adapter)
    data = pack(source, bits)
    if Path(output).suffix == PACKED_SUFFIX:
        with new_file(output, overwrite=overwrite) as fresh:
            fresh.write_bytes(data)
        return Path(output)
    with new_folder(output, overwrite=overwrite) as fresh:
        (fresh / WEIGHTS_NAME).write_bytes(data)
        _write_description(source, fresh, packed=True)
    return Path(output)


def check_output(output: str | Path, *, overwrite: bool) -> None:
    """Raises OutputExistsError where `write_packed` would, before any work is done."""
    is_file = Path(output).suffix == PACKED_SUFFIX and Path(output).is_file()
    if not (is_file and overwrite):
        check_free(output, overwrite=overwrite)


def unpack(packed: str | Path | Adapter, folder: str | Path, *, overwrite: bool = False) -> Path:
    """An adapter folder from a packed file: the very tensors where it has 32 bits, else the numbers that its
    coefficients stand for, in float32.

    Raises:
        AdapterError: a file that cannot be read. OutputExistsError: `folder` is there and `overwrite` is not set.
    """
    source = packed if isinstance(packed, Adapter) else open_adapter(packed)
    if source.computed:
        source.checked_modules()
    tensors = source.load()
    with new_folder(folder, overwrite=overwrite) as fresh:
        save_file(tensors, fresh / WEIGHTS_NAME, metadata={"format": "pt"})
        _write_description(source, fresh)
    return Path(folder)


def write_record(adapter: str | Path | Adapter, folder: Path) -> None:
    """Write the record of an adapter's training into a folder, if it has one."""
    source = adapter if isinstance(adapter, Adapter) else open_adapter(adapter)
    if source.record is not None:
        write_object(folder / RECORD_NAME, source.record)


def _write_description(source: Adapter, folder: Path, **more: Any) -> None:
    write_object(folder / CONFIG_NAME, {**source.config, **more})
    write_record(source, folder)


def write_object(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file as PEFT and `nolakit train` do."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
