"""LoRTA: one CP decomposition of the updates of all layers, projections and heads.

    query, key, value:  W[h d + e, j] += s sum_t A[j, t] c[h, t] B[e, t]        c[h, t] = H[h, t] L[l, t] P[p, t]
    output:             W[i, h d + e] += s sum_t A[i, t] c[h, t] B[e, t]        s = lora_alpha / r

of layer l, projection p and head h of width d. As factors of rank r: A on the side without heads, and on the other
B diag(c_h) of all heads, one under the other. Trained, shared by all modules and held by lora_A of the first by path:
A (width, r), B (d, r), H (heads, r), L (layers, r), P (projections, r), in this order; r (width + d + heads + layers +
projections) numbers. B starts at zero, so that the update does, A at U(-1/sqrt(r), 1/sqrt(r)), the others at
U(-sqrt(6/r), sqrt(6/r)): one vector `random("start")` of that module, in parts.

Layers and projections are those that are adapted, by path. Keys and values with fewer heads (grouped-query attention)
take of H the row of the first query head of each group. Modules that are none of an attention's are a decomposition of
their own for each (in, out), with a single head.

Source: Hounie et al., arXiv 2410.04060. Heads stand where attention has them; of the official codes one has them on the
output of all four projections (LLaMA), one on the input of all four (GLUE), and neither knows grouped queries.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.attention import heads_of, layer_and_projection
from nolakit.methods.base import Method
from nolakit.methods.options import check_positive_integer, option
from nolakit.methods.site import Factor, Site

if TYPE_CHECKING:
    import torch


@dataclass
class _Decomposition:
    """What one decomposition spans: the rows of L and P by name, and the number of heads."""

    first: Site
    layers: dict[str, int] = field(default_factory=dict)
    projections: dict[str, int] = field(default_factory=dict)
    heads: int = 1


@dataclass(frozen=True)
class Lorta(Method):
    """LoRTA's options: see the module's equations."""

    name = "lorta"
    title = "LoRTA"
    update = "sum_t A_t c_t B_t over layers, projections and heads"
    trained = "rank (width + head_dim + heads + layers + projections) in all"
    source = "arXiv 2410.04060"
    degree = "other"
    learning_rate = 1e-2
    learning_rate_source = "arXiv 2410.04060, official scripts: 4e-3 to 5e-2 (GLUE), 4e-4 (LLaMA-2)"

    seed: int = option(0, "Draws the start")
    head_dim: int = option(64, "Width of an attention head; LLaMA-2 has 128")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("head_dim", self.head_dim)

    @cached_property
    def _decompositions(self) -> dict[Hashable, _Decomposition]:
        found: dict[Hashable, _Decomposition] = {}
        for site in self.sites:
            one = found.setdefault(self._kind(site), _Decomposition(site))
            layer, projection = layer_and_projection(site.path)
            one.layers.setdefault(layer, len(one.layers))
            one.projections.setdefault(projection, len(one.projections))
            one.heads = max(one.heads, heads_of(site, self.head_dim).count)
        return found

    def _kind(self, site: Site) -> Hashable:
        heads = heads_of(site, self.head_dim)
        return site.rank, heads.plain, heads.width, heads.attention

    def _of(self, site: Site) -> _Decomposition:
        return self._decompositions[self._kind(site)]

    def check_site(self, site: Site) -> None:
        super().check_site(site)
        count, most = heads_of(site, self.head_dim).count, self._of(site).heads
        if most % count:
            raise ConfigError(
                f"found {count} heads of {self.head_dim} at {site.path!r} and {most} elsewhere; expected a number that "
                "divides it. Give the model's own head_dim, or name other target_modules"
            )

    def owner(self, factor: Factor) -> Factor:
        return Factor("lora_A", self._of(factor.site).first)

    def _rows(self, site: Site) -> list[int]:
        """Rows of A, B, H, L and P."""
        one, heads = self._of(site), heads_of(site, self.head_dim)
        return [heads.plain, heads.width, one.heads, len(one.layers), len(one.projections)]

    def count(self, factor: Factor) -> int:
        return sum(self._rows(factor.site)) * factor.site.rank if self.owner(factor) == factor else 0

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        rank, rows = factor.site.rank, self._rows(factor.site)
        drawn = self.random("start", (sum(rows), rank), path=factor.path, like=torch.empty(0))
        a, b, rest = drawn.tensor_split((rows[0], rows[0] + rows[1]))
        return torch.cat((a / rank**0.5, b * 0, rest * (6 / rank) ** 0.5)).flatten()

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        assert tied is not None
        site, one, own = factor.site, self._of(factor.site), heads_of(factor.site, self.head_dim)
        a, b, heads, layers, projections = tied.view(-1, site.rank).split(self._rows(site))
        made = a
        if (factor.role == "lora_A") == (own.along == "inputs"):
            layer, projection = layer_and_projection(site.path)
            c = layers[one.layers[layer]] * projections[one.projections[projection]]
            c = c * heads[:: one.heads // own.count]
            made = (c[:, None] * b).flatten(0, 1)  # shape: (heads * d, rank)
        return made.T if factor.role == "lora_A" else made
