"""How many numbers each factor of an adapter stores.

Most methods store as many in every module; where modules differ, or share numbers that one of them holds, the counts
come from the method and the modules' shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nolakit.errors import AdapterError, NolakitError
from nolakit.methods.base import Method
from nolakit.methods.site import ROLES, Factor, Role, Site

MOST_MODULES = 1 << 16  # of an adapter whose modules do not all have numbers of their own


@dataclass(frozen=True)
class Layout:
    """Counts of an adapter's factors.

    each: numbers of the two factors of every module, where all modules have the same; else None.
    """

    method: Method
    each: Mapping[Role, int] | None

    def counts(self, sites: Sequence[Site]) -> list[dict[Role, int]]:
        """Numbers of the two factors of each module.

        Raises:
            AdapterError: modules that the method cannot have.
        """
        if self.each is not None:
            return [dict(self.each)] * len(sites)
        if len(sites) > MOST_MODULES:
            raise AdapterError(f"found {len(sites):,} modules; expected at most {MOST_MODULES:,}")
        try:
            bound = self.method.bind(sites)
            return [{role: bound.count(Factor(role, site)) for role in ROLES} for site in sites]
        except NolakitError as error:
            raise AdapterError(f"found modules that {self.method.name!r} cannot have: {error}") from error
