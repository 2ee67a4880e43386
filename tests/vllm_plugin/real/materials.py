"""What is served: a small random Llama with a tokenizer, and a store of 10,000 adapters of it, all made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import nolakit
from nolakit import methods
from nolakit.adapter.container import read_container, write_container
from nolakit.store.adding import New
from nolakit.store.store import Store

VOCABULARY = 512
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
COUNT = 10_000
RANK = 8
SERVED_METHODS = {  # beside NOLA
    "lora_fa": {}, "melora": {"r": 2}, "vera": {}, "tied_lora": {}, "prolora": {}, "lora_xs": {"store_frozen": True},
}  # fmt: skip
REFUSED = {  # name in the store -> why
    "refused/large-rank": "rank 64 where the engine takes 16",
    "refused/other-shape": "made for a base of other shapes",
    "refused/other-weights": "made for a base of other weights",
    "refused/full-rank": "PRANC, an update of full rank",
    "refused/from-weights": "LoRA-XS, computed from the base's weights",
    "refused/trained-whole": "an lm_head trained whole",
}


def make_base(folder: Path, *, seed: int = 0, hidden: int = 256) -> Path:
    """Random weights, large enough that no two tokens are nearly as likely."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.1,
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    make_tokenizer(folder, VOCABULARY)
    return folder


def make_tokenizer(folder: Path, vocabulary: int) -> None:
    """Bytes, and words that no text has."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = letters + [f"<{number}>" for number in range(vocabulary - len(letters))]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def load_base(folder: Path) -> Any:
    """The base in transformers, float32."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def make_adapter(base: Path, folder: Path, method: str, *, seed: int = 0, **options: Any) -> bytes:
    """A packed adapter of random numbers, saved by PEFT over the base."""
    kind = getattr(nolakit, f"{methods.class_name(method)}Config")
    options = {
        "r": RANK,
        "lora_alpha": 4 * RANK,
        "target_modules": TARGETS,
        "task_type": "CAUSAL_LM",
    } | options
    model = get_peft_model(load_base(base), kind(**options))
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if value.requires_grad and "coefficients" in name:
            value.data = torch.randn(value.shape, generator=generator)
    model.save_pretrained(folder)
    return nolakit.pack(folder, 32)


def numbered(number: int) -> str:
    """The name of one of the 10,000."""
    return f"task/{number:05d}"


def fill(store: Store, base: Path, work: Path) -> None:
    """Add the 10,000, one of each other method, and what must be refused."""
    data = make_adapter(base, work / "nola", "nola", num_basis=32)
    store.add_all(_many(data))
    for method, options in SERVED_METHODS.items():
        store.add(f"method/{method}", make_adapter(base, work / method, method, **options))
    for bits in (8, 4):
        store.add(f"bits/{bits}", work / "nola", bits=bits)
    store.add("twice", make_adapter(base, work / "once", "nola", num_basis=32, seed=71))
    others = {
        "large-rank": (base, "nola", {"r": 64, "num_basis": 8}),
        "other-shape": (make_base(work / "shape", hidden=128), "nola", {"num_basis": 8}),
        "other-weights": (make_base(work / "weights", seed=5), "nola", {"num_basis": 8}),
        "full-rank": (base, "pranc", {"lora_alpha": 8, "num_basis": 8}),
        "from-weights": (base, "lora_xs", {}),
        "trained-whole": (base, "nola", {"num_basis": 8, "modules_to_save": ["lm_head"]}),
    }
    for name, (over, method, options) in others.items():
        store.add(f"refused/{name}", make_adapter(over, work / name, method, **options))


def _many(data: bytes) -> Iterator[New]:
    values, stored, _ = read_container(data, "the first")
    count = stored["coefficients"].shape[0]
    for number in range(COUNT):
        generator = torch.Generator().manual_seed(number + 1)
        numbers = torch.randn(count, generator=generator)
        yield New(numbered(number), write_container(values, {"coefficients": numbers}))
