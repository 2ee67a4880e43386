"""What an adapter holds besides its method's numbers, put in its place in a merged model: heads, biases,
embeddings, token rows."""

from __future__ import annotations

from nolakit.adapter.contents import TensorInfo
from nolakit.errors import AdapterError, BaseMismatchError, UnsupportedError
from nolakit.export.merge_plan import EMBEDDINGS, HEADS, Plan, Weight, bare_name

TOKENS = ".token_adapter.trainable_tokens_delta"
CLASSIFIERS = ("classifier", "score")


def plan_stored(plan: Plan) -> None:
    """Put each tensor that was trained whole in the place of the base's, in the base's dtype.

    Raises:
        BaseMismatchError: a tensor of another shape than the base's.
        AdapterError: token rows that do not fit the configuration.
        UnsupportedError: embeddings that were trained apart from the head that they are tied to.
    """
    for key, info in plan.adapter.other_tensors().items():
        bare = bare_name(key)
        if bare.endswith(TOKENS):
            _plan_rows(plan, bare.removesuffix(TOKENS), key, info)
            continue
        name = plan.names.get(plan.canonical(bare))
        module = bare.rpartition(".")[0].rpartition(".")[2]
        if name is None:
            plan.weights[bare] = Weight(TensorInfo(plan.usual_dtype, info.shape), None, key)
        else:
            there = plan.base.tensors[name]
            if there.shape != info.shape and module not in CLASSIFIERS:
                raise BaseMismatchError(
                    f"found {key!r} of shape {info.shape}, where the base has {there.shape}; expected the base that "
                    "the adapter was trained on (--base)"
                )
            plan.weights[plan.written(name)] = Weight(TensorInfo(there.dtype, info.shape), name, key)
        if module in CLASSIFIERS and info.shape and bare.endswith(".weight"):
            plan.new_labels = info.shape[0]
        if plan.tied and not plan.adapter.config.get("ensure_weight_tying") and ".base_layer." not in key:
            _settle_tie(plan, bare, module)


def _settle_tie(plan: Plan, bare: str, module: str) -> None:
    """A head that was trained whole is no longer tied. Embeddings that were are refused: their head was not."""
    if module in HEADS:
        plan.untied = True
    elif module in EMBEDDINGS and bare.endswith(".weight"):
        raise UnsupportedError(
            f"found {bare!r}, trained whole in a base whose head is tied to it; a merged model would change both. "
            "Train with ensure_weight_tying=True"
        )


def _plan_rows(plan: Plan, module: str, key: str, info: TensorInfo) -> None:
    """Rows of an embedding that were trained, by their numbers in the configuration."""
    indices = plan.adapter.config.get("trainable_token_indices")
    if isinstance(indices, dict):
        indices = next((rows for part, rows in indices.items() if f".{module}".endswith(f".{part}")), None)
    name = plan.names.get(plan.canonical(module) + ".weight")
    if name is None:
        raise BaseMismatchError(
            f"found trained token rows {key!r}, where the base has no {module!r}; expected the base that the adapter "
            "was trained on (--base)"
        )
    rows, width = (*plan.base.tensors[name].shape, 0, 0)[:2]
    if (
        not isinstance(indices, list)
        or len(plan.base.tensors[name].shape) != 2
        or info.shape != (len(indices), width)
        or not all(type(row) is int and 0 <= row < rows for row in indices)
    ):
        raise AdapterError(
            f"found trained token rows {key!r} of shape {info.shape} for trainable_token_indices {repr(indices)[:200]} "
            f"of an embedding of {rows} x {width}; expected one row an index. Save the adapter again"
        )
    plan.weights[plan.written(name)].tokens = key, indices
