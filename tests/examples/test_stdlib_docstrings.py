"""The demo's data: deterministic, honest, and complete."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from chapters import CHAPTERS, LABELS, top_level_names
from docstrings import MAX_WORDS, MIN_WORDS, WORD, Docstring, clean, collect
from splits import MODULE_CAP, assign, shingles, split, without_near_duplicates, write_sets

EXAMPLE = Path(sys.modules["splits"].__file__).parent
HASH = """
import hashlib
from docstrings import collect
from splits import split
print(hashlib.sha256(repr(split(collect())).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def sets():
    return split(collect())


def test_another_process_builds_the_same_sets(sets):
    found = subprocess.run(
        [sys.executable, "-c", HASH],
        cwd=EXAMPLE,
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": str(EXAMPLE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == hashlib.sha256(repr(sets).encode()).hexdigest()


def test_no_module_is_in_two_sets(sets):
    modules = [{example.module for example in examples} for examples in sets.values()]
    assert sum(map(len, modules)) == len(set.union(*modules))


def test_no_text_is_there_twice(sets):
    texts = [example.text for examples in sets.values() for example in examples]
    assert len(texts) == len(set(texts))


def test_no_test_text_shares_half_its_shingles_with_a_train_text(sets):
    seen = [shingles(example.text) for example in sets["train"]]
    for example in sets["test"][::10]:
        own = shingles(example.text)
        assert all(len(own & other) < 0.5 * min(len(own), len(other)) for other in seen), example.text


def test_every_label_is_in_every_set_with_more_than_one_module(sets):
    for examples in sets.values():
        for label in LABELS:
            assert len({example.module for example in examples if example.label == label}) > 1


def test_no_module_is_more_than_its_cap(sets):
    for examples in sets.values():
        modules = [example.module for example in examples]
        assert all(modules.count(module) <= MODULE_CAP for module in set(modules))


def test_the_answer_is_not_in_the_text(sets):
    names = top_level_names()
    for example in sets["train"]:
        words = {word.lower() for word in WORD.findall(example.text)} - {"_"}
        assert not words & (names | set(example.module.lower().split("."))), example


def test_texts_have_a_sensible_length(sets):
    for example in sets["train"]:
        assert MIN_WORDS <= len(example.text.split()) <= MAX_WORDS


def test_no_module_has_two_labels():
    names = [name for chapter in CHAPTERS.values() for name in chapter]
    assert len(names) == len(set(names))


def test_clean_hides_whole_words_and_drops_doctests():
    docstring = "Parse an Email; see emails.\n\n>>> email.parse('x')\n'x'\n\nThe end."
    assert clean(docstring, {"email"}).split() == ["Parse", "an", "_;", "see", "emails.", "The", "end."]


def test_a_missing_library_gives_no_examples(tmp_path):
    assert collect(tmp_path) == []


def test_sources_are_read_and_never_run(tmp_path):
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "tests").mkdir()
    source = '"""Seven words that say what this does."""\nraise SystemExit\n'
    (tmp_path / "json" / "__init__.py").write_text(source)
    (tmp_path / "json" / "tests" / "a.py").write_text(source)
    assert collect(tmp_path) == [
        Docstring("Seven words that say what this does.", "json", "markup and file formats")
    ]


def test_near_duplicates_are_dropped_in_favour_of_the_first():
    first = Docstring("Wait until all of the given things are done.", "a", "x")
    near = Docstring("Wait until all of the given things are finished.", "b", "y")
    other = Docstring("Split a line at each of its separators.", "c", "y")
    assert without_near_duplicates([first, near, other]) == [first, other]


def test_a_module_too_big_for_a_held_out_set_is_trained_on():
    chosen = assign({"big": 40, **{f"small{i}": 6 for i in range(10)}})
    assert chosen["big"] == "train"
    assert set(chosen.values()) == {"train", "validation", "test"}


def test_written_sets_are_read_back_by_datasets(tmp_path, sets):
    from datasets import load_dataset

    paths = write_sets({name: examples[:5] for name, examples in sets.items()}, tmp_path)
    rows = load_dataset(
        "json", data_files=str(paths["test"]), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows["text"] == [example.text for example in sets["test"][:5]]
