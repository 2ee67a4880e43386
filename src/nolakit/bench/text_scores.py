"""Scores of generated texts against references: BLEU, NIST, ROUGE-L, CIDEr and METEOR.

Each is computed by the package that the field uses. All of them see the same words: sacrebleu's 13a
tokenisation, lower-cased.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib import import_module
from itertools import zip_longest
from typing import Any

from nolakit.errors import DataError, UnsupportedError

NIST_ORDER = 5
Words = dict[int, list[str]]  # row -> texts of words that are parted by blanks


def text_scores(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Scores of a corpus; row i of the outputs may have any number of references.

        bleu     100 * brevity * exp(mean_n log p_n), n = 1..4, over the corpus, not smoothed     0 to 100
        nist     sum_n (information of the matched n-grams / n-grams of the outputs), n = 1..5    from 0
        rouge_l  mean over rows of (1 + b^2) P R / (R + b^2 P), b = 1.2                           0 to 1
        cider    mean over rows of the cosine of TF-IDF n-grams, n = 1..4, times 10               from 0
        meteor   Meteor 1.5 for English, where `java` is on the PATH; else the key is absent      0 to 1

    CIDEr takes its document frequencies from the references, so that one row alone has 0.

    Args:
        outputs: texts; an empty one is allowed, and matches nothing.
        references: of each row, at least one text with a word.

    Raises:
        DataError: no rows, unequal numbers of rows, or a row without a reference that has a word.
        UnsupportedError: a package of the extra `bench` is missing.

    Cost: linear in the rows, but METEOR, which starts Java and reads its paraphrases (seconds).
    """
    _check(outputs, references)
    tokenize = _package("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()
    said = [_words(tokenize, text) for text in outputs]
    wanted = [[_words(tokenize, text) for text in texts] for texts in references]
    truth: Words = dict(enumerate(wanted))
    given: Words = {row: [text] for row, text in enumerate(said)}
    scores = {
        "bleu": _bleu(said, wanted),
        "nist": _nist(said, wanted),
        "rouge_l": _package("pycocoevalcap.rouge.rouge").Rouge().compute_score(truth, given)[0],
        "cider": _package("pycocoevalcap.cider.cider").Cider().compute_score(truth, given)[0],
    }
    if shutil.which("java"):
        scores["meteor"] = _meteor(truth, given)
    return {name: float(score) for name, score in scores.items()}


def _check(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not outputs:
        raise DataError("found no outputs; expected at least one text to score")
    if len(outputs) != len(references):
        raise DataError(
            f"found {len(outputs)} outputs and references of {len(references)} rows; expected as many"
        )
    for row, texts in enumerate(references):
        if isinstance(texts, str):
            raise DataError(f"found one text as the references of row {row}; expected a list of texts")
        if not texts or not all(text.strip() for text in texts):
            raise DataError(f"found an empty reference, or none, in row {row}; expected at least one text")


def _words(tokenize: Any, text: str) -> str:
    return " ".join(tokenize(text.lower()).split())


def _bleu(outputs: list[str], references: list[list[str]]) -> float:
    bleu = _package("sacrebleu.metrics").BLEU(
        tokenize="none", force=True, smooth_method="none", effective_order=False
    )
    columns = [list(texts) for texts in zip_longest(*references)]  # one a reference, None where there is none
    return bleu.corpus_score(outputs, columns).score


def _nist(outputs: list[str], references: list[list[str]]) -> float:
    said = [text.split() for text in outputs]
    order = min(NIST_ORDER, max(map(len, said)))  # an order without n-grams would divide by zero
    if order == 0:
        return 0.0
    wanted = [[text.split() for text in texts] for texts in references]
    return _package("nltk.translate.nist_score").corpus_nist(wanted, said, order)


def _meteor(references: Words, outputs: Words) -> float:
    scorer = _package("pycocoevalcap.meteor.meteor").Meteor()
    try:
        return scorer.compute_score(references, outputs)[0]
    finally:
        for pipe in (scorer.meteor_p.stdout, scorer.meteor_p.stderr):  # the class ends Java, but leaves these
            pipe.close()


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        missing = (error.name or name).partition(".")[0]
        raise UnsupportedError(f"found no package {missing!r}; pip install 'nolakit[bench]'") from error
