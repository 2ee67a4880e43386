"""What methods share that train something between the leading singular vectors of a matrix.

lora_A = ... V_r^T,   lora_B = U_r ...
"""

from __future__ import annotations

from nolakit.methods.base import Method
from nolakit.methods.singular import check_singular_rank
from nolakit.methods.site import Factor, Site


class Between(Method):
    """A method whose frozen parts are V_r^T (rank, inputs) of lora_A and U_r (outputs, rank) of lora_B, either with the
    singular values or without. Stored where an option `store_frozen` says so; always, where there is no such option."""

    from_weight = True

    @property
    def stores_frozen(self) -> bool:
        return getattr(self, "store_frozen", True)

    def check_site(self, site: Site) -> None:
        super().check_site(site)
        check_singular_rank(site)

    def frozen_dims(self, factor: Factor) -> tuple[int, int] | None:
        site = factor.site
        return (site.rank, site.inputs) if factor.role == "lora_A" else (site.outputs, site.rank)
