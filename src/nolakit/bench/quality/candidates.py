"""Methods at their budgets, by name. A new one is a row here."""

from __future__ import annotations

from typing import Any

from nolakit.bench.quality.candidate import Candidate
from nolakit.errors import ConfigError
from nolakit.tasks.nearest import nearest


def _lora(r: int, where: str = "all") -> Candidate:
    name = f"LoRA r={r}" + ("" if where == "all" else f", {where}")
    return Candidate(name, "LoRA", "lora", {"r": r, "lora_alpha": r}, where)


def _nola(k: int, packed: bool = False) -> Candidate:
    return Candidate(f"NOLA k={k}", "NOLA", "nola", {"r": 16, "num_basis": k}, packed=packed)


def _row(
    name: str, method: str, *, family: str | None = None, optimizer: str = "adamw", **options: Any
) -> Candidate:
    family = family or name.partition(" ")[0]
    return Candidate(name, family, method, options, group="methods", optimizer=optimizer)


def _peft(name: str, settings: str, method: str, *, optimizer: str = "adamw", **options: Any) -> Candidate:
    return _row(f"PEFT {name} {settings}", method, family=f"PEFT {name}", optimizer=optimizer, **options)


CORE = [
    Candidate("frozen base", "frozen base", "head"),
    Candidate("full fine-tuning", "full fine-tuning", "full"),
    _lora(1, "query-value"), _lora(1), _lora(2), _lora(4), _lora(8),
    _nola(1), _nola(4), _nola(16, packed=True), _nola(64, packed=True), _nola(128), _nola(256),
]  # fmt: skip
METHODS = [
    _row("PRANC k=64", "pranc", num_basis=64),
    _row("VeRA r=16", "vera", r=16), _row("VeRA r=256", "vera", r=256),
    _row("LoRA-XS r=2", "lora_xs", r=2), _row("LoRA-XS r=8", "lora_xs", r=8),
    _row("RandLoRA r=32", "randlora", r=32),
    _row("MoRA r=1", "mora", r=1),
    _row("LoRA-FA r=1", "lora_fa", r=1),
    _row("LoRA-Mini r=4 a=b=4", "lora_mini", r=4, aux_a=4, aux_b=4),
    _row("LoRA-Mini r=8 a=b=16", "lora_mini", r=8, aux_a=16, aux_b=16),
    _row("LoRTA r=4", "lorta", r=4), _row("LoRTA r=32", "lorta", r=32),
    _row("MELoRA r=1 blocks=4", "melora", r=1, blocks=4),
    _row("PRoLoRA r=4 u=1", "prolora", r=4, unshared=1, chunks_a=4, chunks_b=4),
    _row("Tied-LoRA r=4", "tied_lora", r=4),
    _row("Uni-LoRA d=64", "unilora", theta_d_length=64), _row("Uni-LoRA d=1024", "unilora", theta_d_length=1024),
    _row("Uni-LoRA d=4096", "unilora", theta_d_length=4096),
    _row("LoRA-SB r=4", "lora_sb", r=4),
    _row("NoRA r=16 r'=2", "nora", r=16, inner_rank=2),
    _row("TinyLoRA u=1", "tinylora", r=2, u=1), _row("TinyLoRA u=16", "tinylora", r=2, u=16),
    _row("basis-conv r=4", "basis_conv", r=4),
    _peft("VeRA", "r=16", "peft:vera", r=16, save_projection=False),
    _peft("RandLoRA", "r=32", "peft:randlora", r=32, save_projection=False),
    _peft("Uni-LoRA", "d=64", "peft:unilora", theta_d_length=64),
    _peft("Uni-LoRA", "d=256", "peft:unilora", theta_d_length=256),
    _peft("Uni-LoRA", "d=1024", "peft:unilora", theta_d_length=1024),
    _peft("Uni-LoRA", "d=4096", "peft:unilora", theta_d_length=4096),
    _peft("TinyLoRA", "u=16", "peft:tinylora", r=2, u=16, save_projection=False),
    _peft("VB-LoRA", "h=64", "vblora", r=4, num_vectors=64, vector_length=4, save_only_topk_weights=True),
    _peft("FourierFT", "n=16", "fourierft", n_frequency=16, scaling=100.0, init_weights=True),
    _peft("FourierFT", "n=128", "fourierft", n_frequency=128, scaling=100.0, init_weights=True),
    _peft("LoRA-FA", "r=1", "lora", optimizer="lora_fa", r=1, lora_alpha=1),
]  # fmt: skip


def _ablation(
    change: str, k: int = 16, method: str = "nola", where: str = "all", **options: Any
) -> Candidate:
    given = {"r": 16, "num_basis": k, **options}
    return Candidate(f"NOLA k={k}, {change}", f"NOLA, {change}", method, given, where, "ablations")


def _budget(by: str) -> Candidate:
    options = {"r": 16, "budget": 2240, "budget_by": by}
    return Candidate(f"NOLA 2,240 by {by}", f"NOLA by {by}", "nola", options, group="ablations")


ABLATIONS = [
    _ablation("own basis", 4, share_basis=False), _ablation("own basis", 16, share_basis=False),
    _ablation("own basis", 64, share_basis=False),
    _ablation("r=1", r=1), _ablation("r=4", r=4), _ablation("r=64", r=64),
    _ablation("float32 uniform", method="nola_uniform", share_basis=False),
    _ablation("float32 normal", method="nola_normal", share_basis=False),
    _ablation("no A0", method="nola_without_a0"),
    _ablation("attention", where="attention"), _ablation("query-value", where="query-value"),
    _ablation("mlp", where="mlp"),
    # as many numbers as all seven kinds of a Llama's modules have with k = 16
    _ablation("attention", 28, where="attention"), _ablation("query-value", 56, where="query-value"),
    _ablation("mlp", 37, where="mlp"),
    _ablation("more for A", num_basis_a=24, num_basis_b=8), _ablation("more for B", num_basis_a=8, num_basis_b=24),
    _ablation("trained for 4 bits", coefficient_bits=4),
    _budget("equal"), _budget("size"), _budget("gradient"),
]  # fmt: skip
GROUPS = {"core": CORE, "methods": METHODS, "ablations": ABLATIONS}
CANDIDATES = {row.name: row for rows in GROUPS.values() for row in rows}


def candidate_named(name: str) -> Candidate:
    """Raises ConfigError where no candidate has that name."""
    if name not in CANDIDATES:
        raise ConfigError(f"found candidate {name!r}, which there is not; {nearest(name, CANDIDATES)}")
    return CANDIDATES[name]


def group_named(name: str) -> list[Candidate]:
    """Raises ConfigError where no group has that name."""
    if name not in GROUPS:
        raise ConfigError(f"found group {name!r}, which there is not; {nearest(name, GROUPS)}")
    return GROUPS[name]
