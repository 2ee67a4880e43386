"""`training.json`: how an adapter was trained, and what evaluating it needs besides its base."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nolakit.adapter.files import CONFIG_NAME, RECORD_NAME, open_adapter
from nolakit.adapter.json_text import read_object
from nolakit.errors import AdapterError, AdapterNotFoundError

FORMAT = 1
TASK_OF_TYPE = {"CAUSAL_LM": "causal-lm", "SEQ_CLS": "text-classification"}


@dataclass
class Record:
    """The content of `training.json`. Paths are as the user gave them."""

    settings: dict[str, Any]
    columns: dict[str, str | None]
    labels: list[str] | None
    max_length: int
    metrics: dict[str, float] = field(default_factory=dict)
    trained: int = 0
    trained_head: int = 0
    seconds: float = 0.0
    steps: int = 0
    best_step: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def task(self) -> str:
        """The task that the adapter was trained on."""
        return self.settings["task"]

    def write(self, folder: Path) -> None:
        """Write `training.json` into a folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / RECORD_NAME).write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> Record:
    """The record of an adapter or a model folder, or of a packed file. For an adapter that another program
    trained, what its configuration and its head say.

    Raises:
        AdapterNotFoundError: no such folder or file, or neither a record nor an adapter in it.
        AdapterError: a record that cannot be read, or a task that cannot be told.
    """
    if path.is_file():
        values = open_adapter(path).record
    else:
        values = read_object(path / RECORD_NAME) if (path / RECORD_NAME).is_file() else None
    if values is None:
        return _foreign_record(path)
    try:
        if values["format"] != FORMAT:
            raise AdapterError(
                f"found a record in {str(path)!r} of format {values['format']}; expected {FORMAT}: update nolakit"
            )
        record = Record(**values)
        _ = record.settings["task"]
        return record
    except (KeyError, TypeError) as error:
        raise AdapterError(
            f"found {RECORD_NAME} in {str(path)!r}, which is not a whole record of a training: {error}"
        ) from error


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter, or the path is a packed file, rather than a whole model."""
    return path.is_file() or (path / CONFIG_NAME).is_file()


def versions() -> dict[str, str]:
    """Versions of what takes part in a training."""
    packages = ("nolakit", "peft", "transformers", "torch")
    return {**{name: version(name) for name in packages}, "python": platform.python_version()}


def _foreign_record(folder: Path) -> Record:
    if not is_adapter(folder) and (folder / "config.json").is_file():
        raise AdapterNotFoundError(
            f"found a model without {RECORD_NAME} in {str(folder)!r}; expected an adapter folder, or a model that "
            "nolakit trained or merged"
        )
    adapter = open_adapter(folder)
    task = TASK_OF_TYPE.get(str(adapter.config.get("task_type")))
    if task is None:
        raise AdapterError(
            f"found no {RECORD_NAME} in {str(folder)!r}, and the configuration's task_type is "
            f"{adapter.config.get('task_type')!r}; expected {' or '.join(TASK_OF_TYPE)}, or a folder that "
            "`nolakit train` wrote"
        )
    return Record(
        settings={"task": task, "model": adapter.config.get("base_model_name_or_path")},
        columns={},
        labels=_head_labels(adapter.tensors) if task == "text-classification" else None,
        max_length=512,
    )


def _head_labels(tensors: dict[str, Any]) -> list[str]:
    heads = [
        info.shape[0]
        for key, info in tensors.items()
        if key.endswith(("classifier.weight", "score.weight")) and info.shape
    ]
    if not heads:
        raise AdapterError(
            "found a classifier's adapter without a saved head; expected classifier or score in it"
        )
    return [str(number) for number in range(heads[-1])]
