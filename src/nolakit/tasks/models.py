"""Base models, tokenizers and image processors of a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from nolakit.errors import ModelError
from nolakit.tasks.nearest import nearest

MODEL_CLASSES: dict[str, Any] = {
    "causal-lm": AutoModelForCausalLM,
    "text-classification": AutoModelForSequenceClassification,
    "image-classification": AutoModelForImageClassification,
    "embeddings": AutoModel,
}

MODEL_MAPPINGS: dict[str, Any] = {
    "causal-lm": MODEL_FOR_CAUSAL_LM_MAPPING,
    "text-classification": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    "image-classification": MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
}


def load_model(
    task: str, name: str, *, labels: list[str] | None, dtype: str = "float32", quantize: str | None = None
) -> PreTrainedModel:
    """The base model of a task, with a fresh head for `labels` where it has none of that size.

    Raises:
        ModelError: no such model, or one that the task cannot use.
    """
    options: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if labels is not None:
        options["id2label"] = dict(enumerate(labels))
        options["label2id"] = {label: number for number, label in enumerate(labels)}
        options["ignore_mismatched_sizes"] = True
    if quantize == "8bit":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    elif quantize == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
        )
    return _load(f"a model for {task}", name, lambda: MODEL_CLASSES[task].from_pretrained(name, **options))


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base model; it pads with the end-of-text token where it has no padding token.

    A special token that the model has no embedding for gives way to the one that the model's configuration names.

    Raises:
        ModelError: no such model, or one without a tokenizer.
    """
    tokenizer = _load("a tokenizer", name, lambda: AutoTokenizer.from_pretrained(name))
    config = load_model_config(name).get_text_config()
    size = getattr(config, "vocab_size", None) or len(tokenizer)
    for role in ("eos_token", "pad_token"):
        found, named = getattr(tokenizer, role + "_id"), getattr(config, role + "_id", None)
        if found is not None and found >= size:
            known = isinstance(named, int) and 0 <= named < size
            setattr(tokenizer, role, tokenizer.convert_ids_to_tokens(named) if known else None)
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"found a tokenizer in {name!r} with neither a padding nor an end-of-text token; add one"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_token_ids(rows: list[dict[str, Any]], config: Any, name: str) -> None:
    """Raises ModelError where a row holds a token that the model has no embedding for."""
    size = getattr(config.get_text_config(), "vocab_size", None)
    largest = max((max(row["input_ids"]) for row in rows if row.get("input_ids")), default=0)
    if size is not None and largest >= size:
        raise ModelError(
            f"found token {largest} in the encoded data, where the model {name!r} has {size}; its tokenizer is "
            "another model's"
        )


def load_image_processor(name: str) -> Any:
    """The image processor of a base model. Raises ModelError where there is none."""
    return _load("an image processor", name, lambda: AutoImageProcessor.from_pretrained(name, backend="pil"))


def load_model_config(name: str) -> Any:
    """The configuration of a base model. Raises ModelError where there is none."""
    return _load("a model's configuration", name, lambda: AutoConfig.from_pretrained(name))


def model_class(task: str, config: Any, name: str) -> type[PreTrainedModel]:
    """The class of a task's model. Raises ModelError where the base has none."""
    try:
        return MODEL_MAPPINGS[task][type(config)]
    except KeyError as error:
        raise ModelError(f"found no {task} model of the type of {name!r}, {config.model_type!r}") from error


def head_names(model: nn.Module) -> list[str]:
    """Top-level modules of a classifier that its headless base does not have: its head."""
    prefix = getattr(model, "base_model_prefix", "")
    return [
        name
        for name, child in model.named_children()
        if name != prefix and any(True for _ in child.parameters())
    ]


def check_model_path(name: str) -> None:
    """Raises ModelError where `name` can only be a folder and is none, or one without a config.json."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"found a folder {name!r} without config.json; expected a model as transformers' save_pretrained "
                "writes it"
            )
    elif path.is_file() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        neighbours = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = f"; {nearest(path.name, neighbours)}" if neighbours else ""
        raise ModelError(f"found no model folder {name!r}{hint}; give a folder or a hub id")


def _load(what: str, name: str, load: Callable[[], Any]) -> Any:
    check_model_path(name)
    try:
        return load()
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        first_line = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise ModelError(f"found no way to load {what} from {name!r}: {first_line}") from error
