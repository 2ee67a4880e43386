"""Imports point one way: each layer may use those above it in this table, never those below.

ARCHITECTURE.md draws the same line.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "nolakit"
LAYERS = [
    "errors",
    "basis",
    "methods",
    "adapter",
    "export",
    "store",
    "tuner",
    "hook",
    "startup",
    "tasks",
    "cli",
]
THIRD_PARTY = {  # package -> the only places that may import it
    "numba": {"basis/cpu_kernels.py", "basis/compiling.py"},
    "triton": {"basis/gpu.py"},
    "peft": {"tuner", "tasks"},
    "transformers": {"tasks"},
    "datasets": {"tasks"},
    "huggingface_hub": {"export/base_files.py", "export/merged.py"},
    "gguf": {"export/gguf.py"},
    "fsspec": {"store/remote.py"},
    "typer": {"cli"},
    "rich": {"cli"},
}
LAZY_FACADE = "__init__.py"  # the package's own names, loaded on first use


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).as_posix() != LAZY_FACADE)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer_of(name: str) -> int:
    return LAYERS.index(name.split(".")[0].removesuffix(".py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_module_imports_only_layers_before_its_own(path):
    own = layer_of(path.relative_to(SOURCE).parts[0])
    for name in imported(path):
        if name.startswith("nolakit."):
            part = name.removeprefix("nolakit.").split(".")[0]
            if part in LAYERS:
                assert layer_of(part) <= own, f"{path.relative_to(SOURCE)} imports {name}, a later layer"


@pytest.mark.parametrize("package, places", THIRD_PARTY.items())
def test_a_dependency_is_imported_only_where_it_belongs(package, places):
    for path in modules():
        relative = path.relative_to(SOURCE).as_posix()
        if any(name == package or name.startswith(package + ".") for name in imported(path)):
            assert relative in places or relative.split("/")[0] in places, f"{relative} imports {package}"


@pytest.mark.parametrize("code, absent", [
    ("import nolakit", "torch transformers peft numpy numba"),
    ("import nolakit.basis, nolakit.methods", "torch transformers peft"),
    ("import nolakit; nolakit.basis.combine", "transformers peft triton"),
    ("import nolakit.adapter.inspect", "torch transformers peft"),
    ("import nolakit.export.lora", "transformers peft huggingface_hub gguf"),
    ("import nolakit.export.merged", "transformers peft gguf"),
    ("import nolakit.export.gguf", "transformers peft gguf"),
    ("import nolakit.export.official", "transformers peft huggingface_hub gguf"),
    ("import nolakit.store.store", "torch transformers peft fsspec numpy"),
    ("import nolakit; nolakit.Store", "torch transformers peft fsspec"),
    ("import nolakit.cli.app", "torch transformers peft datasets"),
])  # fmt: skip
def test_importing_a_layer_does_not_import_a_later_ones_packages(code, absent):
    check = f"import sys\n{code}\nprint(*(set({absent.split()!r}) & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []


UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BANNED_CALLS = {"torch.load", "np.load", "numpy.load", "torch.manual_seed", "np.random.seed", "random.seed"}


def test_nothing_unpickles_and_nothing_seeds_globally():
    for path in modules():
        relative = path.relative_to(SOURCE)
        assert not UNPICKLERS & {name.partition(".")[0] for name in imported(path)}, (
            f"{relative} imports an unpickler"
        )
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                own = called.startswith("torch.Generator(")  # a generator of one's own
                assert called not in BANNED_CALLS, f"{relative} calls {called}"
                assert own or not called.endswith((".manual_seed", ".manual_seed_all")), (
                    f"{relative} calls {called}"
                )
