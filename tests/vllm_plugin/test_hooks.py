"""Loading without files, between classes that look like vLLM's."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import nolakit
from nolakit.errors import (
    AdapterError,
    ConfigError,
    EntryNotFoundError,
    StoreDamagedError,
    StoreNotFoundError,
    UnsupportedError,
)
from nolakit.vllm import held, hooks, offline, plugin
from nolakit.vllm.resolver import Resolver
from nolakit.vllm.settings import Settings, settings_from
from nolakit.vllm.virtual_path import VirtualPath

MODULES = {"q_proj", "up_proj"}


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(held, "_held", {})


def settings(served, **changes) -> Settings:
    return Settings(**({"store": served.path, "base": None, "folder": None, "updating": True} | changes))


def load(vllm, path: str, modules: set[str] = MODULES, **options):
    """As vLLM's worker loads."""
    helper = vllm["vllm.lora.peft_helper"].PEFTHelper.from_local_dir(path, 64)
    model = vllm["vllm.lora.lora_model"].LoRAModel
    return helper, model.from_local_checkpoint(path, modules, peft_helper=helper, **options)


@pytest.mark.parametrize(
    "method, options", [("nola", {"num_basis": 8}), ("melora", {"r": 2}), ("vera", {"use_rslora": True})]
)
def test_a_virtual_path_loads_what_the_exported_folder_holds(
    vllm, served, adapters, tmp_path, method, options
):
    folder = adapters(method, **options)
    digest = served.store.add("c", folder).digest
    nolakit.export_lora(folder, tmp_path / "exported")
    hooks.wrap_loading()
    hooks.wrap_loading()
    helper, model = load(vllm, str(VirtualPath(served.path, digest, "c")), lora_model_id=3, device="cpu")
    expected = json.loads((tmp_path / "exported" / "adapter_config.json").read_text())
    assert {**expected, "vllm_max_position_embeddings": 64} == json.loads(json.dumps(helper.config))
    tensors = load_file(tmp_path / "exported" / "adapter_model.safetensors")
    assert model.made["tensors"].keys() == tensors.keys()
    assert all(torch.equal(model.made["tensors"][name], value) for name, value in tensors.items())
    assert (model.made["id"], model.made["device"]) == (3, "cpu")


def test_a_folder_goes_where_it_went(vllm):
    hooks.wrap_loading()
    helper, model = load(vllm, "/data/adapter", lora_model_id=5)
    assert helper.config == {"folder": "/data/adapter", "positions": 64}
    assert model.made == {"folder": "/data/adapter", "expected": MODULES, "id": 5}


def test_what_was_loaded_needs_the_store_no_more(vllm, served):
    hooks.wrap_loading()
    path = str(VirtualPath(served.path, served.store.digest("a"), "a"))
    _, first = load(vllm, path)
    for end in ("", "-wal", "-shm"):
        served.path.with_name(served.path.name + end).unlink(missing_ok=True)
    _, again = load(vllm, path)
    assert all(
        torch.equal(again.made["tensors"][name], value) for name, value in first.made["tensors"].items()
    )
    other = VirtualPath(served.path, served.store.digest("team/b"), "team/b")
    with pytest.raises(StoreNotFoundError):
        load(vllm, str(other))


def test_what_the_worker_finds_wrong_is_an_error_of_that_adapter(vllm, served, corrupted):
    hooks.wrap_loading()
    digest = served.store.digest("a")
    with pytest.raises(EntryNotFoundError):
        load(vllm, str(VirtualPath(served.path, "0" * 64, "a")))
    with pytest.raises(AdapterError, match="expected /nola:"):
        load(vllm, "/nola:/somewhere")
    with pytest.raises(UnsupportedError, match=r"up_proj.*one of 1"):
        load(vllm, str(VirtualPath(served.path, digest, "a")), {"q_proj"})
    corrupted()
    held._held.clear()
    with pytest.raises(StoreDamagedError):
        load(vllm, str(VirtualPath(served.path, digest, "a")))


def test_the_resolver_answers_with_a_request(vllm, served):
    config = vllm["vllm.config.lora"].LoRAConfig
    resolver = plugin.install(settings(served))
    plugin.install(settings(served)).release()
    (registered,) = vllm["vllm.lora.resolver"].LoRAResolverRegistry.resolvers.values()
    config(8)
    request = asyncio.run(registered.resolve_lora(str(served.base), "a"))
    assert (request.lora_name, request.lora_path) == ("a", resolver.answer(str(served.base), "a").path)
    assert asyncio.run(registered.resolve_lora(str(served.base), "c")) is None
    resolver.release()


def test_the_limit_on_ranks_is_noted(vllm, served):
    hooks.watch_rank()
    hooks.watch_rank()
    assert hooks.max_lora_rank() is None
    vllm["vllm.config.lora"].LoRAConfig(max_lora_rank=2)
    assert hooks._ranks == [2]
    with pytest.raises(UnsupportedError, match="the engine takes 2"):
        Resolver(served.path, max_rank=hooks.max_lora_rank).answer(str(served.base), "a")


def test_this_vllm_is_as_it_was(vllm):
    assert hooks.check(hooks.LOADING) == hooks.check(hooks.RESOLVING) == []
    hooks.wrap_loading()
    hooks.watch_rank()
    assert hooks.check(hooks.LOADING) == hooks.check(hooks.RESOLVING) == []


def moved_parameter(vllm):
    def from_local_dir(cls, lora_path, max_position_embeddings, revision=None): ...

    vllm["vllm.lora.peft_helper"].PEFTHelper.from_local_dir = classmethod(from_local_dir)


def moved_class(vllm):
    del vllm["vllm.lora.lora_model"].LoRAModel


@pytest.mark.parametrize(
    "change, said", [(moved_parameter, "revision"), (moved_class, "no attribute 'LoRAModel'")]
)
def test_where_loading_moved_folders_are_used_and_said(vllm, served, change, said, caplog, tmp_path):
    change(vllm)
    with caplog.at_level(logging.WARNING, "vllm.nolakit"):
        resolver = plugin.install(settings(served, folder=tmp_path / "folders"))
    assert said in caplog.text and "Update nolakit" in caplog.text
    folder = resolver.answer(str(served.base), "a").path
    assert folder.startswith(str(tmp_path / "folders")) and folder.endswith(served.store.digest("a"))
    assert resolver.answer(str(served.base), "a").path == folder
    assert not hasattr(vllm["vllm.lora.peft_helper"].PEFTHelper.from_local_dir, "__nolakit__")
    resolver.release()


def test_where_resolving_moved_the_start_fails(vllm, served):
    vllm["vllm.lora.resolver"].LoRAResolver.resolve_lora = lambda self, lora_name: None
    with pytest.raises(UnsupportedError, match=r"resolve_lora takes \(self, lora_name\)"):
        plugin.install(settings(served))


def test_a_start_without_a_store_fails(vllm, served, tmp_path):
    with pytest.raises(StoreNotFoundError, match="NOLAKIT_STORE"):
        plugin.install(settings(served, store=tmp_path / "none.nola"))


def test_a_server_that_will_not_ask_is_warned_of(vllm, served, caplog):
    with caplog.at_level(logging.WARNING, "vllm.nolakit"):
        plugin.install(settings(served, updating=False))
        assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING is not set" in caplog.text


def test_settings():
    assert settings_from({}) is None and settings_from({"NOLAKIT_STORE": " "}) is None
    found = settings_from({"NOLAKIT_STORE": "/s.nola", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"})
    assert found is not None and found.updating and found.store.is_absolute() and found.folder is None
    relative = settings_from(
        {"NOLAKIT_STORE": "s.nola", "NOLAKIT_VLLM_FOLDER": "f", "NOLAKIT_VLLM_BASE": "b"}
    )
    assert relative is not None and relative.store.is_absolute() and relative.folder and relative.base == "b"
    assert not relative.updating


def test_without_a_store_nothing_is_imported(monkeypatch):
    monkeypatch.delenv("NOLAKIT_STORE", raising=False)
    code = (
        "import sys; from nolakit.vllm.plugin import register; register(); "
        "print(*({'torch', 'vllm', 'sqlite3', 'numpy'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "\n"
    )


class OneProcess:
    """What `vllm.LLM` shows of itself."""

    def __init__(self, base) -> None:
        self.added = []
        self.llm_engine = SimpleNamespace(
            model_config=SimpleNamespace(model=str(base)), add_lora=self.added.append
        )


def test_without_a_server_an_adapter_is_loaded_once_for_each_content(vllm, served, adapters, monkeypatch):
    monkeypatch.setenv("NOLAKIT_STORE", str(served.path))
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    monkeypatch.setattr(offline, "_resolvers", [])
    llm = OneProcess(served.base)
    first = offline.lora_request(llm, "a")
    assert offline.lora_request(llm, "a") is first and llm.added == [first]
    served.store.add("a", adapters(num_basis=8, seed=3))
    second = offline.lora_request(llm, "a")
    assert len({(one.lora_name, one.lora_int_id, one.lora_path) for one in (first, second)}) == 2
    assert first.lora_name != second.lora_name and first.lora_int_id != second.lora_int_id
    with pytest.raises(EntryNotFoundError):
        offline.lora_request(llm, "c")
    offline._resolvers[0].release()


def test_without_a_server_and_without_a_store(vllm, served, monkeypatch):
    monkeypatch.delenv("NOLAKIT_STORE", raising=False)
    monkeypatch.setattr(offline, "_resolvers", [])
    with pytest.raises(ConfigError, match="NOLAKIT_STORE"):
        offline.lora_request(OneProcess(served.base), "a")
