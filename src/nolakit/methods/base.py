"""What every method is: an update of a weight that is a function of a few trained numbers.

    W' = W + scaling * lora_B lora_A     two LoRA factors, each a function of its numbers
    W' = W + scaling * Delta             a dense method: an update of full rank, without cheap factors

A method says how many numbers a factor trains, where they start and how to compute the factor from them. Training,
merging, files, exports, packing and the store are written once, on top of this. Nothing here imports peft or
transformers, and no module of a method imports torch before numbers are computed.

A dense method is written as a `lora_A` of shape (out, in) beside a `lora_B` that is the identity.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from nolakit.basis.streams import stream_number
from nolakit.errors import UnsupportedError
from nolakit.methods.options import check_kind
from nolakit.methods.site import Factor, Role, Site

if TYPE_CHECKING:
    import torch

    from nolakit.basis.integers import Integers

Degree = Literal["linear", "quadratic", "other"]
Calibration = Literal["activations", "gradient"]


class Method(ABC):
    """A parametrisation. A subclass is a frozen dataclass whose fields are its options (`option`).

    Class variables, besides the texts for the table of methods:
        degree: of the update in the trained numbers. Adapters of a linear method add and average exactly.
        r, lora_alpha: defaults of the configuration; lora_alpha None takes r, so that the update is not scaled.
        use_rslora: default: scaling is lora_alpha / sqrt(r) in place of lora_alpha / r.
        learning_rate, learning_rate_source: for AdamW, where a run names none.
        dense: the update is `lora_A` alone, of shape (out, in).
        fused: `apply` takes the place of both factors, or of the update, in a linear layer's forward.
        grouped: grouped convolutions are adapted too.
        from_weight: a factor has a frozen part that is computed from the base's weight.
        exact: factors of integers are defined to the bit, by `integer_factors`.
        replayable: the graph of `factors` saves no tensor, so that one graph serves many backward passes.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    update: ClassVar[str]
    trained: ClassVar[str]
    source: ClassVar[str]
    degree: ClassVar[Degree] = "quadratic"
    r: ClassVar[int] = 8
    lora_alpha: ClassVar[int | None] = None
    use_rslora: ClassVar[bool] = False
    learning_rate: ClassVar[float]
    learning_rate_source: ClassVar[str]
    dense: ClassVar[bool] = False
    fused: ClassVar[bool] = False
    grouped: ClassVar[bool] = False
    from_weight: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    replayable: ClassVar[bool] = False

    sites: tuple[Site, ...] = ()  # all modules of the adapter, by path; of a bound method
    counts: Mapping[Factor, int] = {}  # trained numbers of each factor; of a bound method with a budget

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The method as an `adapter_config.json`, or a configuration's `to_dict()`, describes it.

        Raises:
            KeyError: an option is not there; those whose default is None may be absent.
            ConfigError, BasisError: a value out of range.
        """
        given = {}
        for name, default in cls.options():
            given[name] = config.get(name) if default is None else config[name]
            check_kind(name, given[name], default)
        return cls(**given)

    @classmethod
    def options(cls) -> tuple[tuple[str, Any], ...]:
        """Names of the fields and their defaults."""
        found = _OPTIONS.get(cls)
        if found is None:
            fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType] - subclasses are dataclasses
            found = _OPTIONS[cls] = tuple((field.name, field.default) for field in fields)
        return found

    def bind(self, sites: Sequence[Site]) -> Self:
        """This method with the knowledge of all modules that the adapter has, in whatever order.

        Raises:
            UnsupportedError, ConfigError: a module that the method cannot adapt.
        """
        bound = dataclasses.replace(self)  # pyright: ignore[reportArgumentType] - a dataclass; nothing cached comes along
        object.__setattr__(bound, "sites", tuple(sorted(sites, key=lambda site: site.path)))
        for site in bound.sites:
            bound.check_site(site)
        return bound

    def check_site(self, site: Site) -> None:
        """Raises UnsupportedError or ConfigError for a module that the method cannot adapt."""
        if site.grouped and not self.grouped:
            raise UnsupportedError(
                f"found a grouped convolution at {site.path!r}, which {self.name!r} cannot adapt; name other "
                "target_modules, or take nola"
            )

    # How many numbers, and where they are

    @abstractmethod
    def count(self, factor: Factor) -> int:
        """Trained numbers that are stored with one factor; 0 stores none. Of a bound method."""

    def uniform(self) -> dict[Role, int] | None:
        """`count` of each role where all modules have the same, which is known without binding; else None."""
        return None

    def owner(self, factor: Factor) -> Factor | None:
        """The factor whose numbers this one is also computed from, since modules share them; None where it takes its
        own alone. An owner is its own owner."""
        return None

    def start(self, factor: Factor) -> torch.Tensor | None:
        """The numbers at step 0, float32, from the portable basis; None is zero. # shape: (count,)"""
        return None

    # What they become

    def rank(self, site: Site) -> int:
        """Columns of lora_B and rows of lora_A; a dense method's is never asked for."""
        return site.rank

    def dims(self, factor: Factor) -> tuple[int, ...]:
        """The shape of the factor that is made: plain LoRA's with the method's own rank."""
        site = factor.site
        rank = site.outputs if self.dense else self.rank(site)
        if rank == site.rank:
            return factor.dims
        return (rank, *site.lora_A[1:]) if factor.role == "lora_A" else (site.outputs, rank, *site.lora_B[2:])

    def group(self, factor: Factor) -> Hashable:
        """Factors of equal group are made together: those that share numbers must be, others where that costs less."""
        return self.owner(factor) or factor

    def factors(
        self,
        numbers: Sequence[torch.Tensor],
        factors: Sequence[Factor],
        tied: torch.Tensor | None = None,
        frozen: Sequence[torch.Tensor | None] | None = None,
    ) -> Sequence[torch.Tensor]:
        """The factors of one group, made together, differentiable in the numbers.

        Args:
            numbers: the trained numbers of each factor. # shape of each: (count,)
            factors: of equal `group`.
            tied: the numbers of their owner, if they have one.
            frozen: what `frozen` made for each factor.

        Returns:
            Tensors of `dims` in float32, or float64 where the numbers are float64.
        """
        parts = frozen or [None] * len(factors)
        made = [
            self.factor(own, factor, tied, part)
            for own, factor, part in zip(numbers, factors, parts, strict=True)
        ]
        return [matrix.reshape(self.dims(factor)) for matrix, factor in zip(made, factors, strict=True)]

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        """One factor as a matrix: lora_A (rank, inputs), lora_B (outputs, rank), a dense update (outputs, inputs).
        A method overrides this, or `factors`."""
        raise NotImplementedError

    def apply(
        self,
        x: torch.Tensor,
        numbers: torch.Tensor,
        factor: Factor,
        tied: torch.Tensor | None,
        frozen: torch.Tensor | None,
    ) -> torch.Tensor:
        """`x lora_A^T lora_B^T`, or `x Delta^T`, without making them, where `fused`: of the numbers beside lora_A.

        Args:
            x: of the dtype that the result has; outside of autocast. # shape: (*batch, inputs)
            numbers, tied, frozen: in float32 at least, as for `factors`.

        Returns:
            # shape: (*batch, outputs)
        """
        raise NotImplementedError

    def integer_factors(self, numbers: Integers, factors: Sequence[Factor]) -> Sequence[torch.Tensor]:
        """The factors of one group from integers, where `exact`."""
        raise NotImplementedError

    # Frozen parts that the base's weight gives

    @property
    def calibration(self) -> Calibration | None:
        """What must be measured on data before training starts."""
        return None

    @property
    def stores_frozen(self) -> bool:
        """Whether the frozen parts are stored, because nothing could compute them again or it was asked."""
        return False

    @property
    def needs_weights(self) -> bool:
        """Whether an adapter cannot be expanded without its base's weights."""
        return self.from_weight and not self.stores_frozen

    def frozen_dims(self, factor: Factor) -> tuple[int, int] | None:
        """The shape of the frozen part, where it is stored."""
        return None

    def measured_dims(self, site: Site) -> tuple[int, ...] | None:
        """The shape of what calibration measures, where that is stored and the frozen parts are computed from it."""
        return None

    def frozen(
        self, site: Site, weight: torch.Tensor, measured: torch.Tensor | None = None
    ) -> dict[Role, torch.Tensor]:
        """The frozen parts of a module's factors, float32.

        Args:
            weight: the base's, as a matrix in float32. # shape: (outputs, inputs)
            measured: what calibration measured there: mean absolute inputs (inputs,), or the gradient of the weight.
        """
        raise NotImplementedError

    def calibrated_start(
        self, site: Site, measured: torch.Tensor, parts: Mapping[Role, torch.Tensor]
    ) -> dict[Role, torch.Tensor]:
        """The numbers at step 0 where calibration gives them; the roles that are absent keep `start`.

        Args:
            parts: what `frozen` made of the same measurement.
        """
        return {}

    @property
    def replaces_weights(self) -> bool:
        """Whether the update is the whole weight: the base's own weights and biases of the adapted layers count as
        zero, and its normalisation layers with running statistics are trained and stored with the adapter."""
        return False

    # For those who write methods

    def random(
        self,
        what: str,
        dims: tuple[int, ...],
        *,
        like: torch.Tensor,
        path: str | None = None,
        std: float | None = None,
    ) -> torch.Tensor:
        """Frozen random numbers of the portable basis: U(-1, 1) in 256 steps, or of standard deviation `std`.

        Args:
            what: their name, which is their stream's role; unique within the method.
            path: of the module whose own they are; None where all modules share them.
            like: gives the device, and float64 where it is that.
        """
        from nolakit import basis

        size = 1
        for length in dims:
            size *= length
        bound = 1.0 if std is None else std / ENTRY_STD
        made = basis.vector(
            size,
            seed=getattr(self, "seed", 0),
            stream=stream_number(what, path),
            bound=bound,
            device=like.device,
        )
        return made.to(like.dtype).reshape(dims)


_OPTIONS: dict[type[Method], tuple[tuple[str, Any], ...]] = {}
ENTRY_STD = ((2**16 - 1) / (3 * 2**16)) ** 0.5  # of the basis' entries
