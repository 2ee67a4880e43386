"""The command line, called in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from nolakit.cli.app import app

WIDE = {"COLUMNS": "200"}


@dataclass
class Outcome:
    """What a shell would see."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        assert self.code == 0, self.stderr
        return json.loads(self.stdout)


def run(*arguments: object) -> Outcome:
    found = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="nolakit", env=WIDE)
    return Outcome(found.exit_code, found.stdout, found.stderr)


@dataclass(frozen=True)
class Place:
    """Bases, data and adapters."""

    bert: str
    llama: str
    other_llama: str
    classified: str
    pairs: str
    classifier: str
    writer: str
    trained: dict[str, Any]
