"""What a command imports, its help, and the console script in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nolakit.cli.failures import ExitCode
from shell import Place, run

COMMANDS = [
    "train",
    "evaluate",
    "generate",
    "inspect",
    "count",
    "merge",
    "export",
    "import-official",
    "pack",
    "unpack",
    "serve",
    "serve-key",
    "hook",
]
DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"

SPY = """
import sys
from nolakit.cli.app import app
try:
    app(sys.argv[2:])
except SystemExit as end:
    code = end.code
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"imported {loaded}" if loaded else code)
"""


def spawn(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("unwanted", "arguments"),
    [
        ("torch,transformers,peft,datasets,numba", ["--help"]),
        ("torch,transformers,peft,datasets,numba", ["train", "--help"]),
        ("torch,transformers,peft,datasets,numba", ["hook", "status"]),
        ("torch,transformers,peft,datasets,numba", ["inspect", "WRITER"]),
        ("transformers,peft,datasets,huggingface_hub", ["export", "WRITER", "-o", "OUT"]),
        ("transformers,peft,datasets", ["export", "WRITER", "-o", "OUT", "--to", "merged"]),
        ("transformers,peft,datasets", ["export", "WRITER", "-o", "OUT", "--to", "gguf"]),
    ],
)
def test_commands_import_only_what_they_need(
    place: Place, tmp_path: Path, unwanted: str, arguments: list[str]
) -> None:
    names = {"WRITER": place.writer, "OUT": str(tmp_path / "out")}
    found = spawn("-c", SPY, unwanted, *(names.get(argument, argument) for argument in arguments))
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_has_an_example_that_parses(command: str) -> None:
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", run(command, "--help").stdout).split())
    example = re.search(rf"Example: nolakit {command} [^│]+", shown)
    assert example, shown
    options = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", example[0]))
    every = shown + (run("hook", "status", "--help").stdout if command == "hook" else "")
    assert all(every.count(option) > 1 for option in options), (options, shown)


def test_the_exit_codes_are_documented() -> None:
    shown = " ".join(run("--help").stdout.split())
    document = DOCUMENT.read_text()
    for code in ExitCode:
        assert re.search(rf"\b{int(code)} \w", shown), code
        assert re.search(rf"^\| {int(code)} \|", document, re.M), code
    for command in COMMANDS:
        assert f"## nolakit {command}" in document


def test_every_option_is_documented() -> None:
    common, *sections = re.split(r"\n## nolakit ", DOCUMENT.read_text())
    by_command = {section.partition("\n")[0]: section for section in sections}
    for command in COMMANDS[:-1]:
        shown = run(command, "--help").stdout
        options = set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help"}
        assert len(options) > 1, command
        missing = [option for option in options if option not in common + by_command[command]]
        assert not missing, (command, missing)


def test_the_console_script_prints_only_its_result(place: Place) -> None:
    script = Path(sys.executable).with_name("nolakit")
    found = subprocess.run(
        [script, "evaluate", place.writer, "--data", place.pairs, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("{")
    assert "Failed to load" not in found.stderr
    assert "pytree" not in found.stderr
    wrong = subprocess.run([script, "inspect", "none"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (3, "")
    debug = subprocess.run(
        [script, "--debug", "inspect", "none"], capture_output=True, text=True, check=False
    )
    assert debug.returncode == 1
    assert "AdapterNotFoundError" in debug.stderr
