"""A classifier that `nolakit train` made, served with its own head and its own labels."""

from __future__ import annotations

import numpy as np
import torch

import tiny
from live_server import live
from nolakit.store.store import Store
from nolakit.tasks.loading import load_trained
from nolakit.tasks.serving import Options, serving
from shell import run


def test_a_trained_classifier_is_served_with_its_labels(tmp_path):
    base = tiny.bert(tmp_path / "bert")
    data = tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.classified_rows())
    run(
        "train", "--task", "text-classification", "--model", base, "--data", data, "-o", tmp_path / "adapter", "--r", 4,
        "--num-basis", 16, "--lr", "3e-2", "--epochs", 1, "--json",
    ).json()  # fmt: skip
    with Store.create(tmp_path / "adapters.nola") as store:
        store.add("kinds", tmp_path / "adapter")
    texts = [row["text"] for row in tiny.classified_rows(4)]
    trained = load_trained(tmp_path / "adapter")
    ids = [torch.tensor([tiny.tokenizer(classifier=True)(text)["input_ids"]]) for text in texts]
    with torch.no_grad():
        expected = [trained.model.eval()(input_ids=row).logits[0].numpy() for row in ids]
    options = Options(model=base, store=tmp_path / "adapters.nola", task="text-classification")
    with serving(options) as (served, metrics), live(served, metrics) as running:
        assert served.name == "bert"
        answer = running.post("/v1/classify", model="kinds", input=texts)
        assert answer.status_code == 200, answer.text
        for row, logits in zip(answer.json()["data"], expected, strict=True):
            np.testing.assert_allclose(row["logits"], logits, rtol=1e-4, atol=1e-5)
            assert set(row["probabilities"]) == {"animal", "fruit"}
            assert row["label"] == trained.record.labels[int(logits.argmax())]
        status = running.client.get("/status.json").json()
        assert (status["task"], [slot["name"] for slot in status["slots"] if slot["used"]]) == (
            "text-classification", ["kinds"],
        )  # fmt: skip
