"""What vLLM calls in each of its processes at their start (entry point `vllm.general_plugins`)."""

from __future__ import annotations

import logging
import multiprocessing
from typing import TYPE_CHECKING

from nolakit.errors import StoreNotFoundError, UnsupportedError
from nolakit.vllm.settings import STORE, UPDATING, Settings, settings_from

if TYPE_CHECKING:
    from nolakit.vllm.resolver import Resolver

log = logging.getLogger("vllm.nolakit")


def register() -> None:
    """Have vLLM serve the adapters of the store that NOLAKIT_STORE names; without it, do nothing. May be called twice.

    Raises:
        StoreNotFoundError: no store there. UnsupportedError: a vLLM that resolves adapters otherwise.
    """
    settings = settings_from()
    if settings is not None:
        install(settings)


def install(settings: Settings) -> Resolver:
    """As `register`, with given settings. Returns what answers vLLM's questions in this process."""
    from nolakit.vllm import hooks  # needs torch and the store, which a vLLM without NOLAKIT_STORE is spared
    from nolakit.vllm.folders import Folders
    from nolakit.vllm.resolver import Resolver

    if moved := hooks.check(hooks.RESOLVING):
        raise UnsupportedError(
            f"found a vLLM that resolves adapters otherwise: {'; '.join(moved)}. Update nolakit, or unset {STORE} and "
            "serve what `nolakit export --to lora` writes"
        )
    moved = hooks.check(hooks.LOADING)
    if not moved:
        hooks.wrap_loading()
    hooks.watch_rank()
    if multiprocessing.parent_process() is None:
        _tell(settings, moved)
    resolver = Resolver(
        settings.store,
        base=settings.base,
        max_rank=hooks.max_lora_rank,
        folders=Folders(settings.folder) if moved or settings.folder is not None else None,
    )
    hooks.register_resolver(resolver.request)
    return resolver


def _tell(settings: Settings, moved: list[str]) -> None:
    if not settings.store.is_file():
        raise StoreNotFoundError(f"found no store at {str(settings.store)!r}, which {STORE} names")
    if moved:
        log.warning(
            "this vLLM loads adapters otherwise than nolakit knows (%s); adapters are expanded to PEFT folders in "
            "memory-backed storage, which only workers of this machine can read. Update nolakit",
            "; ".join(moved),
        )
    if not settings.updating:
        log.warning("%s is not set, so the server will take no adapter of %r", UPDATING, str(settings.store))
    log.info("serving the adapters of %r", str(settings.store))
