"""Text from tokens that come one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BEHIND = 6  # tokens of the prompt that the first new token is decoded with
UNFINISHED = "\N{REPLACEMENT CHARACTER}"
LONGEST_HELD = 64  # tokens without a whole character; what they are then is no text


class Decoding:
    """Decodes a sequence of tokens as it grows: the pieces together are the decoded whole.

    A token is decoded beside those before it, since many tokenizers write a space only between two; nothing is given
    while the last character may be half of one. Works with every tokenizer that can decode.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt[-BEHIND:])
        self._given = len(self._ids)  # how many of them are in what was given
        self._before = self._decode(self._ids)

    def add(self, token: int) -> str:
        """The text that this token completes; often one word, empty inside a character."""
        self._ids.append(token)
        text = self._decode(self._ids)
        nothing_new = text.endswith(UNFINISHED) or text == self._before
        if nothing_new and len(self._ids) - self._given < LONGEST_HELD:
            return ""
        return self._give(text)

    def end(self) -> str:
        """What was held back, as it is."""
        return self._give(self._decode(self._ids)) if len(self._ids) > self._given else ""

    def _give(self, text: str) -> str:
        new = text[_shared(self._before, text) :]
        self._ids = self._ids[self._given :]
        self._given = len(self._ids)
        self._before = self._decode(self._ids)
        return new

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class Stopping:
    """Finds stop strings in text that comes in pieces, wherever the pieces are cut.

    Of several, the one that is complete first stops; of those, the longest.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def add(self, piece: str) -> str:
        """The text that no stop string can begin in any more; all before the stop string where one was found."""
        if self.stopped:
            return ""
        text = self._held + piece
        found = [(text.find(stop) + len(stop), -len(stop)) for stop in self._stops if stop in text]
        if found:
            end, length = min(found)
            self.stopped, self._held = True, ""
            return text[: end + length]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """What was held back, as no more comes."""
        held, self._held = self._held, ""
        return held


def _shared(one: str, other: str) -> int:
    """How long the beginning is that two texts share."""
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _overlap(text: str, stop: str) -> int:
    """How long an end of the text is a beginning of the stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
