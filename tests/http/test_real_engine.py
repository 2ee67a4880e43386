"""`nolakit serve` as a process of its own, with the real engine on a tiny Llama; and the encoder on a tiny BERT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import numpy as np
import openai
import pytest
import torch
import transformers
from peft import get_peft_model

import tiny
from fake_engine import byte_tokenizer
from live_server import live
from nolakit import NolaConfig
from nolakit.store.store import Store
from nolakit.tasks.serving import Options, serving
from tuner.adapting import randomize

PROMPT = "Once upon a time"


def llama(folder):
    tokenizer = byte_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=512, num_key_value_heads=2, intermediate_size=48,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        **{**tiny.SIZES, "initializer_range": 0.3},
    )  # fmt: skip
    return tiny.save(tiny.made(lambda: transformers.LlamaForCausalLM(config)), folder, tokenizer)


def adapted(base, seed: int, **options):
    model = get_peft_model(base, NolaConfig(r=4, num_basis=16, lora_alpha=16, seed=seed, **options))
    randomize(model, seed=seed)
    return model.eval()


def said(model, text: str, tokens: int) -> str:
    """What transformers says, greedily."""
    tokenizer = byte_tokenizer()
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base, a store of two adapters, and what each of them says."""
    folder = tmp_path_factory.mktemp("place")
    base = llama(folder / "llama")
    said_by = {"llama": said(transformers.AutoModelForCausalLM.from_pretrained(base).eval(), PROMPT, 24)}
    with Store.create(folder / "adapters.nola") as store:
        for seed, name in ((1, "team/one"), (2, "team/two")):
            model = adapted(
                transformers.AutoModelForCausalLM.from_pretrained(base), seed, target_modules=["q_proj", "down_proj"],
                task_type="CAUSAL_LM",
            )  # fmt: skip
            model.save_pretrained(folder / name)
            store.add(name, folder / name)
            said_by[name] = said(model, PROMPT, 24)
    assert len(set(said_by.values())) == 3
    return folder, said_by


@contextmanager
def serve(*arguments: object):
    """The command, until SIGTERM: the process, and what it printed when it was ready."""
    command = [
        sys.executable,
        "-m",
        "nolakit.cli.app",
        "serve",
        "--port",
        "0",
        "--json",
        *map(str, arguments),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (0, False), errors


@pytest.fixture(scope="module")
def ready(place):
    folder, _ = place
    where = "--model", folder / "llama", "--store", folder / "adapters.nola"
    with serve(*where, "--admin", "--slots", 3, "--pin", "team/two") as (_, ready):
        yield ready


@pytest.fixture(scope="module")
def client(ready):
    with openai.OpenAI(base_url=ready["url"] + "/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made


def test_what_is_printed_is_one_line_of_json(ready):
    assert set(ready) == {"url", "model", "task"}
    assert (ready["model"], ready["task"]) == ("llama", "causal-lm")


def test_everybody_gets_what_transformers_gives_them_alone(place, client):
    _, said_by = place

    def ask(model: str) -> tuple[str, str]:
        asked = {"model": model, "prompt": PROMPT, "max_tokens": 24, "temperature": 0}
        whole = client.completions.create(**asked).choices[0].text
        return whole, "".join(
            chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True)
        )

    models = ["llama", "team/one", "team/two"] * 4
    with ThreadPoolExecutor(6) as threads:
        for model, answers in zip(models, threads.map(ask, models), strict=True):
            assert answers == (said_by[model],) * 2


def test_sampling_has_a_seed_and_stop_strings_end_it(place, client):
    asked = {"model": "team/one", "prompt": PROMPT, "max_tokens": 40, "n": 2}
    first, second = (client.completions.create(**asked, seed=5).choices for _ in range(2))
    assert [choice.text for choice in first] == [choice.text for choice in second]
    assert first[0].text != first[1].text
    _, said_by = place
    stop = said_by["team/one"][9:11]
    asked = {"model": "team/one", "prompt": PROMPT, "max_tokens": 24, "temperature": 0}
    answer = client.completions.create(**asked, stop=stop).choices[0]
    assert (answer.text, answer.finish_reason) == (
        said_by["team/one"][: said_by["team/one"].index(stop)],
        "stop",
    )


def test_probabilities_are_the_models(place, client):
    folder, _ = place
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "llama").eval()
    ids = byte_tokenizer()(PROMPT)["input_ids"]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0, -1].log_softmax(0)
    answer = client.completions.create(model="llama", prompt=PROMPT, max_tokens=1, temperature=0, logprobs=5)
    found = answer.choices[0].logprobs
    np.testing.assert_allclose(found.token_logprobs[0], expected.max().item(), rtol=1e-3)


def test_chat_with_an_adapter(client):
    asked = {"model": "team/two", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 12}
    whole = client.chat.completions.create(**asked, temperature=0).choices[0].message.content
    chunks = client.chat.completions.create(**asked, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_an_adapter_of_another_base_is_refused_and_one_is_retired(place, client, ready):
    folder, said_by = place
    from packed_bytes import packed

    with httpx2.Client(base_url=ready["url"], timeout=60) as http:
        assert http.put("/v1/adapters/foreign", content=packed(1)).status_code == 200
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model="foreign", prompt=PROMPT)
        with Store(folder / "adapters.nola") as store:
            content = store.read("team/two")
        assert http.put("/v1/adapters/new", content=content).status_code == 200
        answer = client.completions.create(model="new", prompt=PROMPT, max_tokens=24, temperature=0)
        assert answer.choices[0].text == said_by["team/two"]
        assert http.delete("/v1/adapters/new").status_code == 200
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="new", prompt=PROMPT)
        status = http.get("/status.json").json()
        assert {slot["name"] for slot in status["slots"] if slot["used"]} >= {"team/one"}
        assert status["counts"]["misses"] == 1  # team/two was pinned before anybody asked for it
        assert "nolakit_expand_seconds_count" in http.get("/metrics").text


def test_at_the_end_requests_finish_and_nothing_is_complained_of(place):
    folder, _ = place
    with serve("--model", folder / "llama", "--store", folder / "adapters.nola") as (process, ready):
        body = {"model": "team/one", "prompt": PROMPT, "max_tokens": 300, "stream": True, "ignore_eos": True}
        with httpx2.stream("POST", ready["url"] + "/v1/completions", json=body, timeout=60) as answer:
            lines = (line for line in answer.iter_lines() if line)
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert rest[-1] == "data: [DONE]"
        assert json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"


def test_embeddings_of_an_encoder_and_of_an_adapter(tmp_path):
    base = tiny.bert(tmp_path / "bert")
    model = adapted(transformers.AutoModel.from_pretrained(base).eval(), 3, target_modules=["query", "value"])
    model.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([tiny.tokenizer(classifier=True)("the red cat")["input_ids"]])
    expected = {}
    with torch.no_grad():
        vector = model(input_ids=ids).last_hidden_state[0].mean(0)
        expected["one"] = vector / vector.norm()
        with model.disable_adapter():
            vector = model(input_ids=ids).last_hidden_state[0].mean(0)
        expected["bert"] = vector / vector.norm()
    with Store.create(tmp_path / "adapters.nola") as store:
        store.add("one", tmp_path / "adapter")
    options = Options(model=base, store=tmp_path / "adapters.nola", task="embeddings")
    with serving(options) as (served, metrics), live(served, metrics) as running:
        for name, vector in expected.items():
            found = running.openai.embeddings.create(model=name, input="the red cat").data[0].embedding
            np.testing.assert_allclose(found, vector, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected["one"], expected["bert"], atol=1e-3)
