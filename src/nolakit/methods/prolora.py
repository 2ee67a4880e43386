"""PRoLoRA: LoRA whose factors are a chunk, repeated with its ranks rotated, beside a few ranks that share nothing.

    lora_A = [A_s ; A_u] (rank, in),   A_s = [A_0, roll(A_0), roll(roll(A_0)), ...] cut to in columns
    lora_B = [B_s , B_u] (out, rank),  B_s = [B_0 ; roll(B_0) ; roll(roll(B_0)) ; ...] cut to out rows

A_0 (q, ceil(in / k)) and B_0 (ceil(out / l), q) are the q = rank - u shared ranks, A_u (u, in) and B_u (out, u) the
unshared; k, l are `chunks_a`, `chunks_b`. Each chunk is rotated towards lower ranks by s = max(floor(q / k), 1) more
than the one before: A_s[i, c w + t] = A_0[(i + c s) mod q, t] of width w. Trained: A_0, A_u, B_0, B_u, in this order,
u (in + out) + q (ceil(in / k) + ceil(out / l)) numbers a module. A_0 and A_u start at U(-1/sqrt(in), 1/sqrt(in)), of
all inputs, `random("start", path)`; B_0 and B_u at zero, so that the update is.

Source: Wang et al., ACL 2024, arXiv 2402.16902; the direction of the rotation is the official code's, which stores the
expanded factors, as large as LoRA's. Of a convolution chunks are whole channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.base import Method
from nolakit.methods.options import check_positive_integer, option
from nolakit.methods.site import Factor, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Prolora(Method):
    """PRoLoRA's options: see the module's equations."""

    name = "prolora"
    title = "PRoLoRA"
    update = "B A, each a chunk repeated with its ranks rotated, beside unshared ranks"
    trained = "u (in + out) + (rank - u)(in / k + out / l) a module"
    source = "arXiv 2402.16902"
    lora_alpha = 16
    learning_rate = 2e-4
    learning_rate_source = "QLoRA's, whose training arXiv 2402.16902 follows"

    seed: int = option(0, "Draws the start of lora_A")
    unshared: int = option(1, "Ranks that share nothing, u")
    chunks_a: int = option(7, "Chunks of lora_A, k")
    chunks_b: int = option(7, "Chunks of lora_B, l")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("chunks_a", self.chunks_a)
        check_positive_integer("chunks_b", self.chunks_b)
        if self.unshared != 0:
            check_positive_integer("unshared", self.unshared)

    def check_site(self, site: Site) -> None:
        super().check_site(site)
        if site.rank <= self.unshared:
            raise ConfigError(
                f"found unshared={self.unshared} of r={site.rank} ranks at {site.path!r}; expected fewer, so that some "
                "are shared"
            )
        if self.chunks_a > site.lora_A[1] or self.chunks_b > site.outputs:
            raise ConfigError(
                f"found chunks_a={self.chunks_a}, chunks_b={self.chunks_b} for {site.path!r}; expected at most its "
                f"{site.lora_A[1]} inputs and {site.outputs} outputs"
            )

    def count(self, factor: Factor) -> int:
        site = factor.site
        width = site.inputs if factor.role == "lora_A" else site.outputs
        return (site.rank - self.unshared) * self._chunk(factor)[0] + self.unshared * width

    def _chunk(self, factor: Factor) -> tuple[int, int]:
        """Entries of a chunk along the side that is cut, and the number of chunks."""
        if factor.role == "lora_B":
            return -(-factor.site.outputs // self.chunks_b), self.chunks_b
        channels, *kernel = factor.site.lora_A[1:]
        return -(-channels // self.chunks_a) * prod(kernel), self.chunks_a

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        if factor.role == "lora_B":
            return None
        std = (3 * factor.fan_in) ** -0.5
        return self.random("start", (self.count(factor),), path=factor.path, like=torch.empty(0), std=std)

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        import torch

        site, shared = factor.site, factor.site.rank - self.unshared
        width, chunks = self._chunk(factor)
        shift = max(shared // chunks, 1)
        steps = torch.arange(chunks, device=numbers.device) * shift
        ranks = (torch.arange(shared, device=numbers.device)[:, None] + steps) % shared  # shape: (q, chunks)
        chunk, rest = numbers[: shared * width], numbers[shared * width :]
        if factor.role == "lora_A":
            rolled = chunk.view(shared, width)[ranks].flatten(1)[:, : site.inputs]
            return torch.cat((rolled, rest.view(self.unshared, site.inputs)))
        rolled = chunk.view(width, shared)[:, ranks.T].transpose(0, 1).flatten(0, 1)[: site.outputs]
        return torch.cat((rolled, rest.view(site.outputs, self.unshared)), dim=1)
