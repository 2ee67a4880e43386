"""Every method keeps the contract, and every method is there."""

import pytest

from methods.rows import ROWS
from nolakit import methods
from nolakit.testing import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_contract(row, check):
    check(row)


def test_every_method_has_a_row():
    assert {row.method for row in ROWS} == set(methods.names())
    assert len({row.name for row in ROWS}) == len(ROWS)
