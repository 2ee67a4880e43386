"""Configuration of computed-factor adapters: PEFT's LoraConfig, less the options that cannot hold.

Each method has a class of its own, made from the method's own options: `NolaConfig` of `nolakit.methods.nola.Nola`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_type_hints

from peft import LoraConfig

from nolakit import methods
from nolakit.adapter.quantise import LARGEST
from nolakit.errors import ConfigError, UnsupportedError
from nolakit.methods.base import Method
from nolakit.methods.options import check_positive_integer
from nolakit.tuner.layer_pattern import LayerPattern
from nolakit.tuner.peft_type import peft_type_member

# LoRA's options that mean the same where the factors are computed. Any other, those that a later PEFT
# adds included, must keep its default.
KEPT_OPTIONS = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout",
    "fan_in_fan_out", "bias", "use_rslora", "modules_to_save", "layers_to_transform", "layers_pattern",
    "rank_pattern", "alpha_pattern", "trainable_token_indices", "layer_replication", "ensure_weight_tying",
    "runtime_config",
}  # fmt: skip
REFUSED_OPTIONS = {
    "init_lora_weights": "the factors are computed; init_weights=False draws their coefficients at random",
    "use_dora": "DoRA's magnitude is a trained vector of the size of rank one",
    "lora_bias": "a bias on lora_B is not part of the method",
    "target_parameters": "only modules can be targeted",
    "megatron_config": "Megatron's parallel layers hold factors of their own",
    "megatron_core": "Megatron's parallel layers hold factors of their own",
}
ABSENT_UNLESS_SET = (
    "packed", "coefficient_basis", "module_names", "frozen_check", "budget", "budget_by", "budget_weights",
)  # fmt: skip


@dataclass
class ComputedLoraConfig(LoraConfig):
    """LoraConfig for methods whose lora_A and lora_B are computed from a few trained numbers.

    Args:
        lora_alpha: the update is scaled by lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora. None is the
            method's own default.
        coefficient_bits: 8, 4, 3 or 2 trains with coefficients rounded as `nolakit.pack` will round them, and
            gradients that pass straight through, so that packing with as many bits or more costs nothing.
        seed: regenerates the random parts: the method's own, and those of coefficient_basis and budget.
        coefficient_basis: so many trained numbers for each factor, in place of the method's own, which become
            linear combinations of frozen random vectors (`nolakit.methods.over`): NOLA over the method.
        budget: so many trained numbers in all, spread over the factors (`nolakit.methods.budget`): as NOLA's num_basis,
            as any other method's coefficient_basis.
        budget_by: what a factor's share follows: "size" (the default), "equal", or "gradient", with budget_weights.
        budget_weights: a weight for each module by canonical path, such as `nolakit.gradient_energy` gives; integers in
            the order of the paths once the adapter is attached.
        packed: written by `nolakit pack` where the file beside the configuration is a packed one.
        init_weights: True starts at the method's own start; False draws the coefficients at random from torch's
            global generator, so that a fresh adapter differs from its base.
        base_model_prefix: written when the adapter is attached: the name under which the base model holds
            its headless model ("model", "bert"; "" for none). Module paths are stored without it.
        module_shapes: written when the adapter is attached: the factors' shapes, so that a saved adapter
            expands without its base.
        module_names: written when the adapter is attached, where not every factor has numbers of its own: the
            adapted modules.
        base_fingerprint: written when the adapter is attached: what the base looked like. Checked when the
            adapter is loaded; None checks nothing.
        frozen_check: written when the adapter is attached, of parts that are computed from the base's weights:
            one number of each, checked when they are computed again; None checks nothing.

    Raises:
        UnsupportedError: a LoRA option that cannot hold, with the reason.
        ConfigError, BasisError: a value out of range.
    """

    coefficient_bits: int | None = field(
        default=None, metadata={"help": "Train with coefficients of so many bits"}
    )
    coefficient_basis: int | None = field(
        default=None, metadata={"help": "Trained numbers of a factor, over frozen random vectors"}
    )
    budget: int | None = field(default=None, metadata={"help": "Trained numbers in all"})
    budget_by: str | None = field(
        default=None, metadata={"help": "What a factor's share of budget follows: size, equal, gradient"}
    )
    budget_weights: dict | list | None = field(
        default=None, metadata={"help": "By gradient: each module's weight, by path; stored in their order"}
    )
    packed: bool = field(default=False, metadata={"help": "The file beside the configuration is packed"})
    init_weights: bool = field(default=True, metadata={"help": "False draws the coefficients at random"})
    base_model_prefix: str = field(
        default="", metadata={"help": "Prefix that module paths are stored without"}
    )
    module_shapes: dict | None = field(default=None, metadata={"help": "Shapes of the adapter's factors"})
    module_names: list | None = field(default=None, metadata={"help": "Names of the adapted modules"})
    base_fingerprint: dict | None = field(default=None, metadata={"help": "What the base model looked like"})
    frozen_check: list | None = field(
        default=None, metadata={"help": "Check of what the base's weights gave"}
    )

    seed: ClassVar[int]  # a field of each method's configuration
    method_name: ClassVar[str] = ""  # set by each method's configuration
    fingerprint_recorded = False  # no field; True on an object whose fingerprint is not from a file

    def __post_init__(self) -> None:
        if self.init_lora_weights is False:  # PEFT's name for the same wish
            self.init_weights, self.init_lora_weights = False, True
        for option in refused_options():
            if getattr(self, option.name) != default_of(option):
                reason = REFUSED_OPTIONS.get(option.name, "it changes how LoRA's own factors are trained")
                raise UnsupportedError(
                    f"found {option.name}={getattr(self, option.name)!r}, which cannot hold for "
                    f"{self.method_name!r}: {reason}; leave it at {default_of(option)!r} or use LoraConfig"
                )
        if self.coefficient_bits is not None and self.coefficient_bits not in LARGEST:
            raise ConfigError(
                f"found coefficient_bits={self.coefficient_bits!r}; expected one of {', '.join(map(str, LARGEST))}, "
                "or none"
            )
        for name, value in [
            ("r", self.r),
            *(("rank_pattern", rank) for rank in (self.rank_pattern or {}).values()),
        ]:
            check_positive_integer(name, value)
        if self.lora_alpha is None:
            self.lora_alpha = self.r
        super().__post_init__()
        self.rank_pattern = LayerPattern(self.rank_pattern or {})
        self.alpha_pattern = LayerPattern(self.alpha_pattern or {})
        self.peft_type = peft_type_member(self.method_name)
        if self.seed and self.coefficient_basis is None and self.budget is None and not self._is_random():
            raise ConfigError(
                f"found seed={self.seed!r} with {self.method_name!r}, which has nothing random without "
                "coefficient_basis or budget; leave it out"
            )
        self.method()

    def method(self) -> Method:
        """The parametrisation that this configuration describes."""
        return methods.from_config(self.method_name, vars(self))

    def _is_random(self) -> bool:
        """Whether the method has random parts of its own."""
        return any(name == "seed" for name, _ in methods.method_class(self.method_name).options())

    def to_dict(self) -> dict[str, Any]:
        """The configuration as `adapter_config.json` holds it: without the options that cannot hold."""
        values = super().to_dict()
        for option in refused_options():
            values.pop(option.name, None)
        absent = ABSENT_UNLESS_SET if self._is_random() else (*ABSENT_UNLESS_SET, "seed")
        for name in absent:
            if not values.get(name):
                values.pop(name, None)
        return {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}


def refused_options() -> list[dataclasses.Field]:
    """LoRA's options that must keep their defaults."""
    return [option for option in dataclasses.fields(LoraConfig) if option.name not in KEPT_OPTIONS]


def default_of(option: dataclasses.Field) -> Any:
    """The default of a dataclass field."""
    if option.default_factory is not dataclasses.MISSING:
        return option.default_factory()
    return option.default


def config_class(name: str) -> type[ComputedLoraConfig]:
    """The configuration class of the method called `name`: `ComputedLoraConfig` with the method's own options and
    defaults, called after the method's class. The same class each time.

    Raises:
        ConfigError: no method has that name.
    """
    method = methods.method_class(name)
    title = f"{method.__name__}Config"
    made = globals().get(title)
    if made is not None and made.method_name == name:
        return made
    hints = get_type_hints(method)
    own = [
        (option.name, hints[option.name], field(default=option.default, metadata=option.metadata))
        for option in dataclasses.fields(method)  # pyright: ignore[reportArgumentType] - a dataclass
    ]
    if not any(option == "seed" for option, *_ in own):
        own.append(("seed", int, field(default=0, metadata={"help": "Of coefficient_basis and budget"})))
    defaults = [
        ("r", int, field(default=method.r, metadata={"help": "Rank of the update"})),
        (
            "lora_alpha",
            int | None,
            field(default=method.lora_alpha, metadata={"help": "Scale of the update, times r; default r"}),
        ),
        ("use_rslora", bool, field(default=method.use_rslora, metadata={"help": "Scale by 1 / sqrt(r)"})),
    ]
    namespace = {
        "method_name": name,
        "__doc__": _documentation(method),
        "__module__": __name__,
        "__annotations__": {},
    }
    made = dataclasses.make_dataclass(
        title, [*own, *defaults], bases=(ComputedLoraConfig,), namespace=namespace
    )
    made.__module__ = __name__
    globals()[title] = made  # where pickle looks for it
    return made


def _documentation(method: type[Method]) -> str:
    alpha = "r" if method.lora_alpha is None else method.lora_alpha
    lines = [
        f"Configuration of {method.title}, for `peft.get_peft_model` and all that takes a PEFT configuration.",
        "",
        f"Update: {method.update}. Trained: {method.trained}. Source: {method.source}; `{method.__module__}`.",
        "",
        "Args:",
        *(f"    {one.name}: {one.metadata['help']}." for one in dataclasses.fields(method)),  # pyright: ignore[reportArgumentType]
        f"    r: rank of the update, {method.r} by default.",
        f"    lora_alpha: {alpha} by default; the update is scaled by lora_alpha / "
        f"{'sqrt(r)' if method.use_rslora else 'r'}.",
        "",
        f"The other options are `ComputedLoraConfig`'s. Learning rate: {method.learning_rate:g}"
        f" ({method.learning_rate_source}).",
    ]
    return "\n".join(lines)


def __getattr__(name: str) -> Any:
    """`NolaConfig` and the others, made when they are first asked for."""
    if name.endswith("Config") and not name.startswith("_"):
        for method in methods.names():
            if name == f"{methods.class_name(method)}Config":
                return config_class(method)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
