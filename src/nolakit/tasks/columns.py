"""Which columns of a data set hold what: named, or found by their usual names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

from nolakit.errors import DataError
from nolakit.tasks.nearest import nearest

USUAL_NAMES = {
    "text": ("text", "sentence", "content", "document", "question", "review", "body"),
    "label": ("label", "labels", "class", "category", "target", "coarse_label", "fine_label"),
    "prompt": ("prompt", "instruction", "input", "source"),
    "completion": ("completion", "response", "output", "answer", "target"),
    "image": ("image", "img", "picture"),
}


class ColumnNames(Protocol):
    """The columns that somebody named; None is to be found. `TrainSettings` is one."""

    @property
    def text_column(self) -> str | None: ...
    @property
    def label_column(self) -> str | None: ...
    @property
    def prompt_column(self) -> str | None: ...
    @property
    def completion_column(self) -> str | None: ...


@dataclass(frozen=True)
class Columns:
    """The columns that a task reads. A language model reads `text`, or `prompt` and `completion`."""

    text_column: str | None = None
    label_column: str | None = None
    prompt_column: str | None = None
    completion_column: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """Plain values, for JSON."""
        return asdict(self)


def find_columns(names: ColumnNames, task: str, present: list[str]) -> Columns:
    """The columns of a task among those that are present.

    Raises:
        DataError: a named column that is not there, or none of the usual names.
    """
    if task == "causal-lm":
        return _language_columns(names, present)
    content = "image" if task == "image-classification" else "text"
    return Columns(
        text_column=_find(content, names.text_column, present),
        label_column=_find("label", names.label_column, present),
    )


def _language_columns(names: ColumnNames, present: list[str]) -> Columns:
    if names.text_column:
        return Columns(text_column=_find("text", names.text_column, present))
    named_pair = names.prompt_column or names.completion_column
    prompt = _find("prompt", names.prompt_column, present, needed=bool(named_pair))
    completion = _find("completion", names.completion_column, present, needed=bool(named_pair))
    if prompt and completion and prompt != completion:
        return Columns(prompt_column=prompt, completion_column=completion)
    return Columns(text_column=_find("text", None, present, also="or prompt and completion columns "))


def _find(
    role: str, named: str | None, present: list[str], *, needed: bool = True, also: str = ""
) -> str | None:
    if named is not None:
        if named not in present:
            raise DataError(
                f"found no column {named!r}; the data has {_listed(present)}; {nearest(named, present)}"
            )
        return named
    usual = next((name for name in USUAL_NAMES[role] if name in present), None)
    if usual is None and needed:
        option = "text" if role == "image" else role
        raise DataError(
            f"found no {role} column {also}among {_listed(present)}; expected one called "
            f"{' or '.join(USUAL_NAMES[role][:3])}; name yours with --{option}-column"
        )
    return usual


def _listed(present: list[str]) -> str:
    return ", ".join(map(repr, present)) or "no columns"
