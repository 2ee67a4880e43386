"""Scores of texts: values worked out by hand."""

from __future__ import annotations

import math
import shutil
import sys

import pytest

from nolakit.bench import text_scores as module
from nolakit.bench.text_scores import text_scores
from nolakit.errors import DataError, UnsupportedError

CAT = "The cat sat on the mat ."


@pytest.fixture(autouse=True)
def no_java(monkeypatch, request):
    if "meteor" not in request.function.__name__:
        monkeypatch.setattr(module.shutil, "which", lambda name: None)


def test_identical_texts_have_the_highest_scores():
    scores = text_scores([CAT, "a dog ran to him"], [[CAT], ["a dog ran to him"]])
    assert scores["bleu"] == pytest.approx(100)
    assert scores["rouge_l"] == pytest.approx(1)
    assert scores["cider"] == pytest.approx(10)
    assert scores["nist"] > 2.0


def test_disjoint_texts_have_none():
    scores = text_scores(["one two three four five", "six"], [[CAT], ["a dog ran to him"]])
    assert scores == {"bleu": 0, "nist": 0, "rouge_l": 0, "cider": 0}


def test_bleu_by_hand():
    """a b c d e f against a b c d x y: 4/6 words, 3/5 pairs, 2/4 triples, 1/3 of four; equally long."""
    scores = text_scores(["a b c d e f"], [["a b c d x y"]])
    assert scores["bleu"] == pytest.approx(100 * (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_bleu_of_a_short_output_pays_for_its_brevity():
    scores = text_scores(["a b c d"], [["a b c d e f"]])
    assert scores["bleu"] == pytest.approx(100 * math.exp(1 - 6 / 4))


def test_rouge_l_by_hand():
    """a c e against a b c d: the longest common subsequence is a c; P = 2/3, R = 2/4."""
    precision, recall, weight = 2 / 3, 2 / 4, 1.2**2
    expected = (1 + weight) * precision * recall / (recall + weight * precision)
    assert text_scores(["a c e"], [["a b c d"]])["rouge_l"] == pytest.approx(expected)


def test_nist_by_hand():
    """Against "a b", "a" has the information log2(2 words / 1); every longer n-gram's is 0."""
    assert text_scores(["a b"], [["a b"]])["nist"] == pytest.approx(1.0)


def test_the_best_of_several_references_counts():
    one = text_scores(["a c e", "x y z"], [["a b c d"], ["x y z"]])
    two = text_scores(["a c e", "x y z"], [["a b c d", "a c e"], ["x y z"]])
    assert two["rouge_l"] == pytest.approx(1) and one["rouge_l"] < 1
    assert text_scores(["a b c d", "e"], [["q r s t", "a b c d"], ["e"]])["bleu"] == pytest.approx(100)


def test_case_and_punctuation_do_not_count():
    assert text_scores(["the CAT sat on the mat."], [[CAT]])["bleu"] == pytest.approx(100)


@pytest.mark.parametrize("outputs", [[""], ["", CAT], [" \n "]])
def test_an_empty_output_is_a_bad_output(outputs):
    scores = text_scores(outputs, [[CAT]] * len(outputs))
    assert scores["rouge_l"] == pytest.approx((len(outputs) - 1) / len(outputs))


@pytest.mark.parametrize("outputs, references, what", [
    ([], [], "no outputs"),
    ([CAT], [], "1 outputs and references of 0 rows"),
    ([CAT], [[CAT], [CAT]], "1 outputs and references of 2 rows"),
    ([CAT], [[]], "row 0"),
    ([CAT, CAT], [[CAT], ["  "]], "row 1"),
    ([CAT], [CAT], "list of texts"),
])  # fmt: skip
def test_what_cannot_be_scored_is_refused(outputs, references, what):
    with pytest.raises(DataError, match=what):
        text_scores(outputs, references)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk.translate.nist_score", None)
    with pytest.raises(UnsupportedError, match=r"'nltk'; pip install 'nolakit\[bench\]'"):
        text_scores([CAT], [[CAT]])


@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR is a Java program")
def test_meteor_of_identical_texts():
    assert text_scores([CAT], [["x y", CAT]])["meteor"] == pytest.approx(1)


def test_meteor_is_left_out_without_java(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert "meteor" not in text_scores([CAT], [[CAT]])
