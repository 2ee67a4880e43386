"""What a GPU is asked for: a step of a 7B-shaped Llama in bfloat16, and a 70B adapter expanded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM

import nolakit
from cold_expansion import write_adapter
from nolakit import NolaConfig
from nolakit.basis import use_backend
from training_models import LLAMA_LINEAR, Training
from training_step import LORA, check_gradients
from work import OURS, Work

RANK = 16
SEVEN_B = LlamaConfig()  # transformers' own default is that shape
SEVENTY_B = {"hidden": 8192, "key_value": 1024, "intermediate": 28672, "layers": 80}


def works(
    device: str = "cuda", llama: LlamaConfig = SEVEN_B, expanded: dict[str, int] = SEVENTY_B
) -> Iterator[Work]:
    """`device` and the shapes are arguments so that a test runs them small, anywhere."""
    yield _step(device, llama)
    for share_basis, target in ((True, 0.015), (False, 0.2)):
        yield _expansion(device, expanded, share_basis, target)


def _step(device: str, llama: LlamaConfig) -> Work:
    tokens = torch.randint(0, llama.vocab_size, (1, 512), generator=torch.Generator().manual_seed(0)).to(
        device
    )
    prepared = {}
    for name, config in {
        OURS: NolaConfig(r=RANK, num_basis=128, target_modules=LLAMA_LINEAR),
        LORA: LoraConfig(r=RANK, target_modules=LLAMA_LINEAR),
    }.items():
        with torch.device(device):
            base = LlamaForCausalLM._from_config(llama, dtype=torch.bfloat16)
        prepared[name] = Training(base, config)
    return Work(
        f"step, Llama {llama.hidden_size} x {llama.num_hidden_layers} in bfloat16, all-linear, r={RANK} k=128, 1 x 512",
        {name: _waiting(lambda p=each: p.step(tokens), device) for name, each in prepared.items()},
        lambda: check_gradients(prepared[OURS], tokens),
        targets={LORA: 1.02},
        trained={name: each.count for name, each in prepared.items()},
        rounds=9,
    )


def _expansion(device: str, shape: dict[str, int], share_basis: bool, target: float) -> Work:
    hidden, narrow, wide = shape["hidden"], shape["key_value"], shape["intermediate"]
    dims = {
        "q_proj": (hidden, hidden), "k_proj": (hidden, narrow), "v_proj": (hidden, narrow), "o_proj": (hidden, hidden),
        "gate_proj": (hidden, wide), "up_proj": (hidden, wide), "down_proj": (wide, hidden),
    }  # fmt: skip
    shapes = {name: {"lora_A": [RANK, i], "lora_B": [o, RANK]} for name, (i, o) in dims.items()}
    folder = Path(tempfile.mkdtemp(prefix="nolakit-bench-"))
    adapter = write_adapter(
        folder / "nola", shape["layers"], share_basis=share_basis, num_basis=512, shapes=shapes
    )

    def ours() -> dict[str, torch.Tensor]:
        return nolakit.expand(adapter, device=device, dtype=torch.bfloat16)

    def check() -> None:
        found = nolakit.expand(adapter, device=device)
        with use_backend("numba"):
            expected = nolakit.expand(adapter)
        for name, factor in expected.items():
            torch.testing.assert_close(found[name].cpu(), factor, rtol=1e-4, atol=1e-4)

    basis = "shared" if share_basis else "unique"
    return Work(
        f"cold expansion, {shape['layers']} layers of hidden size {hidden}, all-linear r={RANK} k=512, {basis} basis",
        {OURS: _waiting(ours, device)},
        check,
        target_seconds=target,
        rounds=7,
    )


def _waiting(call: Callable[[], object], device: str) -> Callable[[], None]:
    """The call, and then a wait for the device."""

    def run() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    return run
