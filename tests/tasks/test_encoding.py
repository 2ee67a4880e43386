"""Token rows and batches: what is learned from, what is cut, what is padded."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

import tiny
from nolakit.errors import DataError, ModelError
from nolakit.tasks.collate import language_collator
from nolakit.tasks.columns import Columns
from nolakit.tasks.metrics import class_metrics, macro_f1, summarize_classes, summarize_tokens, token_metrics
from nolakit.tasks.models import check_token_ids, load_model_config, load_tokenizer
from nolakit.tasks.texts import IGNORED, encode_classified, encode_language, join_prompt

PAIR = Columns(prompt_column="prompt", completion_column="completion")
TEXT = Columns(text_column="text")


def rows(**columns: list) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


def test_the_prompt_is_masked_and_the_completion_ended() -> None:
    words = tiny.tokenizer(classifier=False)
    data = rows(prompt=["the red cat"], completion=["is loud"])
    (row,) = encode_language(data, PAIR, words, 64, "\n").rows
    tokens = words.convert_ids_to_tokens(row["input_ids"])
    assert tokens == ["<s>", "the", "red", "cat", "is", "loud", "</s>"]
    assert row["labels"] == [IGNORED] * 4 + row["input_ids"][4:]


def test_too_long_rows_lose_the_start_of_the_prompt_first() -> None:
    words = tiny.tokenizer(classifier=False)
    data = rows(prompt=["the red cat"], completion=["is loud"])
    encoded = encode_language(data, PAIR, words, 4, "\n")
    assert words.convert_ids_to_tokens(encoded.rows[0]["input_ids"]) == ["cat", "is", "loud", "</s>"]
    assert encoded.truncated == 1
    encoded = encode_language(data, PAIR, words, 2, "\n")
    assert words.convert_ids_to_tokens(encoded.rows[0]["input_ids"]) == ["is", "loud"]


def test_documents_are_cut_into_pieces_without_loss() -> None:
    words = tiny.tokenizer(classifier=False)
    encoded = encode_language(rows(text=["the cat sees a dog", "red"]), TEXT, words, 4, "\n")
    pieces = [words.convert_ids_to_tokens(row["input_ids"]) for row in encoded.rows]
    assert pieces == [["<s>", "the", "cat", "sees"], ["a", "dog", "</s>"], ["<s>", "red", "</s>"]]
    assert all(row["labels"] == row["input_ids"] for row in encoded.rows)


def test_texts_must_be_text_and_have_tokens() -> None:
    words = tiny.tokenizer(classifier=False)
    with pytest.raises(DataError, match="3 in row 1 of column 'text'"):
        encode_language(rows(text=[3]), TEXT, words, 8, "\n")
    words.eos_token = None
    with pytest.raises(DataError, match="no token to learn from"):
        encode_language(rows(prompt=["the"], completion=[""]), PAIR, words, 8, "\n")


def test_prompts_end_in_white_space() -> None:
    assert join_prompt("a", "\n") == "a\n"
    assert join_prompt("a ", "\n") == "a "
    assert join_prompt("", "\n") == ""


def test_classified_texts_count_their_truncation() -> None:
    words = tiny.tokenizer(classifier=True)
    encoded = encode_classified(rows(text=["the cat", "a red red red dog"]), "text", [0, 1], words, 5)
    assert [len(row["input_ids"]) for row in encoded.rows] == [4, 5]
    assert [row["labels"] for row in encoded.rows] == [0, 1]
    assert encoded.truncated == 1


def test_language_batches_ignore_the_padding() -> None:
    batch = language_collator(0)([{"input_ids": [4, 7], "labels": [4, 7]}, {"input_ids": [4], "labels": [4]}])
    assert batch["input_ids"].tolist() == [[4, 7], [4, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["labels"].tolist() == [[4, 7], [4, IGNORED]]


def test_token_metrics_are_over_tokens_not_batches() -> None:
    logits = torch.randn(3, 6, 11)
    labels = torch.randint(0, 11, (3, 6))
    labels[0, :4] = IGNORED
    labels[1, 2:] = IGNORED
    summary = summarize_tokens(logits, labels).numpy()
    counted = labels[:, 1:] != IGNORED
    flat, expected = logits[:, :-1][counted], labels[:, 1:][counted]
    found = token_metrics(summary, None)
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(flat, expected).item(), rel=1e-5)
    assert found["token_accuracy"] == pytest.approx((flat.argmax(-1) == expected).double().mean().item())
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]))
    virtual = torch.cat([torch.randn(3, 2, 11), logits], dim=1)
    assert np.array_equal(summarize_tokens(virtual, labels).numpy(), summary)


def test_class_metrics_agree_with_scikit_learn() -> None:
    logits, labels = torch.randn(50, 5), torch.randint(0, 4, (50,))
    summary = summarize_classes(logits, labels).numpy()
    found = class_metrics(summary, labels.numpy())
    predicted = logits.argmax(-1).numpy()
    assert found["accuracy"] == pytest.approx((predicted == labels.numpy()).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(labels.numpy(), predicted, average="macro"))
    assert macro_f1(predicted, predicted) == 1.0
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_special_tokens_without_an_embedding_give_way(tmp_path: Path) -> None:
    folder = tiny.llama(tmp_path / "m")
    words = tiny.tokenizer(classifier=False)
    words.add_special_tokens({"eos_token": "<new end>", "pad_token": "<new pad>"})
    words.save_pretrained(folder)
    loaded = load_tokenizer(folder)
    assert (loaded.eos_token, loaded.pad_token) == ("</s>", "[PAD]")


def test_tokens_that_the_model_does_not_have_are_refused(tmp_path: Path) -> None:
    config = load_model_config(tiny.llama(tmp_path / "m"))
    check_token_ids([{"input_ids": [config.vocab_size - 1]}], config, "m")
    with pytest.raises(ModelError, match=f"token {config.vocab_size} .*another model's"):
        check_token_ids([{"input_ids": [1, config.vocab_size]}], config, "m")
