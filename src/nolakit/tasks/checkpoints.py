"""Where a run keeps its checkpoints: beside its output, until the output is there.

out/trec                    the adapter, once it is whole
out/trec.checkpoints/       settings.json and checkpoint-<step>/, while it is trained
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers.trainer_utils import get_last_checkpoint

from nolakit.adapter.writing import check_free
from nolakit.errors import ConfigError, OutputExistsError
from nolakit.tasks.record import RECORD_NAME, Record, read_record
from nolakit.tasks.settings import FREE_ON_RESUME, TrainSettings

SETTINGS_NAME = "settings.json"


class Checkpoints:
    """The checkpoints of one output."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.output = Path(settings.output)
        self.folder = self.output.with_name(self.output.name + ".checkpoints")

    def last(self) -> str | None:
        """The newest checkpoint's folder, if there is one."""
        return get_last_checkpoint(str(self.folder)) if self.folder.is_dir() else None

    def finished(self) -> Record | None:
        """The record of a finished run of the same settings, if the user resumes and nothing is left to do.

        Raises:
            OutputExistsError: an output that is there and may not be replaced.
            ConfigError: resuming with other settings.
        """
        if self.settings.resume and self.last():
            self._check_same(json.loads((self.folder / SETTINGS_NAME).read_text(encoding="utf-8")))
            return None
        if self.settings.resume and (self.output / RECORD_NAME).is_file():
            record = read_record(self.output)
            self._check_same(record.settings, also=("epochs", "max_steps", "early_stopping"))
            return record
        check_free(self.output, overwrite=self.settings.overwrite)
        if self.last() and not self.settings.overwrite:
            raise OutputExistsError(
                f"found checkpoints of an interrupted run in {str(self.folder)!r}; go on from them (--resume), or "
                "start again (--overwrite)"
            )
        return None

    def open(self) -> str | None:
        """Make the folder; the checkpoint to go on from, if the user resumes and there is one."""
        last = self.last() if self.settings.resume else None
        if last is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.settings.to_dict(), indent=2)
        (self.folder / SETTINGS_NAME).write_text(text + "\n", encoding="utf-8")
        return last

    def close(self, *, failed: bool) -> None:
        """Remove the folder, but keep checkpoints that were asked for or that a failed run can go on from."""
        if self.last() is None or not (failed or self.settings.keep_checkpoints):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _check_same(self, before: dict[str, Any], also: tuple[str, ...] = ()) -> None:
        now = self.settings.to_dict()
        free = FREE_ON_RESUME - set(also)
        changed = [name for name in now if name not in free and now[name] != before.get(name)]
        if changed:
            name = changed[0]
            raise ConfigError(
                f"found {name}={now[name]!r}, where the run to resume had {before.get(name)!r}; resume with the same "
                "settings, or start again (--overwrite without --resume)"
            )
