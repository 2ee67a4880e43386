"""Which tensors a merged model has, and what each is made of. Only headers are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod

from nolakit.adapter.contents import Adapter, ModuleInfo, TensorInfo
from nolakit.adapter.paths import canonical_path
from nolakit.errors import BaseMismatchError, StreamingError, UnsupportedError
from nolakit.export.base_files import BaseFiles
from nolakit.export.scaling import scaling_of

FLOATS = ("F64", "F32", "F16", "BF16")
EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "shared")
HEADS = ("lm_head", "embed_out", "output")


@dataclass(frozen=True)
class Update:
    """`scaling * lora_B lora_A` of one module, whose weight GPT-2's Conv1D stores transposed."""

    module: ModuleInfo
    scaling: float
    transposed: bool


@dataclass
class Weight:
    """One tensor of the merged model: a tensor of the base, or one that was trained whole, and what changes it."""

    info: TensorInfo
    base: str | None
    stored: str | None = None
    tokens: tuple[str, list[int]] | None = None
    update: Update | None = None

    def dtype(self, wanted: str | None) -> str:
        """The dtype to write, as safetensors names it."""
        return wanted if wanted and self.info.dtype in FLOATS else self.info.dtype


@dataclass
class Plan:
    """The tensors of a merged model by name, and whether its head is no longer tied to its embeddings.

    Attributes:
        prefix: what the base's names begin with where it has a head.
        names: the name in the base's files of each canonical path.
        headed: a headless base gets a head, so that its own names get the prefix.
        new_labels: rows of a new classification head.
    """

    adapter: Adapter
    base: BaseFiles
    prefix: str
    names: dict[str, str]
    headed: bool
    weights: dict[str, Weight] = field(default_factory=dict)
    untied: bool = False
    new_labels: int | None = None

    def canonical(self, path: str) -> str:
        return canonical_path(path, self.prefix)

    def written(self, name: str) -> str:
        """A base's tensor's name in the merged model."""
        return f"{self.prefix}.{name}" if self.headed else name

    @property
    def usual_dtype(self) -> str:
        """The dtype that most of the base's tensors have."""
        found = Counter(info.dtype for info in self.base.tensors.values() if info.dtype in FLOATS)
        return found.most_common(1)[0][0] if found else "F32"

    @property
    def tied(self) -> bool:
        """Whether the base's head is tied to its embeddings."""
        return bool(self.base.config.get("tie_word_embeddings"))


def new_plan(adapter: Adapter, base: BaseFiles) -> Plan:
    """The base's tensors as they are, under names that the adapter's modules can be found by.

    Raises:
        StreamingError: replicated layers, replaced weights, or two tensors of one canonical path.
    """
    if adapter.config.get("layer_replication"):
        raise StreamingError(
            "found layer_replication, which makes another model of the base; `nolakit merge` loads it"
        )
    if adapter.layout.method.replaces_weights:
        raise StreamingError("found an adapter that replaces its base's weights; `nolakit merge` loads it")
    prefix = adapter.config.get("base_model_prefix") or _prefix_of(adapter, base)
    names = {canonical_path(name, prefix): name for name in base.tensors}
    if len(names) != len(base.tensors):
        raise StreamingError(
            f"found two tensors of one canonical path in {str(base.folder)!r}; save the base again"
        )
    headless = not any(name.startswith(prefix + ".") for name in base.tensors)
    head = any(not bare_name(key).startswith(prefix + ".") for key in adapter.other_tensors())
    plan = Plan(adapter, base, prefix, names, headed=bool(prefix and headless and head))
    plan.weights = {plan.written(name): Weight(info, name) for name, info in base.tensors.items()}
    return plan


def bare_name(key: str) -> str:
    """The name that a tensor of an adapter file has in the base."""
    return canonical_path(key, "").replace(".base_layer.", ".")


def plan_updates(plan: Plan) -> None:
    """Add the update of each adapted module.

    Raises:
        BaseMismatchError: a weight that is not of the update's shape.
        UnsupportedError: a weight that is not a floating-point number.
        StreamingError: a module that the base's files do not hold under the name that it has in the model, a
            grouped convolution, or a square weight that may be stored either way.
    """
    fan_in_fan_out = bool(plan.adapter.config.get("fan_in_fan_out"))
    square, told = [], set()
    for module in plan.adapter.modules():
        weight = _weight_of(plan, module)
        inputs, outputs = module.dims["lora_A"][1:], module.dims["lora_B"][0]
        plain = weight.info.shape == (outputs, *inputs)
        transposed = len(inputs) == 1 and weight.info.shape == (*inputs, outputs)
        rank = module.dims["lora_A"][0]
        grouped = rank != module.dims["lora_B"][1] or (not plain and weight.info.shape[:1] == (outputs,))
        if len(inputs) > 1 and grouped:
            raise StreamingError(
                f"found a grouped convolution at {module.path!r}, which LoRA cannot be merged into"
            )
        if not plain and not transposed:
            raise BaseMismatchError(
                f"found a weight of shape {weight.info.shape} at {module.path!r}, where the adapter updates one of "
                f"{(outputs, *inputs)}; expected the base that it was trained on (--base)"
            )
        if weight.info.dtype not in FLOATS:
            raise UnsupportedError(
                f"found the weight of {module.path!r} in {weight.info.dtype}; an update needs one of "
                f"{', '.join(FLOATS)}. Give the base as it was before quantisation (--base)"
            )
        if plain and transposed:
            square.append(module.path)
            transposed = fan_in_fan_out
        else:
            told.add(transposed)
        weight.update = Update(module, scaling_of(plan.adapter.config, module), transposed)
    if square and told - {fan_in_fan_out}:
        raise StreamingError(f"found Linear and transposed layers, and {square[0]!r}, which may be either")


def _weight_of(plan: Plan, module: ModuleInfo) -> Weight:
    """The weight of a module. An adapted head that is only stored as the embeddings gets a weight of its own."""
    name = plan.names.get(module.canonical + ".weight")
    weight = plan.weights.get(module.path + ".weight" if name is None else plan.written(name))
    if name is not None and weight is not None:
        return weight
    plan.untied = plan.tied
    if weight is None:
        shape = (module.dims["lora_B"][0], prod(module.dims["lora_A"][1:]))
        sources = [
            name
            for path, name in plan.names.items()
            if path.split(".")[-2:-1] and path.split(".")[-2] in EMBEDDINGS
            and plan.base.tensors[name].shape == shape
        ]  # fmt: skip
        if not plan.tied or module.canonical not in HEADS or len(sources) != 1:
            raise StreamingError(
                f"found no {module.path + '.weight'!r} in the files of {str(plan.base.folder)!r}; expected the base "
                "that the adapter was trained on, with the names that its model has (--base). `nolakit merge` loads "
                "models whose files name their weights otherwise"
            )
        weight = Weight(plan.base.tensors[sources[0]], sources[0])
        plan.weights[module.path + ".weight"] = weight
    return weight


def _prefix_of(adapter: Adapter, base: BaseFiles) -> str:
    """The prefix of a base with a head under an adapter that was made over one without."""
    paths = [module.path + ".weight" for module in adapter.modules()]
    if not paths or paths[0] in base.tensors:
        return ""
    found = {name.partition(".")[0] for name in base.tensors if name.partition(".")[2] == paths[0]}
    return next((one for one in found if all(f"{one}.{path}" in base.tensors for path in paths)), "")
