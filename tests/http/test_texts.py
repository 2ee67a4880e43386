"""Text from tokens, and stop strings, wherever the pieces are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from fake_engine import byte_tokenizer
from nolakit.http.texts import LONGEST_HELD, UNFINISHED, Decoding, Stopping

BYTES = byte_tokenizer()


@settings(max_examples=150, derandomize=True, deadline=None)
@given(before=st.text(max_size=6), text=st.text(max_size=30))
def test_pieces_are_whole_characters_and_make_up_the_text(before, text):
    decoding = Decoding(BYTES, BYTES(before)["input_ids"])
    pieces = [decoding.add(token) for token in BYTES(text)["input_ids"]]
    assert "".join(pieces) + decoding.end() == text
    if UNFINISHED not in text:
        assert not any(UNFINISHED in piece for piece in pieces)
        assert decoding.end() == ""


@settings(max_examples=150, derandomize=True, deadline=None)
@given(tokens=st.lists(st.integers(0, len(BYTES) - 1), max_size=40))
def test_any_tokens_decode_to_what_the_tokenizer_makes_of_them(tokens):
    decoding = Decoding(BYTES, [])
    pieces = [decoding.add(token) for token in tokens]
    assert "".join(pieces) + decoding.end() == BYTES.decode(tokens, skip_special_tokens=True)


def test_what_never_becomes_a_character_is_given_after_a_while():
    decoding = Decoding(BYTES, [])
    half = BYTES("é")["input_ids"][0]
    pieces = [decoding.add(half) for _ in range(2 * LONGEST_HELD)]
    assert [len(piece) for piece in pieces if piece] == [LONGEST_HELD] * 2


def test_a_prompt_that_ends_inside_a_character():
    whole = BYTES("日本")["input_ids"]
    decoding = Decoding(BYTES, whole[:4])
    assert [decoding.add(token) for token in whole[4:]] == ["", "本"]


def test_words_keep_the_space_between_them():
    words = {word: number for number, word in enumerate(["[UNK]", "<s>", "the", "cat", "sat"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", bos_token="<s>")
    decoding = Decoding(tokenizer, [1, 2])
    assert [decoding.add(token) for token in (3, 1, 4)] == [" cat", "", " sat"]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    text=st.text("abc", max_size=24),
    stops=st.lists(st.text("abc", min_size=1, max_size=5), max_size=4),
    cuts=st.lists(st.integers(0, 24), max_size=10),
)
def test_stop_strings_are_found_wherever_the_text_is_cut(text, stops, cuts):
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    expected = text[: min(ends)[1]] if ends else text
    borders = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    stopping = Stopping(stops)
    given_so_far = ""
    for start, end in pairwise(borders):
        given_so_far += stopping.add(text[start:end])
        assert expected.startswith(given_so_far)
    assert stopping.stopped == bool(ends)
    assert given_so_far + stopping.end() == expected


@pytest.mark.parametrize("pieces, given_pieces", [(["a", "b", "x"], ["a", "", "bx"]), (["abx"], ["abx"])])
def test_only_what_a_stop_string_may_begin_with_is_held_back(pieces, given_pieces):
    stopping = Stopping(["bc"])
    assert [stopping.add(piece) for piece in pieces] == given_pieces
