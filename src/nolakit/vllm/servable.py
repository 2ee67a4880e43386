"""Which adapters vLLM can serve; asked before it sees one."""

from __future__ import annotations

from nolakit.adapter.contents import Adapter
from nolakit.errors import UnsupportedError
from nolakit.vllm.factors import factor_dims

WHOLE = ("classifier", "score")  # modules that vLLM takes whole
MUST_BE_EMPTY = ("layer_replication", "trainable_token_indices")


def check_servable(adapter: Adapter, max_rank: int | None) -> None:
    """Raises UnsupportedError for an adapter that vLLM cannot take, AdapterError for one that is inconsistent.

    Args:
        max_rank: the engine's `--max-lora-rank`; None leaves it to the worker.
    """
    adapter.check_computed()
    _check_method(adapter)
    _check_options(adapter)
    for module, (lora_a, lora_b) in factor_dims(adapter):
        if len(lora_a) != 2 or len(lora_b) != 2:
            raise UnsupportedError(
                f"found a convolution at {module.path!r} in {adapter.name!r}; vLLM takes linear layers"
            )
        if ".experts" in module.path:
            raise UnsupportedError(
                f"found the expert {module.path!r} in {adapter.name!r}; adapters of experts are served from PEFT "
                "folders (`nolakit export --to lora`)"
            )
        if max_rank is not None and lora_a[0] > max_rank:
            raise UnsupportedError(
                f"found rank {lora_a[0]} at {module.path!r} in {adapter.name!r}, and the engine takes {max_rank}; "
                "start vLLM with a larger --max-lora-rank"
            )


def _check_method(adapter: Adapter) -> None:
    method = adapter.layout.method
    if method.replaces_weights:
        raise UnsupportedError(
            f"found a {method.name!r} adapter in {adapter.name!r} that replaces the weights of its base, which LoRA "
            "only adds to; merge it (`nolakit merge`) and serve the merged model"
        )
    if method.dense:
        raise UnsupportedError(
            f"found a {method.name!r} adapter in {adapter.name!r}, whose update has full rank and no factors; merge "
            "it, or serve its best approximation (`nolakit export --to lora --approximate-rank R`)"
        )
    if method.needs_weights:
        raise UnsupportedError(
            f"found a {method.name!r} adapter in {adapter.name!r}, which is computed from the weights of its base, "
            "that a worker does not have as they were; train with store_frozen=True, or export it (`nolakit export "
            "--to lora`)"
        )


def _check_options(adapter: Adapter) -> None:
    config = adapter.config
    for name in MUST_BE_EMPTY:
        if config.get(name):
            raise UnsupportedError(
                f"found {name} in {adapter.name!r}, which vLLM does not take; merge the adapter"
            )
    if config.get("bias", "none") != "none":
        raise UnsupportedError(
            f"found bias={repr(config['bias'])[:40]} in {adapter.name!r}; vLLM takes bias='none' only. Merge it"
        )
    whole = config.get("modules_to_save") or []
    others = {key.split(".")[-2] if "." in key else key for key in adapter.other_tensors()}
    refused = sorted((set(map(str, whole)) | others) - set(WHOLE))
    if refused:
        raise UnsupportedError(
            f"found {', '.join(refused)[:200]} trained whole in {adapter.name!r}; vLLM takes modules_to_save of "
            f"{' and '.join(WHOLE)} only. Merge the adapter"
        )
