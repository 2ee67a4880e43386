"""OpenAI's own package against the server."""

from __future__ import annotations

import openai
import pytest


def said(digest: str, prompt: str, tokens: int) -> str:
    """What the fake engine says with an adapter."""
    whole = digest[:4] + prompt
    return (whole * (tokens // len(whole) + 1))[:tokens]


def test_a_completion_of_the_base_and_of_each_way_to_name_an_adapter(running, digest):
    base = running.openai.completions.create(model="base", prompt="hello", max_tokens=7)
    assert (base.choices[0].text, base.choices[0].finish_reason) == ("hellohe", "length")
    assert base.object == "text_completion"
    assert base.system_fingerprint is None
    assert (base.usage.prompt_tokens, base.usage.completion_tokens, base.usage.total_tokens) == (5, 7, 12)
    for ref in ("team/one", "team/one@1", "team/one:best", f"sha256:{digest('team/two')}"):
        answer = running.openai.completions.create(model=ref, prompt="hello", max_tokens=9)
        assert answer.choices[0].text == said(digest(ref), "hello", 9)
        assert (answer.model, answer.system_fingerprint) == (ref, f"sha256:{digest(ref)}")


def test_a_completion_has_openais_defaults(running):
    answer = running.openai.completions.create(model="base", prompt="hello")
    assert answer.usage.completion_tokens == 16


def test_every_form_of_prompt(running):
    create = running.openai.completions.create
    ids = running.served.encode("abc")
    for prompt, texts in (
        ("abc", ["abca"]), (["abc", "xy"], ["abca", "xyxy"]), (ids, ["abca"]), ([ids, ids[:2]], ["abca", "abab"]),
    ):  # fmt: skip
        answer = create(model="base", prompt=prompt, max_tokens=4)
        assert [(choice.index, choice.text) for choice in answer.choices] == [*enumerate(texts)]
    answer = create(model="base", prompt=["abc", "xy"], n=2, max_tokens=2, seed=(1 << 63) - 1)
    assert [choice.text for choice in answer.choices] == ["ab", "ab", "xy", "xy"]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 8)


def test_a_streamed_completion_is_the_whole_one_in_pieces(running):
    for prompt in ("plain", "日本語 und ein 🦜!"):
        asked = {"model": "team/two", "prompt": [prompt, "other"], "max_tokens": 90, "n": 2}
        whole = running.openai.completions.create(**asked)
        texts = ["", "", "", ""]
        reasons = {}
        chunks = list(
            running.openai.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        )
        for chunk in chunks[:-1]:
            (choice,) = chunk.choices
            assert choice.text or choice.finish_reason
            assert "\N{REPLACEMENT CHARACTER}" not in choice.text or choice.finish_reason
            texts[choice.index] += choice.text
            reasons.update({choice.index: choice.finish_reason} if choice.finish_reason else {})
            assert (chunk.id, chunk.usage, chunk.model) == (chunks[0].id, None, "team/two")
        assert texts == [choice.text for choice in whole.choices]
        assert reasons == dict.fromkeys(range(4), "length")
        assert chunks[-1].choices == []
        assert chunks[-1].usage == whole.usage


def test_chat_whole_and_streamed(running, digest):
    asked = {
        "model": "team/one",
        "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}],
    }
    whole = running.openai.chat.completions.create(**asked, max_completion_tokens=8, n=2)
    assert [choice.message.role for choice in whole.choices] == ["assistant"] * 2
    assert whole.choices[0].message.content == digest("team/one")[:4] + "be"  # between two special tokens
    assert whole.choices[1].message.content == whole.choices[0].message.content
    chunks = list(
        running.openai.chat.completions.create(
            **asked, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 8
    parts = [{"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "e"}]}]
    answer = running.openai.chat.completions.create(model="base", messages=parts, max_tokens=3)
    assert answer.choices[0].message.content == "be"


def test_chat_goes_on_to_the_end_of_the_context(running, engine):
    engine.max_length = 50
    answer = running.openai.chat.completions.create(
        model="base", messages=[{"role": "user", "content": "hi"}]
    )
    assert (answer.usage.total_tokens, answer.choices[0].finish_reason) == (50, "length")


def test_an_end_token_ends_an_answer_unless_it_is_ignored(running):
    ids = [*running.served.encode("ab"), running.served.engine.eos]
    answer = running.openai.completions.create(model="base", prompt=ids, max_tokens=10)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("ab", "stop")
    answer = running.openai.completions.create(
        model="base", prompt=ids, max_tokens=10, extra_body={"ignore_eos": True, "top_k": 3, "min_p": 0.1}
    )
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("abababa", "length")


def test_stop_strings_end_the_request_in_the_engine(running, engine):
    for stop, text, tokens in (
        ("dé", "abc", 6),
        (["zz", "é"], "abcd", 6),
        (["abcd", "cd"], "", 4),
        ("éa", "abcd", 7),
    ):
        answer = running.openai.completions.create(model="base", prompt="abcdé", max_tokens=4000, stop=stop)
        choice = answer.choices[0]
        assert (choice.text, choice.finish_reason, answer.usage.completion_tokens) == (text, "stop", tokens)
    streamed = running.openai.completions.create(
        model="base", prompt="abcdé", max_tokens=4000, stop=["x", "déa"], stream=True
    )
    pieces = [(chunk.choices[0].text, chunk.choices[0].finish_reason) for chunk in streamed]
    assert "".join(text for text, _ in pieces) == "abc"
    assert pieces[-1][1] == "stop"
    engine.wait_for(lambda engine: len(engine.cancelled) == 5)


def test_probabilities_of_tokens(running):
    answer = running.openai.completions.create(model="base", prompt="aé", max_tokens=4, logprobs=2)
    found = answer.choices[0].logprobs
    assert answer.choices[0].text == "aéa"
    assert found.token_logprobs == [-0.5] * 4
    assert found.text_offset == [0, 1, 1, 2]
    assert found.tokens[0] == "a"
    assert all(len(top) == 2 for top in (found.top_logprobs[0], found.top_logprobs[3]))
    streamed = running.openai.completions.create(
        model="base", prompt="aé", max_tokens=4, logprobs=2, stream=True
    )
    tokens = [token for chunk in streamed for token in chunk.choices[0].logprobs.tokens]
    assert tokens == found.tokens
    chat = running.openai.chat.completions.create(
        model="base",
        messages=[{"role": "user", "content": "aé"}],
        max_tokens=3,
        logprobs=True,
        top_logprobs=1,
    )
    content = chat.choices[0].logprobs.content
    assert [token.token for token in content][:2] == ["<user>", "a"]
    assert (content[1].bytes, content[1].top_logprobs[0].token, content[2].bytes) == ([97], "a", None)


def test_models(running, digest):
    listed = running.openai.models.list()
    assert [model.id for model in listed.data] == ["base", "other", "team/one", "team/two"]
    shown = running.openai.models.retrieve("team/one")
    assert (shown.id, shown.version, shown.digest) == ("team/one", 2, digest("team/one"))
    assert running.openai.models.retrieve("team/one@1").tags == ["best"]
    assert running.openai.models.retrieve("base").owned_by == "nolakit"


def test_models_come_in_pages(running):
    seen, after = [], {}
    while True:
        page = running.client.get("/v1/models", params={"limit": 2, **after}).json()
        assert len(page["data"]) <= 2
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        seen += [model["id"] for model in page["data"]]
        after = {"after": page["last_id"]}
        if not page["has_more"]:
            break
    assert seen == ["base", "other", "team/one", "team/two"]
    assert (
        running.client.get("/v1/models", params={"after": "team/onf"}).json()["data"][0]["id"] == "team/two"
    )
    assert running.client.get("/v1/models", params={"after": "zz"}).json() == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip


def test_errors_are_openais(running):
    create = running.openai.completions.create
    with pytest.raises(openai.NotFoundError, match="did you mean 'team/two'") as caught:
        create(model="team/twe", prompt="x")
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "model_not_found",
        "model",
        "not_found_error",
    )
    with pytest.raises(openai.BadRequestError, match="found a prompt of 5000 tokens"):
        create(model="base", prompt="x" * 5000)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        create(model="base", prompt="x", temperature=3)
    with pytest.raises(openai.BadRequestError, match="'tools', which this server does not support"):
        running.openai.chat.completions.create(
            model="base", messages=[{"role": "user", "content": "x"}],
            tools=[{"type": "function", "function": {"name": "f"}}],
        )  # fmt: skip
    with pytest.raises(openai.BadRequestError, match="system comes first"):
        running.openai.chat.completions.create(
            model="base", messages=[{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]
        )
    with pytest.raises(openai.NotFoundError):
        running.openai.embeddings.create(model="base", input="x")


def test_chat_needs_a_template(running):
    running.served.tokenizer.chat_template = None
    with pytest.raises(openai.BadRequestError, match="no chat template"):
        running.openai.chat.completions.create(model="base", messages=[{"role": "user", "content": "x"}])
