"""From a method's name and options to its PEFT configuration, through PEFT's own mapping."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils.constants import DUMMY_TARGET_MODULES

from nolakit import methods
from nolakit.errors import ConfigError, NolakitError, UnsupportedError
from nolakit.tasks.nearest import nearest
from nolakit.tasks.option_values import parse_value

BASELINES = ("head", "full")  # not PEFT methods, and not adapters: see `train`
TASK_TYPES = {"causal-lm": "CAUSAL_LM", "text-classification": "SEQ_CLS", "image-classification": None}
UNSUPPORTED = {
    "adalora": "its ranks are reallocated by calls that transformers' Trainer does not make",
    "xlora": "it mixes adapters that are trained already",
    "poly": "it needs a task number with each row",
    "multitask_prompt_tuning": "it needs a task number with each row",
    "cpt": "its context tokens are given with labels of their own",
    "cartridge": "it is distilled from a long context, not trained on rows",
}
# Methods whose targets are not "every Linear": PEFT's own default for the architecture stands.
OWN_TARGETS = frozenset({"ia3", "ln_tuning", "trainable_tokens", "adaption_prompt", "shadow", "beft"})
STARTS = {
    "prompt_tuning": {"num_virtual_tokens": 20},
    "p_tuning": {"num_virtual_tokens": 20},
    "prefix_tuning": {"num_virtual_tokens": 20},
}
ALIASES = {
    "seed": ("projection_prng_key", "random_loc_seed", "proj_seed", "projection_seed", "random_seed"),
    "lora_alpha": ("alpha",),
}
SHORTHANDS = ("all-linear", DUMMY_TARGET_MODULES)
RESERVED = frozenset(
    {"peft_type", "task_type", "auto_mapping", "inference_mode", "peft_version", "runtime_config"}
)


def method_names() -> list[str]:
    """Every method that `train` takes: nolakit's own, the baselines, then PEFT's. One of PEFT's that has the name of
    one of nolakit's is called by `peft:` and its name."""
    ours = methods.names()
    theirs = [t.value.lower() for t in PEFT_TYPE_TO_CONFIG_MAPPING if methods.name_of(t.value) is None]
    named = sorted(
        methods.PEFT_PREFIX + name if name in ours else name for name in theirs if name not in UNSUPPORTED
    )
    return [*ours, *BASELINES, *named]


def config_class(method: str) -> type[PeftConfig]:
    """The configuration class of a method, nolakit's or PEFT's.

    Raises:
        ConfigError: no method has that name.
        UnsupportedError: a method that cannot be trained on rows alone, with the reason.
    """
    if method in UNSUPPORTED:
        raise UnsupportedError(
            f"found method {method!r}, which cannot be trained here: {UNSUPPORTED[method]}"
        )
    if method not in method_names():
        raise ConfigError(f"found method {method!r}, which there is not; {nearest(method, method_names())}")
    own = method in methods.names()
    name = methods.peft_type(method) if own else method.removeprefix(methods.PEFT_PREFIX).upper()
    return PEFT_TYPE_TO_CONFIG_MAPPING[PeftType[name]]


def build_config(method: str, options: dict[str, Any], *, task: str, heads: list[str]) -> PeftConfig:
    """The configuration of a method for a task.

    Args:
        method: a name of `method_names`, but "full".
        options: values of the class's fields; text is read as the field's type.
        task: one of `TASKS`.
        heads: modules that are trained whole and saved: a new classification head.

    Raises:
        ConfigError: an option that the method does not have, or a value that it does not take.
        UnsupportedError: a method that cannot train a head beside it.
    """
    if method == "head":
        refuse_options(method, options)
        method, options = "lora", {"target_modules": DUMMY_TARGET_MODULES}
    chosen = config_class(method)
    by_name = {option.name: option for option in fields(chosen) if option.name not in RESERVED}
    values: dict[str, Any] = dict(STARTS.get(method, {}))
    if "target_modules" in by_name and method not in OWN_TARGETS:
        values["target_modules"] = "all-linear"
    hints = get_type_hints(chosen)
    for given, value in options.items():
        name = _field_name(given, by_name, method)
        value = parse_value(name, value, hints.get(name, Any))
        values[name] = _names_or_pattern(value) if name == "target_modules" else value
    if heads:
        if "modules_to_save" not in by_name:
            raise UnsupportedError(
                f"found method {method!r}, which cannot train a new head beside it; take another"
            )
        values["modules_to_save"] = [*(values.get("modules_to_save") or []), *heads]
    values["task_type"] = TASK_TYPES[task]
    try:
        return chosen(**values)
    except NolakitError:
        raise
    except Exception as error:  # each class checks in its own way
        raise ConfigError(f"found options that method {method!r} does not take: {error}") from error


def refuse_options(method: str, options: dict[str, Any]) -> None:
    """Raises ConfigError where a baseline, which has no options, is given one."""
    if options:
        raise ConfigError(f"found option {next(iter(options))!r} with method {method!r}, which has none")


def option_defaults(method: str) -> dict[str, Any]:
    """The options of a method and their defaults."""
    return {
        option.name: _default(option)
        for option in fields(config_class(method))
        if option.name not in RESERVED
    }


def _field_name(given: str, by_name: dict[str, Field], method: str) -> str:
    for name in (given, *ALIASES.get(given, ())):
        if name in by_name:
            return name
    advice = " Initial values are drawn from data_seed" if given == "seed" else ""
    raise ConfigError(
        f"found option {given!r}, which method {method!r} does not have; {nearest(given, by_name)}{advice}"
    )


def _names_or_pattern(targets: Any) -> Any:
    """A plain name is a list of one, as PEFT reads a single text as a regular expression of the whole path."""
    plain = isinstance(targets, str) and targets.replace("_", "").replace(".", "").replace("-", "").isalnum()
    return [targets] if plain and targets not in SHORTHANDS else targets


def _default(option: Field) -> Any:
    return option.default_factory() if option.default_factory is not MISSING else option.default
