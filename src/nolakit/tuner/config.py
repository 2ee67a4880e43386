"""Configuration of computed-factor adapters: PEFT's LoraConfig, less the options that cannot hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

from peft import LoraConfig

from nolakit.adapter.quantise import LARGEST
from nolakit.errors import ConfigError, UnsupportedError
from nolakit.methods import method_class
from nolakit.methods.base import ROLES, Method, check_positive_integer
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


@dataclass
class ComputedLoraConfig(LoraConfig):
    """LoraConfig for methods whose lora_A and lora_B are computed from a few trained numbers.

    Args:
        coefficient_bits: 8, 4, 3 or 2 trains with coefficients rounded as `nolakit.pack` will round them, and
            gradients that pass straight through, so that packing with as many bits or more costs nothing.
        packed: written by `nolakit pack` where the file beside the configuration is a packed one.
        init_weights: True starts at the method's own start (an update of exactly zero); False draws the
            coefficients at random from torch's global generator, so that a fresh adapter differs from its
            base.
        base_model_prefix: written when the adapter is attached: the name under which the base model holds
            its headless model ("model", "bert"; "" for none). Module paths are stored without it.
        module_shapes: written when the adapter is attached: the factors' shapes, so that a saved adapter
            expands without its base.
        base_fingerprint: written when the adapter is attached: what the base looked like. Checked when the
            adapter is loaded; None checks nothing.

    Raises:
        UnsupportedError: a LoRA option that cannot hold, with the reason.
        ConfigError, BasisError: a value out of range.
    """

    coefficient_bits: int | None = field(
        default=None, metadata={"help": "Train with coefficients of so many bits"}
    )
    packed: bool = field(default=False, metadata={"help": "The file beside the configuration is packed"})
    init_weights: bool = field(default=True, metadata={"help": "False draws the coefficients at random"})
    base_model_prefix: str = field(
        default="", metadata={"help": "Prefix that module paths are stored without"}
    )
    module_shapes: dict | None = field(default=None, metadata={"help": "Shapes of the adapter's factors"})
    base_fingerprint: dict | None = field(default=None, metadata={"help": "What the base model looked like"})

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
        super().__post_init__()
        self.rank_pattern = LayerPattern(self.rank_pattern or {})
        self.alpha_pattern = LayerPattern(self.alpha_pattern or {})
        self.peft_type = peft_type_member(self.method_name)
        self.method()

    def method(self) -> Method:
        """The parametrisation that this configuration describes."""
        return method_class(self.method_name).from_config(dataclasses.asdict(self))

    def to_dict(self) -> dict[str, Any]:
        """The configuration as `adapter_config.json` holds it: without the options that cannot hold."""
        values = super().to_dict()
        for option in refused_options():
            values.pop(option.name, None)
        if not self.packed:
            values.pop("packed", None)
        return {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}

    def trained_per_module(self) -> int:
        """Trained numbers that one targeted module adds."""
        method = self.method()
        return sum(method.count(role) for role in ROLES)


def refused_options() -> list[dataclasses.Field]:
    """LoRA's options that must keep their defaults."""
    return [option for option in dataclasses.fields(LoraConfig) if option.name not in KEPT_OPTIONS]


def default_of(option: dataclasses.Field) -> Any:
    """The default of a dataclass field."""
    if option.default_factory is not dataclasses.MISSING:
        return option.default_factory()
    return option.default


@dataclass
class NolaConfig(ComputedLoraConfig):
    """Configuration of NOLA, for `peft.get_peft_model` and all that takes a PEFT configuration.

        lora_A = A0 + 1/sqrt(k) sum_i alpha_i A_i,   lora_B = 1/sqrt(l) sum_j beta_j B_j
        W' = W + lora_alpha / r * lora_B lora_A

    Trained: k + l numbers for each targeted module. Source: arXiv 2310.02556; `nolakit.methods.nola`.

    Args:
        r: rank of the update. It costs no trained numbers.
        num_basis: k and l, the number of frozen random matrices for each factor.
        num_basis_a, num_basis_b: k and l apart; None takes num_basis.
        lora_alpha: the update is scaled by lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora.
        seed: regenerates the frozen matrices, in [0, 2**64). The same seed gives the same on any machine.
        share_basis: True takes one basis for all modules, so that a kernel can make it once for many;
            False gives each module its own.

    The other options are LoraConfig's. Published settings: LLaMA-2 r=16, lora_alpha=4, lr 1e-3, num_basis
    128 / 256 / 512 for 7B / 13B / 70B; GPT-2 M r=8, lora_alpha=8, num_basis=512, lr 5e-3.

    Example:
        >>> NolaConfig(r=16, num_basis=512, lora_alpha=4, target_modules="all-linear", seed=0)
    """

    r: int = field(default=16, metadata={"help": "Rank of the update"})
    lora_alpha: int = field(default=16, metadata={"help": "The update is scaled by lora_alpha / r"})
    num_basis: int = field(default=512, metadata={"help": "Frozen random matrices for each factor"})
    num_basis_a: int | None = field(default=None, metadata={"help": "num_basis for lora_A alone"})
    num_basis_b: int | None = field(default=None, metadata={"help": "num_basis for lora_B alone"})
    seed: int = field(default=0, metadata={"help": "Regenerates the frozen matrices"})
    share_basis: bool = field(default=True, metadata={"help": "One basis for all modules"})

    method_name: ClassVar[str] = "nola"


CONFIGS: tuple[type[ComputedLoraConfig], ...] = (NolaConfig,)
