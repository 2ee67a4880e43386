"""Embeddings and classification over a fake encoder."""

from __future__ import annotations

import numpy as np
import openai
import pytest
import torch

from fake_engine import FakeEncoder, byte_tokenizer
from live_server import live
from nolakit.http.served import Served


@pytest.fixture
def encoder(store):
    return FakeEncoder(store)


@pytest.fixture
def embeddings(encoder):
    with live(Served("base", "embeddings", encoder, byte_tokenizer())) as made:
        yield made


@pytest.fixture
def classifier(encoder):
    with live(
        Served("base", "text-classification", encoder, byte_tokenizer(), labels=["a", "b", "c"])
    ) as made:
        yield made


def expected(encoder, text: str, adapter: str | None) -> np.ndarray:
    return encoder.embed(byte_tokenizer()(text)["input_ids"], adapter).result().numpy()


def test_embeddings_are_the_encoders_in_the_order_of_the_inputs(embeddings, encoder):
    texts = [f"text {number}" for number in range(50)]  # more than the encoder's queue takes
    for model, adapter in (("base", None), ("team/one", "team/one")):
        for form in ("float", "base64"):
            answer = embeddings.openai.embeddings.create(model=model, input=texts, encoding_format=form)
            found = [each.embedding for each in answer.data]
            for text, vector in zip(texts, found, strict=True):
                if form == "base64":
                    import base64

                    vector = np.frombuffer(base64.b64decode(vector), "<f4")
                np.testing.assert_array_equal(np.asarray(vector, "f4"), expected(encoder, text, adapter))
            assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, texts))
    assert encoder.most <= 4
    single = embeddings.openai.embeddings.create(model="base", input="text 0")  # base64 behind the scenes
    np.testing.assert_array_equal(
        np.asarray(single.data[0].embedding, "f4"), expected(encoder, "text 0", None)
    )
    ids = byte_tokenizer()("text 0")["input_ids"]
    assert embeddings.openai.embeddings.create(model="base", input=ids).data[0] == single.data[0]


def test_embeddings_refuse_what_they_cannot(embeddings):
    create = embeddings.openai.embeddings.create
    for error, asked in (
        (openai.NotFoundError, {"model": "nothing", "input": "x"}),
        (openai.BadRequestError, {"model": "base", "input": "x" * 600}),
        (openai.BadRequestError, {"model": "base", "input": ["x", "y" * 600]}),
        (openai.BadRequestError, {"model": "base", "input": ""}),
        (openai.BadRequestError, {"model": "base", "input": ["x"] * 2049}),
        (openai.BadRequestError, {"model": "base", "input": "x", "dimensions": 3}),
    ):
        with pytest.raises(error):
            create(**asked)
    assert embeddings.post("/v1/completions", model="base", prompt="x").status_code == 404
    assert len(create(model="base", input="x").data) == 1


def test_classes_have_names_and_probabilities(classifier, encoder):
    answer = classifier.post("/v1/classify", model="team/two", input=["hello", "world"])
    assert answer.status_code == 200
    for text, row in zip(["hello", "world"], answer.json()["data"], strict=True):
        logits = encoder.classify(byte_tokenizer()(text)["input_ids"], "team/two").result()
        assert row["logits"] == logits.tolist()
        assert list(row["probabilities"]) == ["a", "b", "c"]
        np.testing.assert_allclose(list(row["probabilities"].values()), torch.softmax(logits, 0), rtol=1e-5)
        assert row["label"] == "abc"[int(logits.argmax())]
    assert answer.json()["usage"] == {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}
    assert classifier.post("/v1/classify", model="nothing", input="x").status_code == 404
    assert classifier.post("/v1/classify", model="base").status_code == 400


def test_labels_of_another_number_are_numbered(encoder):
    with live(Served("base", "text-classification", encoder, byte_tokenizer(), labels=["a", "b"])) as running:
        row = running.post("/v1/classify", model="base", input="x").json()["data"][0]
        assert list(row["probabilities"]) == ["LABEL_0", "LABEL_1", "LABEL_2"]
