"""A recipe: one row of a paper's table, as data that the library can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nolakit import methods
from nolakit.tasks.settings import TrainSettings

NOLA = "NOLA, arXiv 2310.02556"
PRANC = "PRANC, arXiv 2206.08464"
OWN = "this project"


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, how to measure it, and what was published.

    Args:
        setup: the set-up that several methods share, such as "gpt2-m-e2e".
        variant: what tells this recipe from others of the set-up: its name is `setup-variant`.
        paper: where the set-up comes from.
        model: the base's hub id, or the name of an architecture that is made fresh (`architectures`).
        data: the data set's hub id; "" where it must be given, as `data_note` says.
        task, method, options: as `TrainSettings`.
        settings: other fields of `TrainSettings`.
        prepare: how rows become the task's (`shaping.SHAPES`); None takes them as they are.
        evaluation: `kind`, "classes", "texts" or "mmlu", and its arguments (`scoring`).
        expected: published figures, in the names and units of the run's metrics.
        published_numbers: trained numbers as the paper counts them, head left out.
        shots: rows of each class to train on, drawn with the run's sample; None trains on all.
        runs: (sample, seed) of each run.
        data_note: where the data is, and what its files must look like.
        deviations: where the run differs from the paper's.
    """

    setup: str
    variant: str
    paper: str
    model: str
    data: str
    task: str
    method: str
    evaluation: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    prepare: str | None = None
    expected: Mapping[str, float] = field(default_factory=dict)
    published_numbers: int | None = None
    shots: int | None = None
    runs: tuple[tuple[int, int], ...] = ((0, 0),)
    data_note: str = ""
    deviations: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the recipe, as the command line takes it."""
        return f"{self.setup}-{self.variant}"

    def training(self, model: str, data: str, output: str, *, seed: int = 0) -> TrainSettings:
        """The settings of one run; the seed is the data's and the random basis'.

        Raises:
            ConfigError: a setting out of its range.
        """
        random = self.method in methods.names() and any(
            name == "seed" for name, _ in methods.method_class(self.method).options()
        )
        options = {**({"seed": seed} if random else {}), **self.options}
        return TrainSettings(
            task=self.task,
            model=model,
            data=data,
            output=output,
            method=self.method,
            options=options,
            data_seed=seed,
            **self.settings,
        )

    def changed(self, overrides: Mapping[str, Any]) -> Recipe:
        """The same with other settings; "options" and "evaluation" are merged into what is there."""
        given = dict(overrides)
        options = {**self.options, **given.pop("options", {})}
        evaluation = {**self.evaluation, **given.pop("evaluation", {})}
        return replace(
            self,
            options=options,
            evaluation=evaluation,
            shots=given.pop("shots", self.shots),
            method=given.pop("method", self.method),
            settings={**self.settings, **given},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"name": self.name, **asdict(self)}


def family(shared: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> list[Recipe]:
    """Recipes of one set-up: what they share, and by variant what each has of its own. `settings` and
    `deviations` are added to the shared ones."""
    made = []
    for variant, own in rows.items():
        settings = {**shared.get("settings", {}), **own.get("settings", {})}
        deviations = (*shared.get("deviations", ()), *own.get("deviations", ()))
        values: dict[str, Any] = {**shared, **own, "settings": settings, "deviations": deviations}
        made.append(Recipe(variant=variant, **values))
    return made
