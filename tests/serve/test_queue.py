"""Requests that wait, are cancelled, fail, or come too late; and what the others get meanwhile."""

from __future__ import annotations

import threading

import pytest
import torch

import nolakit
from nolakit import errors
from nolakit.serve import Engine, Observer, Sampling
from nolakit.serve.waiting import Waiting
from serve.conftest import VOCABULARY, tiny_llama
from serve.many_adapters import make_many, prompts

TEXT = prompts(1, VOCABULARY, 10)[0]
LONG = Sampling(max_new_tokens=50)


class Gate(Observer):
    """Holds the engine's thread at its next step."""

    def __init__(self) -> None:
        self.open, self.held = threading.Event(), threading.Event()

    def stepped(self, tokens: int, seconds: float) -> None:
        self.held.set()
        assert self.open.wait(60)


def test_a_full_queue_refuses_and_those_in_it_are_served(many):
    gate = Gate()
    with Engine(many.base, many.store, max_batch=1, max_queue=2, eos_token_ids=[], observer=gate) as engine:
        handles = [engine.submit(TEXT, None, LONG)]
        assert gate.held.wait(60)
        handles += [engine.submit(TEXT, None, LONG) for _ in range(2)]
        with pytest.raises(errors.QueueFullError, match="2 requests waiting"):
            engine.submit(TEXT, None, LONG)
        assert engine.stats().waiting == 2 and engine.stats().running == 1
        gate.open.set()
        assert len({tuple(handle.result(60).ids) for handle in handles}) == 1
        engine.submit(TEXT, None, LONG).result(60)


def test_generate_waits_for_room(many):
    with Engine(many.base, many.store, max_batch=2, max_queue=1, eos_token_ids=[]) as engine:
        found = engine.generate([TEXT] * 9, None, Sampling(max_new_tokens=3))
    assert len(found) == 9


def test_cancelled_requests_end_and_the_others_do_not_notice(many):
    gate = Gate()
    with Engine(many.base, many.store, max_batch=2, eos_token_ids=[], observer=gate) as engine:
        running = [engine.submit(TEXT, name, LONG) for name in many.names[:2]]
        assert gate.held.wait(60)
        waiting = [engine.submit(TEXT, name, LONG) for name in many.names[2:5]]
        running[0].cancel()
        waiting[1].cancel()
        gate.open.set()
        assert running[0].result(60).reason == "cancelled" and len(running[0].result().ids) < 50
        assert waiting[1].result(60) == nolakit.serve.Finished((), "cancelled")
        for number, handle in [(1, running[1]), (2, waiting[0]), (4, waiting[2])]:
            assert handle.result(60).ids == many.generate(TEXT, many.names[number], 50)
        assert engine.stats().waiting == 0 and all(slot.running == 0 for slot in engine.stats().slots)


def test_closing_ends_every_request_with_an_error(many):
    gate = Gate()
    engine = Engine(many.base, many.store, max_batch=1, eos_token_ids=[], observer=gate)
    handles = [engine.submit(TEXT, name, LONG) for name in (None, many.names[0])]
    assert gate.held.wait(60)
    gate.open.set()
    engine.close()
    for handle in handles:
        with pytest.raises(errors.EngineClosedError):
            handle.result(60)
    with pytest.raises(errors.EngineClosedError):
        engine.submit(TEXT)


def test_more_adapters_at_once_than_slots_are_all_served(many):
    """The batch has room for sixteen rows, but for two adapters at a time."""
    with Engine(many.base, many.store, slots=2, max_batch=16, eos_token_ids=[]) as engine:
        names = many.names[:12]
        got = engine.generate([TEXT] * 12, names, Sampling(max_new_tokens=6))
    assert [one.ids for one in got] == [many.generate(TEXT, name, 6) for name in names]


def test_one_that_waits_for_a_slot_is_overtaken_so_often_and_no_more():
    queue: Waiting[int] = Waiting(100, patience=3)
    for number in range(8):
        queue.put(number)
    taken = []

    def ready(number: int) -> bool:
        if number == 0:
            return False
        taken.append(number)
        return True

    queue.take(ready)
    assert taken == [1, 2, 3] and queue.items() == [0, 4, 5, 6, 7]
    queue.take(lambda number: True)
    assert queue.items() == []


@pytest.mark.parametrize("prompt", [[], [VOCABULARY], [-1], [1.5], ["1"], [3] * 64])
def test_prompts_that_the_model_cannot_read_are_refused(many, prompt):
    with Engine(many.base, many.store) as engine, pytest.raises(errors.RequestError):
        engine.submit(prompt)


@pytest.mark.parametrize("name, error", [
    ("nobody", errors.EntryNotFoundError), ("../etc/passwd", errors.StoreNameError), ("", errors.StoreNameError),
    ("team/task-0@9", errors.EntryNotFoundError), ("sha256:" + "0" * 64, errors.EntryNotFoundError),
    ("sha256:xy", errors.StoreNameError), ("team/task-0:best", errors.EntryNotFoundError),
    ("a" * 5000, errors.StoreNameError), ("sha256:" + "é" * 64, errors.StoreNameError),
])  # fmt: skip
def test_adapters_that_are_not_there_are_refused(many, name, error):
    with Engine(many.base, many.store) as engine, pytest.raises(error):
        engine.submit(TEXT, name)


def test_adapters_that_an_engine_cannot_take_are_refused_by_name(tmp_path):
    shared = {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    configs = [
        nolakit.RandLoraConfig(r=4, **shared),
        nolakit.NolaConfig(r=40, num_basis=4, **shared),
        nolakit.NolaConfig(r=2, num_basis=4, modules_to_save=["lm_head"], **shared),
    ]
    many = make_many(tiny_llama, configs, tmp_path)
    with Engine(many.base, many.store, max_rank=32) as engine:
        for name, said in zip(many.names, ["full rank|low rank", "rank 40", "lm_head"], strict=True):
            with pytest.raises(errors.UnsupportedError, match=said):
                engine.submit(TEXT, name)
        assert engine.stats().known == 0


def test_an_adapter_of_another_base_is_refused(many):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        other = type(many.base)(many.base.config).eval()
    with Engine(other, many.store) as engine, pytest.raises(errors.BaseMismatchError):
        engine.submit(TEXT, many.names[0])


def test_an_adapter_whose_numbers_overflow_harms_nobody_else(tmp_path):
    config = {"r": 2, "num_basis": 4, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}
    many = make_many(tiny_llama, [nolakit.NolaConfig(seed=seed, **config) for seed in range(3)], tmp_path)
    for key, parameter in many.peft[many.names[1]].named_parameters():
        if "coefficients" in key and "task-1" in key:
            parameter.data.fill_(1e25)
    many.peft[many.names[1]].save_pretrained(tmp_path)
    many.store.add("huge", tmp_path / many.names[1])
    with Engine(many.base, many.store, slots=3, max_batch=3, eos_token_ids=[]) as engine:
        names = [many.names[0], "huge", many.names[2]] * 3
        handles = [engine.submit(TEXT, name, Sampling(max_new_tokens=12)) for name in names]
        for name, handle in zip(names, handles, strict=True):
            if name == "huge":
                with pytest.raises(errors.AdapterError, match="huge"):
                    handle.result(60)
            else:
                assert handle.result(60).ids == many.generate(TEXT, name, 12)


def test_known_adapters_outlive_their_store(many, tmp_path):
    place = tmp_path / "copy.nola"
    names = many.names[:4]
    with nolakit.Store.create(place) as store:
        for name in names:
            store.add(name, many.folders[name])
    with Engine(many.base, place, slots=1, eos_token_ids=[]) as engine:
        digests = [engine.submit(TEXT, name, Sampling(max_new_tokens=3)).digest for name in names]
        place.write_bytes(b"")
        got = [engine.submit(TEXT, f"sha256:{digest}", Sampling(max_new_tokens=5)) for digest in digests]
        assert [one.result(60).ids for one in got] == [many.generate(TEXT, name, 5) for name in names]
        with pytest.raises(errors.StoreError):
            engine.submit(TEXT, many.names[9])


def test_a_new_version_is_served_at_once_and_a_forgotten_one_is_let_go(many, tmp_path):
    first, second = many.names[0], many.names[1]
    with (
        nolakit.Store.create(tmp_path / "copy.nola") as store,
        Engine(many.base, store, slots=2, eos_token_ids=[]) as engine,
    ):
        for name in (first, second):
            store.add(name, many.folders[name])
        before = engine.submit(TEXT, first, Sampling(max_new_tokens=5))
        assert before.result(60).ids == many.generate(TEXT, first, 5)
        store.add(first, many.folders[second])
        after = engine.submit(TEXT, first, Sampling(max_new_tokens=5)).result(60)
        assert after.ids == many.generate(TEXT, second, 5)
        assert engine.stats().known == 2
        engine.forget(before.digest)
        engine.generate([TEXT], [second], Sampling(max_new_tokens=1))
        assert engine.stats().known == 1
        assert [slot.digest for slot in engine.stats().slots if slot.digest] == [store.digest(second)]
        again = engine.submit(TEXT, f"{first}@1", Sampling(max_new_tokens=5)).result(60)
        assert again.ids == before.result().ids


def test_an_observer_that_raises_harms_no_request(many, caplog):
    class Broken(Observer):
        def first_token(self, seconds: float) -> None:
            raise RuntimeError("broken")

    with Engine(many.base, many.store, eos_token_ids=[], observer=Broken()) as engine:
        assert len(engine.submit(TEXT, None, Sampling(max_new_tokens=3)).result(60).ids) == 3
    assert "first_token failed" in caplog.text


def test_a_pinned_adapter_keeps_its_slot_until_it_is_let_go(many):
    with Engine(many.base, many.store, slots=3, max_batch=2, eos_token_ids=[]) as engine:
        pinned = [engine.pin(name) for name in many.names[:2]]
        with pytest.raises(errors.ConfigError, match="3 adapters to pin in 3 slots"):
            engine.pin(many.names[2])
        with pytest.raises(errors.EntryNotFoundError):
            engine.pin("nobody")

        def others(names: list[str]) -> set[str | None]:
            got = engine.generate([TEXT] * len(names), names, Sampling(max_new_tokens=4))
            assert [one.ids for one in got] == [many.generate(TEXT, name, 4) for name in names]
            return {slot.digest for slot in engine.stats().slots}

        assert set(pinned) <= others(many.names[2:9])
        assert [slot.pinned for slot in engine.stats().slots].count(True) == 2
        hits = engine.stats().hits
        others(many.names[:2])
        assert engine.stats().hits == hits + 2
        engine.unpin(pinned[0])
        assert pinned[0] not in others(many.names[10:15]) and pinned[1] in others(many.names[10:15])
        engine.forget(pinned[1])
        assert pinned[1] not in others(many.names[15:17])
