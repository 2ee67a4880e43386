"""Every format of data, and what is said about data that cannot be read."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

import tiny
from nolakit.errors import DataError
from nolakit.tasks.columns import Columns, find_columns
from nolakit.tasks.data import load_splits
from nolakit.tasks.labels import encode_labels, label_names, label_texts

ROWS = [{"text": "a cat", "label": 1}, {"text": "a pear", "label": 0}]


def test_jsonl_csv_and_tsv_give_the_same_rows(tmp_path: Path) -> None:
    tiny.write_jsonl(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "a.csv").write_text('text,label\n"a cat",1\na pear,0\n')
    (tmp_path / "a.tsv").write_text("text\tlabel\na cat\t1\na pear\t0\n")
    for suffix in ("jsonl", "csv", "tsv"):
        rows = load_splits(str(tmp_path / f"a.{suffix}"))["train"]
        assert rows["text"][:] == ["a cat", "a pear"]
        assert label_texts(rows, "label") == ["1", "0"]


def test_text_is_a_document_a_line_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("one\n\ntwo\n")
    assert load_splits(str(tmp_path / "b.txt"))["train"]["text"][:] == ["one", "two"]
    assert load_splits(str(tmp_path / "b.txt"), text_unit="file")["train"]["text"][:] == ["one\n\ntwo\n"]
    (tmp_path / "c.txt").write_text("three\n")
    assert load_splits(str(tmp_path))["train"]["text"][:] == ["one\n\ntwo\n", "three\n"]


def test_folders_of_splits(tmp_path: Path) -> None:
    tiny.write_jsonl(tmp_path / "train.jsonl", ROWS)
    tiny.write_jsonl(tmp_path / "dev.jsonl", ROWS[:1])
    assert {name: len(rows) for name, rows in load_splits(str(tmp_path)).items()} == {
        "train": 2,
        "validation": 1,
    }


def test_saved_data_set_with_class_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = datasets.Dataset.from_list(ROWS, features=features)
    datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(tmp_path / "saved")
    splits = load_splits(str(tmp_path / "saved"))
    assert set(splits) == {"train", "test"}
    assert label_texts(splits["train"], "label") == ["yes", "no"]


def test_image_folder_and_its_splits(tmp_path: Path) -> None:
    tiny.image_folder(tmp_path / "plain", each=2)
    rows = load_splits(str(tmp_path / "plain"))["train"]
    assert rows["label"][:] == ["bright", "bright", "dark", "dark"]
    tiny.image_folder(tmp_path / "split" / "train", each=2)
    tiny.image_folder(tmp_path / "split" / "val", each=1)
    assert {name: len(rows) for name, rows in load_splits(str(tmp_path / "split")).items()} == {
        "train": 4,
        "validation": 2,
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", b'{"text": "x"}\n{"text": \n', "line 2"),
        ("list.jsonl", b"[1]\n", "expected an object"),
        ("mixed.jsonl", b'{"a": 1}\n{"a": {"b": 2}}\n', "different types"),
        ("ragged.csv", b"a,b\n1,2,3\n", "row 2"),
        ("short.csv", b"a,b\n1\n", "row 2"),
        ("latin.csv", "a\nfa\xe7ade\n".encode("latin-1"), "not UTF-8"),
        ("table.json", b'{"a": 1}', "list of objects"),
        ("book.pdf", b"%PDF", "suffix '.pdf'"),
        ("nothing.jsonl", b"\n", "no rows"),
        ("blank.txt", b"\n \n", "no rows"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_splits(str(tmp_path / name))
    assert name in str(caught.value)


def test_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    tiny.write_jsonl(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(DataError, match=r"did you mean 'train.jsonl'"):
        load_splits(str(tmp_path / "trian.jsonl"))
    with pytest.raises(DataError, match="no folder"):
        load_splits(str(tmp_path / "nowhere" / "train.jsonl"))
    with pytest.raises(DataError, match=r"no data in the folder"):
        (tmp_path / "empty").mkdir()
        load_splits(str(tmp_path / "empty"))


def test_columns_are_found_by_their_usual_names() -> None:
    unnamed = Columns()
    assert find_columns(unnamed, "text-classification", ["id", "sentence", "category"]) == Columns(
        text_column="sentence", label_column="category"
    )
    assert find_columns(unnamed, "causal-lm", ["instruction", "response", "text"]) == Columns(
        prompt_column="instruction", completion_column="response"
    )
    assert find_columns(unnamed, "causal-lm", ["text", "label"]) == Columns(text_column="text")
    assert find_columns(
        Columns(text_column="body"), "causal-lm", ["prompt", "completion", "body"]
    ) == Columns(text_column="body")


def test_wrong_columns_list_those_there_are() -> None:
    with pytest.raises(DataError, match=r"'txet'.*'text', 'label'.*did you mean 'text'"):
        find_columns(Columns(text_column="txet"), "text-classification", ["text", "label"])
    with pytest.raises(DataError, match=r"no label column.*'text', 'stars'.*--label-column"):
        find_columns(Columns(), "text-classification", ["text", "stars"])
    with pytest.raises(DataError, match=r"no completion column.*--completion-column"):
        find_columns(Columns(prompt_column="q"), "causal-lm", ["q", "x"])


def test_labels_are_ordered_and_checked() -> None:
    assert label_names(["10", "9", "-1", "9"]) == ["-1", "9", "10"]
    assert label_names(["b", "a"]) == ["a", "b"]
    assert encode_labels(["b", "a", "b"], ["a", "b"]) == [1, 0, 1]
    with pytest.raises(DataError, match=r"did not see: 'plum'.*'pear', 'plump'.*did you mean 'plump'"):
        encode_labels(["pear", "plum"], ["pear", "plump"])
    with pytest.raises(DataError, match="at least two classes"):
        label_names(["a", "a"])
    rows = datasets.Dataset.from_list([{"label": "a"}, {"label": None}])
    with pytest.raises(DataError, match="None in row 2"):
        label_texts(rows, "label")
    with pytest.raises(DataError, match=r"0\.5 in row 1"):
        label_texts(datasets.Dataset.from_list([{"label": 0.5}]), "label")
