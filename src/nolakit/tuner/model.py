"""PEFT's LoraModel with computed factors.

PEFT builds its own LoRA layer for whatever it finds (a Linear, GPT-2's Conv1D, a quantised layer of any
kind), and then this model puts computed factors in the place of the two modules inside. All that PEFT does
with `lora_A` and `lora_B` afterwards reads their `weight`, so merging, mixed batches, hotswapping and the
rest are PEFT's own code. ARCHITECTURE.md says what else was tried.

`_create_and_replace` is private to PEFT; tried on 0.21.2.
"""

from __future__ import annotations

from typing import Any

from peft import LoraModel
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from nolakit.adapter.fingerprint import Dims, check_fingerprint, fingerprint, weight_of
from nolakit.adapter.paths import canonical_path
from nolakit.adapter.shapes import compact_shapes
from nolakit.errors import NolakitError, UnsupportedError
from nolakit.methods.site import ROLES, Factor, Role, Site
from nolakit.tuner.binding import bind
from nolakit.tuner.config import ComputedLoraConfig
from nolakit.tuner.factor import PACKED, LinearFactor, factor_like
from nolakit.tuner.layers import computed_layers
from nolakit.tuner.loading import unpacked_state
from nolakit.tuner.naming import (
    aligned_key,
    base_layer_paths,
    base_model_prefix,
    short_names,
    unwrapped_model,
)
from nolakit.tuner.presence import check_arrived, prepare_to_save
from nolakit.tuner.quiet_random import quiet_random
from nolakit.tuner.weighted import adds_up, check_combination, plain_lora_config, sum_config, write_sum
from nolakit.tuner.whole_network import (
    Replaced,
    check_stored,
    give_back,
    keep_normalisation,
    replace_by_zero,
)

# Layers that PEFT would give LoRA factors that this model cannot compute.
UNSUPPORTED_LAYERS = (nn.Embedding, nn.Conv1d, nn.Conv3d, nn.MultiheadAttention)


class ComputedLoraModel(LoraModel):
    """The tuner model behind every configuration of nolakit; made by `peft.get_peft_model`."""

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args, **kwargs) -> None:
        config = self.peft_config[adapter_name]
        if not isinstance(config, ComputedLoraConfig):
            return super().inject_adapter(model, adapter_name, *args, **kwargs)
        self._refuse_unsupported_layers(model, config)
        config.base_model_prefix = base_model_prefix(model)
        every_linear = config.target_modules == "all-linear"
        trained_before = [parameter for parameter in model.parameters() if parameter.requires_grad]
        whole = config.method().replaces_weights
        if whole:
            others = [other for name, other in self.peft_config.items() if name != adapter_name]
            keep_normalisation(model, config, others)
        with quiet_random():
            super().inject_adapter(model, adapter_name, *args, **kwargs)
        keys, layers = self._adapted_layers(adapter_name)
        factors: dict[str, dict[Role, Any]] = {
            path: {role: getattr(layer, role)[adapter_name] for role in ROLES}
            for path, layer in layers.items()
        }
        dims = {path: {role: roles[role].shape.dims for role in ROLES} for path, roles in factors.items()}
        bases = {path: layer.get_base_layer() for path, layer in layers.items()}
        replaced: Replaced = []
        try:
            if whole:
                check_stored(model, config, bases.values())
                replaced = replace_by_zero(bases)
            record_base(config, dims, bases)
            bind(config, factors, keys, bases)
        except NolakitError:
            give_back(replaced)
            self._take_back(adapter_name, trained_before)
            raise
        config.module_shapes = compact_shapes(dims)
        if every_linear:
            paths = base_layer_paths(model, config.base_model_prefix)
            config.target_modules = short_names(set(layers), paths)  # pyright: ignore[reportAttributeAccessIssue] - PEFT keeps a set here
        if not config.init_weights:
            for factor in (roles[role] for roles in factors.values() for role in ROLES):
                factor.randomize()

    def _take_back(self, adapter_name: str, trained_before: list[nn.Parameter]) -> None:
        """Leave the model as it was before an adapter that does not fit it."""
        if len(self.peft_config) > 1:
            self.delete_adapter(adapter_name)
        else:
            self.unload()
        for parameter in trained_before:
            parameter.requires_grad_(True)

    def _create_and_replace(
        self, lora_config, adapter_name, target, target_name, parent, current_key, **kwargs
    ):
        super()._create_and_replace(
            lora_config, adapter_name, target, target_name, parent, current_key=current_key, **kwargs
        )
        if isinstance(lora_config, ComputedLoraConfig):
            layer = parent.get_submodule(target_name)
            path = canonical_path(current_key, lora_config.base_model_prefix)
            compute_factors(layer, adapter_name, lora_config, path)

    def add_weighted_adapter(
        self,
        adapters,
        weights,
        adapter_name,
        combination_type: Any = "svd",
        svd_rank: int | None = None,
        *args,
        **kwargs,
    ) -> None:
        """A weighted combination of adapters. The arguments are `peft.LoraModel.add_weighted_adapter`'s.

        With `combination_type="linear"`, adapters of one linear method with one configuration and seed give an adapter
        of that method, whose update is exactly the sum of theirs. Any other combination of computed factors has no
        coefficients of its own, so the new adapter is plain LoRA on the expanded factors: `cat` and `svd` of full rank
        are exact, and it is saved as LoRA is. Of a dense method, which has no factors, only the ways by singular
        values are left, to a rank that is asked for.

        Raises:
            UnsupportedError, ConfigError: a combination that a dense method does not have.
        """
        known = {name: self.peft_config[name] for name in adapters if name in self.peft_config}
        computed = {name: one for name, one in known.items() if isinstance(one, ComputedLoraConfig)}
        if not computed or adapter_name in self.peft_config:
            return super().add_weighted_adapter(
                adapters, weights, adapter_name, combination_type, svd_rank, *args, **kwargs
            )
        if combination_type == "linear" and adapters[0] in computed:
            layers = self._adapted_layers(adapters[0])[1].values()
            if adds_up([self.peft_config.get(name) for name in adapters], layers, adapters):
                self.peft_config[adapter_name] = sum_config(computed[adapters[0]])
                self.inject_adapter(self.model, adapter_name)
                return write_sum(layers, adapters, weights, adapter_name)
        dense = [name for name, one in computed.items() if one.method().dense]
        if dense:
            check_combination(dense[0], computed[dense[0]].method_name, combination_type, svd_rank)
            if len(args) < 2:
                kwargs.setdefault(
                    "svd_full_matrices", False
                )  # PEFT's own fails on modules smaller than svd_rank
        for name, one in computed.items():  # PEFT derives the new adapter's from them
            factors: list[Any] = [layer.lora_A[name] for layer in self._adapted_layers(name)[1].values()]
            self.peft_config[name] = plain_lora_config(one, max(factor.out_features for factor in factors))
        try:
            return super().add_weighted_adapter(
                adapters, weights, adapter_name, combination_type, svd_rank, *args, **kwargs
            )
        finally:
            self.peft_config.update(computed)

    def _adapted_layers(self, adapter_name: str) -> tuple[dict[str, str], dict[str, LoraLayer]]:
        """The LoRA layers that hold computed factors of an adapter, and their paths here, by canonical path.

        Raises:
            UnsupportedError: two modules have one canonical path, and would share their random numbers.
        """
        keys: dict[str, str] = {}
        layers: dict[str, LoraLayer] = {}
        for key, layer, factors in computed_layers(self.model, adapter_name):
            path = factors["lora_A"].shape.path
            if path in layers:
                raise UnsupportedError(
                    f"found a second module with the canonical path {path!r}, at {key!r}; "
                    "rename one of the two"
                )
            layers[path], keys[path] = layer, key
        return keys, layers

    @classmethod
    def _remap_adapter_state_dict_for_load(cls, model, config, adapter_name, state_dict):
        """As PEFT does, after unpacking a packed file and spelling its keys as this model does: a file made over
        a model with a head loads over one without, one made over a plain model over one with compiled layers."""
        if isinstance(config, ComputedLoraConfig):
            base = getattr(model, "get_base_model", lambda: model)()
            prefix = getattr(unwrapped_model(base), "base_model_prefix", "")
            layers = {
                canonical_path(name, prefix): name
                for name, module in base.named_modules()
                if isinstance(module, LoraLayer)
            }
            state_dict = unpacked_state(state_dict, config, model, adapter_name)
            config.packed = False
            state_dict = {aligned_key(key, layers, prefix): value for key, value in state_dict.items()}
            check_arrived(base, adapter_name, state_dict)
        return super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)

    @classmethod
    def _get_adapter_state_dict(cls, model, config, adapter_name, state_dict, unwanted_adapter_names):
        if isinstance(config, ComputedLoraConfig):
            prepare_to_save(model, adapter_name, config)
        return super()._get_adapter_state_dict(
            model, config, adapter_name, state_dict, unwanted_adapter_names
        )

    def _refuse_unsupported_layers(self, model: nn.Module, config: ComputedLoraConfig) -> None:
        """Before anything is changed, so that a refused model stays as it was."""
        if config.target_modules in (None, "all-linear"):
            return
        for key, module in model.named_modules():
            base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
            if _unsupported(base) and self._check_target_module_exists(config, key):
                raise UnsupportedError(
                    f"found a target module {key!r} of type {type(base).__name__}; {config.method_name!r} "
                    "adapts Linear, Conv1D of GPT-2, zero-padded Conv2d and quantised Linear layers; "
                    "name other target_modules, or put it in modules_to_save or trainable_token_indices"
                )


def _unsupported(layer: nn.Module) -> bool:
    """PEFT would pad lora_A's input with zeros, whatever the base layer does."""
    return isinstance(layer, UNSUPPORTED_LAYERS) or getattr(layer, "padding_mode", "zeros") != "zeros"


def record_base(config: ComputedLoraConfig, dims: Dims, layers: dict[str, nn.Module]) -> None:
    """Write the base's fingerprint into the configuration, or check the one it was loaded with.

    Raises:
        BaseMismatchError: the adapter was made for another base.
    """
    if config.fingerprint_recorded:
        config.frozen_check = None  # of the base that this object was used on before
    if config.base_fingerprint is not None and not config.fingerprint_recorded:
        check_fingerprint(config.base_fingerprint, dims, lambda path: weight_of(layers.get(path)))
    else:
        config.base_fingerprint = fingerprint(dims, layers)
        config.fingerprint_recorded = True  # this very object may be used again, on another base


def compute_factors(layer: LoraLayer, adapter_name: str, config: ComputedLoraConfig, path: str) -> None:
    """Put computed factors in the place of the two modules of one adapter in a LoRA layer.

    Raises:
        UnsupportedError: a layer whose LoRA factors are not two Linear or Conv2d modules.
    """
    method = config.method()
    originals: dict[Role, nn.Linear | nn.Conv2d] = {}
    for role in ROLES:
        factors = getattr(layer, role, {})
        original = factors[adapter_name] if adapter_name in factors else None  # noqa: SIM401 - ModuleDict
        if isinstance(original, LinearFactor):
            continue
        if not isinstance(original, nn.Linear | nn.Conv2d):
            raise UnsupportedError(
                f"found a {type(layer).__module__}.{type(layer).__name__} at {path!r}, whose LoRA factors "
                "are not Linear or Conv2d modules; name other target_modules"
            )
        if getattr(layer.get_base_layer(), "_hf_tp_plan", None) is not None:
            raise UnsupportedError(
                f"found a tensor-parallel layer at {path!r}; load the base without tp_plan"
            )
        originals[role] = original
    if not originals:
        return
    site = Site(path, *(tuple(originals[role].weight.shape) for role in ROLES))
    for role, original in originals.items():
        made = factor_like(original, method, Factor(role, site), layer.get_base_layer())
        made.bits, made.awaited = config.coefficient_bits, PACKED if config.packed else None
        getattr(layer, role)[adapter_name] = made
