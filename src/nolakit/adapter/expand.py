"""From coefficients to LoRA factors and updates; without the base model, unless the method is computed from it."""

from __future__ import annotations

from collections.abc import Hashable
from math import prod
from pathlib import Path
from typing import Any

import psutil
import torch

from nolakit.adapter.contents import Adapter, ModuleInfo
from nolakit.adapter.files import open_adapter
from nolakit.adapter.frozen import WeightAt, check_number, check_site, expected_numbers, parts_of
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.adapter.quantise import quantise, trained_bits
from nolakit.basis.integers import Integers
from nolakit.errors import AdapterError, BaseNeededError, UnsupportedError
from nolakit.methods.base import Method
from nolakit.methods.site import ROLES, Factor, Role

Members = list[tuple[ModuleInfo, Factor]]


def expand(
    adapter: str | Path | Adapter,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    weight_at: WeightAt | None = None,
) -> dict[str, torch.Tensor]:
    """The LoRA factors of an adapter, under the names that PEFT gives them in a LoRA file.

        lora_A, lora_B = factors(coefficients);  update = scaling * lora_B lora_A

    Args:
        adapter: an adapter folder or a packed file.
        dtype: of the result. The factors are computed in float32 and then rounded.
        device: where to compute and leave them; None is the CPU.
        weight_at: the base's weight, (out, in), at a canonical path, for methods that are computed from it;
            `nolakit.export.base_files.weights_of` makes one of a base's files.

    Returns:
        `base_model.model.<path>.lora_A.weight`, shape (rank, in), and `.lora_B.weight`, (out, rank).

    Raises:
        AdapterError: a file that cannot be read, a coefficient that is not finite, or factors that do not fit in
            the memory that is free.
        UnsupportedError: an adapter of a method that is not nolakit's, or whose update has full rank.
        BaseNeededError: a method that is computed from the base's weights, without `weight_at`.
        BaseMismatchError: the weights are another base's.

    Cost: the method's; of NOLA num_basis multiply-adds for each entry of a factor, and a basis that modules of one
    shape share is generated once.
    """
    source = adapter if isinstance(adapter, Adapter) else open_adapter(adapter)
    if source.computed and source.layout.method.dense:
        raise UnsupportedError(
            f"found a {source.method!r} adapter in {source.name!r}, whose update has full rank and no factors; merge "
            "it, or take its best approximation of a rank: nolakit.export_lora(..., approximate_rank=R), "
            "`nolakit export --to lora --approximate-rank R`"
        )
    return expand_all(source, dtype=dtype, device=device, weight_at=weight_at)


def expand_all(
    source: Adapter,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    weight_at: WeightAt | None = None,
) -> dict[str, torch.Tensor]:
    """As `expand`, of a dense method the updates under the names of `lora_A`, without `lora_B`."""
    source.check_computed()
    modules = source.checked_modules()
    method = source.bound_method(modules)
    roles: tuple[Role, ...] = ("lora_A",) if method.dense else ROLES
    groups: dict[Hashable, Members] = {}
    for module in modules:
        for role in roles:
            factor = Factor(role, module.site)
            groups.setdefault(method.group(factor), []).append((module, factor))
    every = [factor for members in groups.values() for _, factor in members]
    _check_memory(sum(prod(method.dims(factor)) for factor in every), source.name)
    expansion = _Expansion(source, method, modules, device, weight_at)
    made = {}
    for members in groups.values():
        for (module, factor), weight in zip(members, expansion.group(members), strict=True):
            made[f"{FILE_PREFIX}{module.path}.{factor.role}.weight"] = weight.to(dtype).contiguous()
    return dict(sorted(made.items()))


class Updates:
    """The updates of an adapter's modules, without their scaling, one at a time: factors are made together beforehand,
    a dense method's update when it is asked for. Raises as `expand`, at once or later."""

    def __init__(self, source: Adapter, *, weight_at: WeightAt | None = None) -> None:
        self.factors: dict[str, torch.Tensor] = {}
        self.dense = source.computed and source.layout.method.dense
        if not self.dense:
            self.factors = expand_all(source, weight_at=weight_at)
            return
        modules = source.checked_modules()
        self.expansion = _Expansion(source, source.bound_method(modules), modules, None, weight_at)

    def update(self, module: ModuleInfo) -> torch.Tensor:
        """`lora_B lora_A` or Delta, float32. # shape: (out, inputs)"""
        if self.dense:
            (made,) = self.expansion.group([(module, Factor("lora_A", module.site))])
            return made.flatten(1)
        lora_a, lora_b = self.both(module)
        return lora_b.flatten(1) @ lora_a.flatten(1)

    def both(self, module: ModuleInfo) -> tuple[torch.Tensor, torch.Tensor]:
        """lora_A and lora_B of a method that has factors."""
        key = FILE_PREFIX + module.path
        return self.factors[f"{key}.lora_A.weight"], self.factors[f"{key}.lora_B.weight"]


class _Expansion:
    """What expanding needs of an adapter, read once."""

    def __init__(
        self,
        source: Adapter,
        method: Method,
        modules: list[ModuleInfo],
        device: torch.device | str | None,
        weight_at: WeightAt | None,
    ) -> None:
        self.source, self.method, self.weight_at = source, method, weight_at
        self.device = torch.device(device or "cpu")
        self.bits = trained_bits(source.config)
        self.by_path = {module.canonical: module for module in modules}
        self.expected = expected_numbers(
            source.config.get("frozen_check") if method.needs_weights else None,
            sorted(self.by_path),
        )
        self.parts: dict[str, dict[Role, torch.Tensor]] = {}

    def group(self, members: Members) -> Any:
        """The factors of one group."""
        factors = [factor for _, factor in members]
        owner = self.method.owner(factors[0])
        counts = {self.method.count(factor) for factor in factors}
        if owner is None and not self.method.from_weight and len(counts) == 1 and counts != {0}:
            found = self._numbers([(module, factor.role) for module, factor in members])
            if isinstance(found, Integers) and self.method.exact:
                return self.method.integer_factors(found, factors)
            rows = found if isinstance(found, torch.Tensor) else found.dequantised()
            return self.method.factors(rows.unbind(), factors)
        tied = None if owner is None else self._own(owner)
        frozen = [self._frozen(factor) for factor in factors]
        return self.method.factors([self._own(factor) for factor in factors], factors, tied, frozen)

    def _own(self, factor: Factor) -> torch.Tensor:
        if not self.method.count(factor):
            return torch.zeros(0, device=self.device)
        found = self._numbers([(self.by_path[factor.path], factor.role)])
        return (found if isinstance(found, torch.Tensor) else found.dequantised())[0]

    def _numbers(self, wanted: list[tuple[ModuleInfo, Role]]) -> torch.Tensor | Integers:
        found = self.source.coefficients(wanted)
        if isinstance(found, torch.Tensor) and self.bits is not None:
            found = quantise(found, self.bits)  # as training saw them
        return found.to(self.device)

    def _frozen(self, factor: Factor) -> torch.Tensor | None:
        if not self.method.from_weight:
            return None
        path = factor.path
        if path not in self.parts:
            module = self.by_path[path]
            if self.method.stores_frozen:
                self.parts[path] = self._stored(module)
            else:
                parts = parts_of(self.method, factor.site, self._weight(path), self._measured(module))
                check_site(self.expected.get(path), check_number(factor.site, parts), factor.site)
                self.parts[path] = {role: part.to(self.device) for role, part in parts.items()}
        return self.parts[path].get(factor.role)

    def _weight(self, path: str) -> torch.Tensor | None:
        if self.weight_at is None:
            raise BaseNeededError(
                f"found a {self.method.name!r} adapter in {self.source.name!r}, which is computed from the weights "
                "of its base; give the base (base=, --base), or train with store_frozen=True"
            )
        return self.weight_at(path)

    def _stored(self, module: ModuleInfo) -> dict[Role, torch.Tensor]:
        found = {}
        for role in ROLES:
            dims = self.method.frozen_dims(Factor(role, module.site))
            if dims is not None:
                found[role] = self._tensor(f"{module.key}.{role}.frozen", dims)
        return found

    def _measured(self, module: ModuleInfo) -> torch.Tensor | None:
        dims = self.method.measured_dims(module.site)
        return None if dims is None else self._tensor(f"{module.key}.lora_A.measured", dims)

    def _tensor(self, key: str, dims: tuple[int, ...]) -> torch.Tensor:
        info = self.source.tensors.get(key)
        if info is None or info.shape != dims:
            raise AdapterError(
                f"found {key!r} {'absent' if info is None else f'of shape {info.shape}'} in {self.source.name!r}; "
                f"expected {dims}. Fetch or save it again"
            )
        with self.source.open_tensors() as file:
            part = file.get_tensor(key).float()
        if not part.isfinite().all():
            raise AdapterError(f"found {key!r} with numbers that are not finite; fetch or save it again")
        return part.to(self.device)


def _check_memory(numbers: int, name: str) -> None:
    """A small file may describe large factors; they are refused before the first is made."""
    free = psutil.virtual_memory().available
    if 4 * numbers > free:
        raise AdapterError(
            f"found factors of {4 * numbers:,} bytes in {name!r}; this machine has {free:,} free. Expected an adapter "
            "of a base that fits it"
        )
