"""Adapters of a store in `vllm.LLM`, which asks no resolver."""

from __future__ import annotations

from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from nolakit.errors import ConfigError
from nolakit.vllm import hooks, plugin
from nolakit.vllm.resolver import Resolver
from nolakit.vllm.settings import STORE, settings_from

_numbers = count(1 << 20)  # far from those that a caller is likely to give
_requests: WeakKeyDictionary[Any, dict[tuple[str, str], Any]] = WeakKeyDictionary()
_resolvers: list[Resolver] = []


def lora_request(llm: Any, name: str) -> Any:
    """The request for an adapter, checked and loaded: `llm.generate(prompts, lora_request=lora_request(llm, name))`.

    Args:
        llm: a `vllm.LLM` with `enable_lora=True`, made with NOLAKIT_STORE in the environment.
        name: a reference in the store.

    Raises:
        ConfigError: no NOLAKIT_STORE. What `Resolver.answer` raises, and vLLM where it cannot load.
    """
    if not _resolvers:
        settings = settings_from()
        if settings is None:
            raise ConfigError(f"found no {STORE} in the environment; set it before vLLM starts")
        _resolvers.append(plugin.install(settings))
    resolver = _resolvers[0]
    answer = resolver.answer(llm.llm_engine.model_config.model, name)
    known = _requests.setdefault(llm, {})
    if (name, answer.digest) not in known:
        request = hooks.lora_request(resolver.name_of(name, answer), next(_numbers), answer.path)
        llm.llm_engine.add_lora(request)
        known[name, answer.digest] = request
    return known[name, answer.digest]
