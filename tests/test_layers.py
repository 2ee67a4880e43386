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
    "testing",
    "serve",
    "http",
    "vllm",
    "tasks",
    "bench",
    "cli",
]
THIRD_PARTY = {  # package -> the only places that may import it
    "numba": {"basis/cpu_kernels.py", "basis/compiling.py"},
    "triton": {"basis/gpu.py"},
    "peft": {"tuner", "testing", "tasks", "bench"},
    "transformers": {"testing/bases.py", "serve", "tasks", "bench"},
    "bitsandbytes": {"testing/quantized.py"},
    "datasets": {"tasks", "bench"},
    "matplotlib": {"bench"},
    "sacrebleu": {"bench/text_scores.py"},
    "nltk": {"bench/text_scores.py"},
    "pycocoevalcap": {"bench/text_scores.py"},
    "lm_eval": {"bench"},
    "huggingface_hub": {"export/base_files.py", "export/merged.py"},
    "gguf": {"export/gguf.py"},
    "fsspec": {"store/remote.py"},
    "fastapi": {"http"},
    "uvicorn": {"http"},
    "starlette": {"http"},
    "pydantic": {"http"},
    "limits": {"http"},
    "prometheus_client": {"http"},
    "vllm": {"vllm"},
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
    ("import nolakit.vllm.plugin", "torch transformers peft numpy vllm"),
    ("import nolakit.vllm.hooks, nolakit.vllm.resolver, nolakit.vllm.folders", "transformers peft vllm"),
    ("import nolakit.testing", "pytest datasets"),
    ("import nolakit; nolakit.serve", "torch transformers peft"),
    ("import nolakit.serve.engine, nolakit.serve.encoders", "peft fastapi datasets"),
    ("import nolakit.cli.app", "torch transformers peft datasets"),
])  # fmt: skip
def test_importing_a_layer_does_not_import_a_later_ones_packages(code, absent):
    check = f"import sys\n{code}\nprint(*(set({absent.split()!r}) & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []


UNPICKLERS = {
    "pickle", "_pickle", "cPickle", "pickle5", "pickletools", "dill", "cloudpickle", "joblib", "shelve", "marshal",
    "jsonpickle", "hickle",
}  # fmt: skip
BANNED_CALLS = {"torch.manual_seed", "np.random.seed", "random.seed"}
BANNED_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNPICKLING = {  # attribute or imported name -> what it must be of
    "load": {"torch", "np", "numpy", "yaml"},
    "load_all": {"yaml"},
    "unsafe_load": {"yaml"},
    "full_load": {"yaml"},
    "read_pickle": {"pd", "pandas"},
    "load_state_dict_from_url": {"hub", "torch.hub"},
}


def forbidden(tree: ast.AST) -> list[str]:
    """What in a module unpickles, runs text, or seeds for everyone."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNPICKLERS]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [alias.name for alias in node.names]
            found += [module] if module.partition(".")[0] in UNPICKLERS else []
            found += [f"{module}.{name}" for name in names if module in UNPICKLING.get(name, ())]
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            found += [f"{owner}.{node.attr}"] if owner in UNPICKLING.get(node.attr, ()) else []
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            own = called.startswith("torch.Generator(")  # a generator of one's own
            seeds = called.endswith((".manual_seed", ".manual_seed_all")) and not own
            found += [called] if called in BANNED_CALLS | BANNED_BUILTINS or seeds else []
            found += [
                f"{called}(allow_pickle)"
                for word in node.keywords
                if word.arg == "allow_pickle"
                and not (isinstance(word.value, ast.Constant) and word.value.value is False)
            ]
            imports = (
                called.endswith("import_module") and node.args and isinstance(node.args[0], ast.Constant)
            )
            found += (
                [called]
                if imports and str(getattr(node.args[0], "value", "")).partition(".")[0] in UNPICKLERS
                else []
            )
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_nothing_unpickles_runs_text_or_seeds_globally(path):
    assert forbidden(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("code", [
    "import pickle", "import os, dill as d", "from _pickle import loads", "import cPickle",
    "import joblib.numpy_pickle",
    "from shelve import open as o", "def f():\n    import marshal", "torch.load(p)", "torch.load(p, weights_only=True)",
    "from torch import load", "f = torch.load", "np.load(p)", "numpy.load(p)",
    "numpy.lib.format.read_array(f, allow_pickle=True)",
    "read_array(f, allow_pickle=x)", "yaml.load(t, yaml.SafeLoader)", "from yaml import unsafe_load",
    "pd.read_pickle(p)",
    "from pandas import read_pickle", "eval(t)", "exec(t)", "compile(t, 'f', 'exec')", "__import__('pickle')",
    "importlib.import_module('dill')", "torch.manual_seed(0)", "torch.cuda.manual_seed_all(0)", "random.seed(0)",
    "torch.hub.load_state_dict_from_url(u)",
])  # fmt: skip
def test_what_would_unpickle_is_seen(code):
    assert forbidden(ast.parse(code)) != []


@pytest.mark.parametrize("code", [
    "import re\nre.compile('a')", "torch.compile(f)", "model.eval()", "yaml.safe_load(t)", "json.load(f)",
    "self.load()",
    "torch.Generator('cpu').manual_seed(0)", "np.lib.format.read_array(f, allow_pickle=False)", "nolakit.load(m, p)",
])  # fmt: skip
def test_what_only_looks_so_is_left_alone(code):
    assert forbidden(ast.parse(code)) == []
