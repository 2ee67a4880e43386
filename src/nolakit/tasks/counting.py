"""Trained numbers and file bytes of every method on a model, from its configuration alone.

The model is built on the meta device: shapes without weights, so 70B takes seconds and little memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import nolakit  # noqa: F401 - registers nolakit's methods with PEFT
from nolakit.errors import ModelError, NolakitError
from nolakit.methods import names
from nolakit.tasks.configurations import BASELINES, build_config, config_class
from nolakit.tasks.file_sizes import safetensors_bytes
from nolakit.tasks.models import load_model_config
from nolakit.tasks.quiet import quiet
from nolakit.tasks.targets import check_targets

USUAL_METHODS = (*names(), "lora", "lokr", "loha", "fourierft", "vblora", "ia3", "full")


@dataclass
class CountRow:
    """One method on one model. `reason` says why there are no figures."""

    method: str
    settings: dict[str, Any]
    trained: int | None = None
    file_bytes: int | None = None
    modules: int | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def count(
    model: str | Path,
    *,
    methods: Sequence[str] = USUAL_METHODS,
    options: dict[str, dict[str, Any]] | None = None,
    target_modules: Any = "all-linear",
) -> list[CountRow]:
    """Count each method on a model without its weights.

    Args:
        model: a transformers id, a folder, or a configuration file.
        methods: names of `nolakit.tasks.configurations.method_names`.
        options: by method, fields of its configuration class.
        target_modules: of every method that takes them.

    Raises:
        ModelError: no configuration, or one of no known model.
        ConfigError, TargetError: an unknown method, option or target module.
    """
    for method in methods:
        if method not in BASELINES:
            config_class(method)
    with quiet(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        config = _read_config(str(model))
        return [
            _count(config, method, dict((options or {}).get(method, {})), target_modules)
            for method in methods
        ]


def build_on_meta(config: Any) -> Any:
    """The model of a configuration, a language model where there is one, without weights."""
    kind = AutoModelForCausalLM if _is_language_model(config) else AutoModel
    try:
        with torch.device("meta"):
            return kind.from_config(config)
    except (ValueError, KeyError, ImportError, AttributeError) as error:
        raise ModelError(
            f"found no way to build a model from this {config.model_type!r} configuration: {error}"
        ) from error


def _count(config: Any, method: str, options: dict[str, Any], target_modules: Any) -> CountRow:
    model = build_on_meta(config)
    if method == "full":
        tensors = dict(model.named_parameters())
        return CountRow(
            method, {}, sum(p.numel() for p in tensors.values()), safetensors_bytes(tensors, {"format": "pt"})
        )
    if method == "head":
        return CountRow(method, {}, reason="the head depends on the number of classes")
    fields = config_class(method).__dataclass_fields__
    if "target_modules" in fields and target_modules != "all-linear":
        options = {"target_modules": target_modules, **options}
    peft_config = build_config(method, options, task="causal-lm", heads=[])
    if not _is_language_model(config):
        peft_config.task_type = None
    check_targets(model, peft_config)
    try:
        with torch.device("meta"):
            adapted = get_peft_model(model, peft_config, low_cpu_mem_usage=True)
        state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except NolakitError as error:
        return CountRow(method, options, reason=str(error))
    except Exception as error:  # what cannot be built on the meta device fails in many ways
        first_line = (str(error).strip() or type(error).__name__).split("\n")[0]
        return CountRow(
            method, options, reason=f"cannot be built without weights: {type(error).__name__}: {first_line}"
        )
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    return CountRow(
        method=method,
        settings=options,
        trained=trained,
        file_bytes=safetensors_bytes(state, {"format": "pt"}),
        modules=len(getattr(adapted.base_model, "targeted_module_names", [])) or None,
    )


def _read_config(model: str) -> Any:
    path = Path(model).expanduser()
    if not path.is_file():
        return load_model_config(model)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return AutoConfig.for_model(**values)
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, ValueError) as error:
        raise ModelError(f"found {model!r}, which is not a model's configuration: {error}") from error


def _is_language_model(config: Any) -> bool:
    names = getattr(config, "architectures", None) or []
    headed = any("CausalLM" in name or "LMHead" in name for name in names)
    return config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and (headed or not names)
