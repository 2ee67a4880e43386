"""Tiny models with tokenizers and tiny data sets, in folders, for the tasks and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

COLOURS = ["red", "green", "blue", "black"]
FRUITS = ["apple", "pear", "plum", "fig"]
ANIMALS = ["cat", "dog", "cow", "hen"]
WORDS = ["the", "is", "a", "and", "sees", "one", "two", *COLOURS, *FRUITS, *ANIMALS, "sweet", "loud"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.1}


def tokenizer(*, classifier: bool) -> PreTrainedTokenizerFast:
    """A word-level tokenizer: [CLS] ... [SEP] for a classifier, <s> ... for a language model."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    template = "[CLS] $A [SEP]" if classifier else "<s> $A"
    marks = ["[CLS]", "[SEP]"] if classifier else ["<s>"]
    inner.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(mark, vocabulary[mark]) for mark in marks]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    named = (
        {"cls_token": "[CLS]", "sep_token": "[SEP]"}
        if classifier
        else {"bos_token": "<s>", "eos_token": "</s>"}
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names, **named)


def save(model: Any, folder: Path, processor: Any) -> str:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def made(build: Any, seed: int = 0) -> Any:
    """A model with the same random weights each time; torch's generator stays as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return build()


def llama(folder: Path, seed: int = 0, **changes: Any) -> str:
    config = transformers.LlamaConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=4,
        eos_token_id=5,
        **{**SIZES, "intermediate_size": 48, "num_key_value_heads": 2, **changes},
    )
    return save(
        made(lambda: transformers.LlamaForCausalLM(config), seed), folder, tokenizer(classifier=False)
    )


def bert(folder: Path, seed: int = 0) -> str:
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS), max_position_embeddings=32, intermediate_size=48, **SIZES
    )
    return save(made(lambda: transformers.BertModel(config), seed), folder, tokenizer(classifier=True))


def vit(folder: Path) -> str:
    config = transformers.ViTConfig(image_size=16, patch_size=8, intermediate_size=48, **SIZES)
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16})
    return save(made(lambda: transformers.ViTModel(config, add_pooling_layer=False)), folder, processor)


def classified_rows(number: int = 64, start: int = 0) -> list[dict[str, Any]]:
    """Sentences about a fruit or an animal, labelled so."""
    rows = []
    for i in range(start, start + number):
        colour, other = COLOURS[i % 4], COLOURS[(i // 4) % 4]
        noun = (FRUITS if i % 2 else ANIMALS)[(i // 2) % 4]
        rows.append(
            {"text": f"the {colour} {noun} sees a {other} one", "label": "fruit" if i % 2 else "animal"}
        )
    return rows


def paired_rows(number: int = 48) -> list[dict[str, Any]]:
    """Prompts that name a thing, completed by what it is."""
    return [
        {
            "prompt": f"the {COLOURS[i % 4]} {(FRUITS if i % 3 else ANIMALS)[i // 3 % 4]}",
            "completion": "is sweet and sweet" if i % 3 else "is loud and loud",
        }
        for i in range(number)
    ]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def image_folder(folder: Path, each: int = 12) -> str:
    """Images that are mostly bright or mostly dark, in a sub-folder each."""
    for name, level in (("bright", 200), ("dark", 30)):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (16, 16), (level + i, level, level - i)).save(folder / name / f"{i}.png")
    return str(folder)
