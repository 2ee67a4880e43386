"""A base, many adapters of it in PEFT and in a store, and what PEFT makes of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model

import nolakit


@dataclass
class Many:
    """peft: the PeftModel of each adapter. base: its own copy, for an engine. folders: as PEFT saved them."""

    peft: dict[str, Any]
    base: Any
    store: nolakit.Store
    folders: dict[str, Path]

    @property
    def names(self) -> list[str]:
        return list(self.folders)

    def generate(self, prompt: list[int], name: str | None, tokens: int, **options: Any) -> list[int]:
        """The new tokens, without an end token."""
        ids = torch.tensor([prompt])
        options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, **options}
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            if name is None:
                out = self.base.generate(**arguments, max_new_tokens=tokens, **options)
            else:
                out = self.with_adapter(name).generate(**arguments, max_new_tokens=tokens, **options)
        return out[0, len(prompt) :].tolist()

    def with_adapter(self, name: str) -> Any:
        """PEFT's model with an adapter switched on."""
        self.peft[name].set_adapter(name)
        return self.peft[name]


def make_many(
    make_base: Callable[[], Any], configs: Iterable[Any], folder: Path, *, bits: int | None = None
) -> Many:
    """One PeftModel for each method, and a store with all adapters."""
    models: dict[str, Any] = {}
    peft: dict[str, Any] = {}
    for number, config in enumerate(configs):
        name, method = f"team/task-{number}", str(config.peft_type)
        if method in models:
            models[method].add_adapter(name, config)
        else:
            models[method] = get_peft_model(make_base(), config, adapter_name=name)
        peft[name] = models[method]
    generator = torch.Generator().manual_seed(7)
    for model in models.values():
        for key, parameter in model.named_parameters():
            if "coefficients" in key or "modules_to_save" in key:
                scale = 1.0 if "coefficients" in key else 0.3
                parameter.data = scale * torch.randn(parameter.shape, generator=generator)
        model.eval().save_pretrained(folder)
    store = nolakit.Store.create(folder / "adapters.nola")
    folders = {name: folder / name for name in peft}
    for name, place in folders.items():
        store.add(name, place, bits=bits)
    return Many(peft, make_base(), store, folders)


def prompts(count: int, vocabulary: int, longest: int, seed: int = 3) -> list[list[int]]:
    """Random token ids of random lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in lengths]
