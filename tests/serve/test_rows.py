"""The cache of a changing batch keeps each row's keys and values, whatever the others do."""

from __future__ import annotations

import random

import torch
from transformers import DynamicCache

from nolakit.serve.rows import SPARE, RowCache

HEADS, SIZE, LAYERS = 2, 3, 2


def prefilled(rows: list[list[float]]) -> DynamicCache:
    """Keys that are the numbers of each row, values their negatives; padded on the left with nan."""
    width = max(map(len, rows))
    cache = DynamicCache()
    numbers = torch.tensor([[float("nan")] * (width - len(row)) + row for row in rows])
    keys = numbers[:, None, :, None].expand(len(rows), HEADS, width, SIZE)
    for layer in range(LAYERS):
        cache.update(keys, -keys, layer)
    return cache


def test_rows_stay_what_they_were_through_any_joining_and_leaving():
    choose = random.Random(0)
    cache, expected, moves = RowCache(6), [], 0
    for turn in range(3000):
        if len(expected) < 6 and choose.random() < 0.1 + (not expected):
            lengths = [choose.randint(1, 90) for _ in range(choose.randint(1, 6 - len(expected)))]
            new = [[float(turn + n) for n in range(length)] for length in lengths]
            cache.join(prefilled(new), lengths)
            expected += new
        elif expected and choose.random() < 0.05:
            row = choose.randrange(len(expected))
            cache.leave(row)
            last = expected.pop()
            if row < len(expected):
                expected[row] = last
        if not expected:
            continue
        before = cache.columns.end
        cache.step()
        moves += cache.columns.end != before
        for row in expected:
            row.append(float(turn))
        column = torch.tensor([row[-1] for row in expected])[:, None, None, None].expand(-1, HEADS, 1, SIZE)
        for layer in range(LAYERS):
            keys, values = cache.update(column, -column, layer)
        cache.stepped()
        width = cache.columns.end - cache.columns.first
        assert width == max(map(len, expected)) == keys.shape[2] == cache.get_seq_length()
        for row, (found, negative) in enumerate(zip(keys, values, strict=True)):
            length = len(expected[row])
            assert found[0, width - length :, 0].tolist() == expected[row]
            assert torch.equal(found, -negative)
            assert not found[:, : width - length].any()  # zero, not what was there before
    assert moves > 5


def test_memory_follows_the_longest_row_and_not_the_time():
    cache = RowCache(2)
    cache.join(prefilled([[1.0] * 40]), [40])
    most = 0
    for _ in range(200):
        cache.join(prefilled([[2.0] * 40]), [40])
        for _ in range(30):
            cache.step()
            column = torch.ones(2, HEADS, 1, SIZE)
            for layer in range(LAYERS):
                cache.update(column, column, layer)
            cache.stepped()
        cache.leave(0)
        most = max(most, cache.bytes)
    longest = 70 + 30
    assert most <= 2 * LAYERS * 2 * HEADS * SIZE * 4 * 3 * (longest + SPARE)
