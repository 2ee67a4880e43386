"""Encoders: classification with heads of many sizes, and embeddings, as PEFT gives them."""

from __future__ import annotations

import pytest
import torch
import transformers

import nolakit
from nolakit import errors
from nolakit.serve import Encoder
from serve.many_adapters import make_many, prompts

SIZES = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip
BERT = transformers.BertForSequenceClassification, transformers.BertConfig
ROBERTA = transformers.RobertaForSequenceClassification, transformers.RobertaConfig


def make(kinds, labels: int = 3):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return kinds[0](kinds[1](num_labels=labels, pad_token_id=1, **SIZES)).eval()


def config(seed: int, **options):
    return nolakit.NolaConfig(r=2, num_basis=8, seed=seed, target_modules=["query", "value"], **options)


def expected(model, text: list[int]) -> torch.Tensor:
    ids = torch.tensor([text])
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]


@pytest.mark.parametrize("kinds", [BERT, ROBERTA], ids=["bert", "roberta, a head of two layers"])
def test_classes_are_pefts_for_any_mixture_of_heads(kinds, tmp_path):
    configs = [config(seed, task_type="SEQ_CLS") for seed in range(6)]
    many = make_many(lambda: make(kinds), configs, tmp_path)
    names = [*many.names, None] * 4
    texts = prompts(len(names), 100, 30)
    with Encoder(many.base, many.store, slots=4, max_batch=5) as encoder:
        futures = [encoder.classify(text, name) for text, name in zip(texts, names, strict=True)]
        found = [future.result(60) for future in futures]
        assert encoder.stats().evictions > 0
    for text, name, logits in zip(texts, names, found, strict=True):
        model = many.base if name is None else many.with_adapter(name)
        torch.testing.assert_close(logits, expected(model, text), rtol=1e-4, atol=1e-5)
    assert len({tuple(row.tolist()) for row in found}) == len(names)


def test_heads_have_as_many_labels_as_were_trained(tmp_path):
    """One base, three tasks of two, five and seven classes."""
    store = nolakit.Store.create(tmp_path / "tasks.nola")
    tasks = {}
    for labels in (2, 5, 7):
        one = make_many(
            lambda labels=labels: make(BERT, labels),
            [config(labels, task_type="SEQ_CLS")],
            tmp_path / str(labels),
        )
        tasks[f"classes-{labels}"] = one
        store.add(f"classes-{labels}", one.folders[one.names[0]])
    texts = prompts(9, 100, 30)
    with Encoder(make(BERT, 3), store, slots=2, max_batch=4) as encoder:
        names = [*tasks] * 3
        found = [encoder.classify(text, name) for text, name in zip(texts, names, strict=True)]
        for text, name, future in zip(texts, names, found, strict=True):
            logits = expected(tasks[name].with_adapter(tasks[name].names[0]), text)
            torch.testing.assert_close(future.result(60), logits, rtol=1e-4, atol=1e-5)
        assert len(encoder.classify(texts[0]).result(60)) == 3


def test_embeddings_are_the_mean_of_the_last_hidden_states(tmp_path):
    many = make_many(
        lambda: make(BERT).bert, [config(seed, task_type="FEATURE_EXTRACTION") for seed in range(3)], tmp_path
    )
    texts = prompts(8, 100, 30)
    names = [*many.names, None] * 2
    with Encoder(many.base, many.store, max_batch=3) as encoder:
        futures = [encoder.embed(text, name) for text, name in zip(texts, names, strict=True)]
        found = [future.result(60) for future in futures]
        with pytest.raises(errors.RequestError, match="without a head"):
            encoder.classify(texts[0])
    for text, name, vector in zip(texts, names, found, strict=True):
        model = many.base if name is None else many.with_adapter(name)
        with torch.inference_mode():
            mean = model(input_ids=torch.tensor([text])).last_hidden_state[0].mean(0)
        torch.testing.assert_close(vector, mean / mean.norm(), rtol=1e-4, atol=1e-5)
        assert float(vector.norm()) == pytest.approx(1)


def test_what_an_encoder_cannot_do_is_refused(tmp_path):
    many = make_many(
        lambda: make(BERT),
        [config(1, task_type="SEQ_CLS", modules_to_save=["bert.pooler", "classifier"])],
        tmp_path,
    )
    with Encoder(many.base, many.store, max_queue=1) as encoder:
        with pytest.raises(errors.RequestError, match="41 tokens"):
            encoder.classify([5] * 41)
        assert encoder.classify([5, 6], many.names[0]).result(60).shape == (
            3,
        )  # a pooler is a linear layer too
    with pytest.raises(errors.EngineClosedError):
        encoder.classify([5, 6])


def test_a_cancelled_text_is_let_go(tmp_path):
    many = make_many(lambda: make(BERT), [config(1, task_type="SEQ_CLS")], tmp_path)
    with Encoder(many.base, many.store) as encoder:
        futures = [encoder.classify([5, 6, 7], many.names[0]) for _ in range(40)]
        for future in futures[1::2]:
            future.cancel()
        for future in futures[::2]:
            assert future.result(60).shape == (3,)
        assert all(slot.running == 0 for slot in encoder.stats().slots)
