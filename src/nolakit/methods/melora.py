"""MELoRA: a group of small LoRAs, each between a slice of the inputs and a slice of the outputs.

    lora_A = blockdiag(A_1 .. A_k) (k rank, in),   A_i (rank, in / k)
    lora_B = blockdiag(B_1 .. B_k) (out, k rank),  B_i (out / k, rank)

Trained: all A_i and B_i, rank (in + out) numbers a module whatever k is, for an update of rank k rank. Slices are
contiguous, slice i of the inputs goes to slice i of the outputs alone. A_i starts as LoRA of its slice does, at
U(-sqrt(k / in), sqrt(k / in)), `random("start", path)`; B_i at zero, so that the update is. The scaling is lora_alpha /
r of the small rank r. Numbers lie as in plain LoRA's factors, (rank, in) and (out, rank), without blocks of zeros.

Source: Ren et al., ACL 2024, arXiv 2402.17263; the official code has the same equations, and fails where k does not
divide a size. Here slices then differ by one: input j belongs to slice floor(j k / in). Of a convolution channels are
sliced, as of k groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.base import Method
from nolakit.methods.options import check_positive_integer, option
from nolakit.methods.site import Factor, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Melora(Method):
    """MELoRA's options: see the module's equations. Published: r 1, k 8 for LLaMA-2; r 8, k 2 for GLUE."""

    name = "melora"
    title = "MELoRA"
    update = "blockdiag(B_i A_i)"
    trained = "rank (in + out) a module, for rank k rank"
    source = "arXiv 2402.17263"
    r = 1
    lora_alpha = 16
    learning_rate = 3e-4
    learning_rate_source = "arXiv 2402.17263, official scripts: 3e-4 (LLaMA-2), 4e-4 to 5e-4 (GLUE)"

    seed: int = option(0, "Draws the start of lora_A")
    blocks: int = option(8, "Small LoRAs of a module, k")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("blocks", self.blocks)

    def check_site(self, site: Site) -> None:
        super().check_site(site)
        if self.blocks > min(site.lora_A[1], site.outputs):
            raise ConfigError(
                f"found blocks={self.blocks} for {site.path!r}, which has {site.lora_A[1]} inputs and {site.outputs} "
                "outputs; expected no more blocks than either has"
            )

    def rank(self, site: Site) -> int:
        return self.blocks * site.rank

    def count(self, factor: Factor) -> int:
        return factor.size

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        if factor.role == "lora_B":
            return None
        std = (self.blocks / (3 * factor.fan_in)) ** 0.5
        return self.random("start", (factor.size,), path=factor.path, like=torch.empty(0), std=std)

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        import torch

        site = factor.site
        channels = site.lora_A[1] if factor.role == "lora_A" else site.outputs
        slices = torch.arange(channels, device=numbers.device) * self.blocks // channels
        inside = slices == torch.arange(self.blocks, device=numbers.device)[:, None]  # shape: (k, channels)
        if factor.role == "lora_A":
            blocks = numbers.view(1, site.rank, channels, -1) * inside[:, None, :, None]
            return blocks.reshape(self.rank(site), site.inputs)
        return (numbers.view(channels, 1, site.rank) * inside.T[:, :, None]).reshape(
            channels, self.rank(site)
        )
