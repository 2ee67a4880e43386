"""An engine's tokens are PEFT's, whatever else is in the batch."""

from __future__ import annotations

import random

import pytest
import torch

from nolakit import errors
from nolakit.serve import Engine, Sampling
from nolakit.serve.mixing import MixedModule
from serve.conftest import VOCABULARY
from serve.many_adapters import prompts

NO_END = {"eos_token_ids": []}


@pytest.mark.parametrize("slots, max_batch", [(16, 16), (3, 5), (64, 24)])
def test_tokens_are_pefts_in_any_mixture_and_across_evictions(many, slots, max_batch):
    """Each of 64 adapters and the base, three prompts each, in random order."""
    names = [*many.names, None] * 3
    random.Random(slots).shuffle(names)
    texts = prompts(len(names), VOCABULARY, 24, seed=slots)
    with Engine(many.base, many.store, slots=slots, max_batch=max_batch, **NO_END) as engine:
        got = engine.generate(texts, names, Sampling(max_new_tokens=12))
        stats = engine.stats()
    wrong = [
        name
        for name, text, finished in zip(names, texts, got, strict=True)
        if finished.ids != many.generate(text, name, 12)
    ]
    assert wrong == []
    assert stats.evictions >= 64 - slots and stats.hits + stats.misses == 192 and stats.known == 64
    assert len({tuple(finished.ids) for finished in got}) > 150  # adapters do differ


def test_an_adapter_alone_and_the_base_alone_are_as_in_peft(many):
    with Engine(many.base, many.store, slots=1, max_batch=1, **NO_END) as engine:
        for name in (None, many.names[0], many.names[5], many.names[6]):
            (text,) = prompts(1, VOCABULARY, 20, seed=9)
            (finished,) = engine.generate([text], [name], Sampling(max_new_tokens=20))
            assert finished.ids == many.generate(text, name, 20) and finished.reason == "length"


def test_requests_join_and_leave_while_others_run(many):
    """Prompts longer than all that ran before, and lengths that end at different steps."""
    lengths = [3, 30, 1, 17, 9, 25, 2, 12]
    texts = [prompts(1, VOCABULARY, 1, seed=n)[0] * length for n, length in enumerate(lengths)]
    with Engine(many.base, many.store, slots=4, max_batch=3, **NO_END) as engine:
        handles = []
        for number, text in enumerate(texts):
            handles.append(engine.submit(text, many.names[number], Sampling(max_new_tokens=5 + 3 * number)))
            if number % 3 == 2:
                next(iter(handles[-1]))  # it has begun
        found = [handle.result(60).ids for handle in handles]
    assert found == [
        many.generate(text, many.names[number], 5 + 3 * number) for number, text in enumerate(texts)
    ]


def test_an_end_token_ends_a_request_and_is_not_given(many):
    (text,) = prompts(1, VOCABULARY, 8)
    full = many.generate(text, many.names[1], 16)
    end = full[6]
    with Engine(many.base, many.store, eos_token_ids=[end]) as engine:
        stopped = engine.submit(text, many.names[1], Sampling(max_new_tokens=16)).result(60)
        ignored = engine.submit(text, many.names[1], Sampling(max_new_tokens=16, ignore_eos=True)).result(60)
    assert stopped.ids == full[: full.index(end)] and stopped.reason == "stop"
    assert ignored.ids == full and ignored.reason == "length"


def test_the_context_ends_a_request(many):
    (text,) = prompts(1, VOCABULARY, 1)
    with Engine(many.base, many.store, max_length=12, **NO_END) as engine:
        finished = engine.submit(text * 10, None, Sampling(max_new_tokens=50)).result(60)
        assert len(finished.ids) == 2 and finished.reason == "length"
        with pytest.raises(errors.RequestError, match="12 tokens; expected 1 to 11"):
            engine.submit(text * 12)


@pytest.mark.parametrize("options", [
    {"temperature": 0.7}, {"temperature": 1.0, "top_k": 5}, {"temperature": 1.3, "top_p": 0.8},
    {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.4},
    {"temperature": 0.9, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
])  # fmt: skip
def test_sampling_is_what_generate_does_after_the_same_seed(many, options):
    text, *others = prompts(4, VOCABULARY, 10, seed=4)
    with Engine(many.base, many.store, **NO_END) as engine:
        for other in others:  # beside requests that sample too
            engine.submit(other, many.names[3], Sampling(temperature=2.0, seed=1))
        handle = engine.submit(text, many.names[2], Sampling(max_new_tokens=15, seed=11, **options))
        got = handle.result(60).ids
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(11)
        settings = {"top_k": 0, "top_p": 1.0, **options}
        assert got == many.generate(text, many.names[2], 15, do_sample=True, **settings)


def test_a_greedy_repetition_penalty_is_what_generate_does(many):
    (text,) = prompts(1, VOCABULARY, 10)
    with Engine(many.base, many.store, **NO_END) as engine:
        got = engine.submit(text, many.names[2], Sampling(max_new_tokens=15, repetition_penalty=1.5)).result(
            60
        )
    assert got.ids == many.generate(text, many.names[2], 15, repetition_penalty=1.5)


def test_requests_without_a_seed_differ(many):
    text = prompts(1, VOCABULARY, 10)[0]
    with Engine(many.base, many.store, **NO_END) as engine:
        handles = [engine.submit(text, None, Sampling(temperature=1.5)) for _ in range(4)]
        assert len({tuple(handle.result(60).ids) for handle in handles}) == 4


def test_log_probabilities_are_the_models_own(many):
    (text,) = prompts(1, VOCABULARY, 10)
    with Engine(many.base, many.store, **NO_END) as engine:
        finished = engine.submit(text, many.names[4], Sampling(max_new_tokens=5, logprobs=3)).result(60)
    with torch.inference_mode():
        logits = many.with_adapter(many.names[4])(input_ids=torch.tensor([text + finished.ids])).logits[
            0, len(text) - 1 : -1
        ]
    expected = logits.float().log_softmax(-1)
    for token, row in zip(finished.tokens, expected, strict=True):
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
        assert [id for id, _ in token.top] == row.topk(3).indices.tolist()
        assert token.top[0] == (token.id, token.logprob)


def test_events_are_the_tokens_and_then_the_end(many):
    events = []
    (text,) = prompts(1, VOCABULARY, 10)
    with Engine(many.base, many.store, **NO_END) as engine:
        handle = engine.submit(text, many.names[0], Sampling(max_new_tokens=7), on_event=events.append)
        ids = [token.id for token in handle]
        finished = handle.result(60)
    assert [event.id for event in events[:-1]] == ids == finished.ids and events[-1] == finished
    assert list(handle) == []


@pytest.mark.parametrize("options", [
    {"max_new_tokens": 0}, {"temperature": -0.1}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": 2.0},
    {"repetition_penalty": 0.0}, {"seed": -1}, {"logprobs": 21}, {"temperature": float("nan")},
])  # fmt: skip
def test_options_out_of_their_range_are_refused(options):
    with pytest.raises(errors.RequestError, match=next(iter(options))):
        Sampling(**options)


def test_factors_are_gathered_only_when_rows_or_slots_change(many, monkeypatch):
    gathered, choose = [], MixedModule.choose
    monkeypatch.setattr(
        MixedModule, "choose", lambda self, *given: gathered.append(self) or choose(self, *given)
    )
    with Engine(many.base, many.store, slots=2, max_batch=4, **NO_END) as engine:
        for name in many.names[:3]:  # the third takes a slot over
            gathered.clear()
            found = engine.submit([5, 6, 7], name, Sampling(max_new_tokens=12)).result().ids
            assert found == many.generate([5, 6, 7], name, 12)
            assert 0 < len(gathered) <= 2 * len(set(gathered))
