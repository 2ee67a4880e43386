import pytest

from nolakit.bench.quality.results import KEY, Results
from nolakit.errors import DataError

ROW = dict.fromkeys(KEY, "x") | {"settings": {"b": 1, "a": [2]}, "loss": 1.5}


def test_rows_come_back_by_their_key(tmp_path):
    Results(tmp_path / "deep" / "rows.jsonl").add(ROW)
    again = Results(tmp_path / "deep" / "rows.jsonl")
    assert again.rows == [ROW]
    assert again.find({**{name: ROW[name] for name in KEY}, "settings": {"a": [2], "b": 1}}) == ROW
    assert again.find({**{name: ROW[name] for name in KEY}, "settings": {"a": [3], "b": 1}}) is None


@pytest.mark.parametrize("line", ["{", "[]", "{}", "null"])
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    Results(path).add(ROW)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match="line 2 of"):
        Results(path)
