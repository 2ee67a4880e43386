"""What the environment says: the same in every process of the engine, which inherits it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STORE, BASE, FOLDER = "NOLAKIT_STORE", "NOLAKIT_VLLM_BASE", "NOLAKIT_VLLM_FOLDER"
UPDATING = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"  # vLLM asks no resolver without it


@dataclass(frozen=True)
class Settings:
    """Of the plugin.

    store: the file of the adapters, absolute.
    base: where the base's files are, if not where `--model` says: a folder or a hub id.
    folder: expand to PEFT folders in this one, instead of in memory.
    updating: whether vLLM will ask the resolver.
    """

    store: Path
    base: str | None
    folder: Path | None
    updating: bool


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings | None:
    """The settings; None where no store is named, and then the plugin does nothing."""
    store = environment.get(STORE, "").strip()
    if not store:
        return None
    folder = environment.get(FOLDER, "").strip()
    return Settings(
        store=Path(store).expanduser().absolute(),
        base=environment.get(BASE, "").strip() or None,
        folder=Path(folder).expanduser().absolute() if folder else None,
        updating=environment.get(UPDATING, "0").strip().lower() in ("1", "true"),
    )
