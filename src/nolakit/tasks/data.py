"""Data sets by path or id, as `datasets.Dataset`, split by split.

file.jsonl, file.csv, file.txt      one split, "train"
a folder of train.jsonl, validation.jsonl, ...      its splits (.csv and .txt likewise)
a folder of .txt files              one split, a document a file
an image folder                     one sub-folder a class; or train/, validation/, ... of such
a folder of save_to_disk            its splits
anything else                       a data set's id, `name` or `name:configuration`
"""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

from nolakit.errors import DataError
from nolakit.tasks.images import image_rows, is_image_folder
from nolakit.tasks.nearest import nearest
from nolakit.tasks.rows import SUFFIXES, read_rows

SPLIT_NAMES = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "eval": "validation", "test": "test",
}  # fmt: skip


def load_splits(source: str, *, text_unit: str = "line") -> dict[str, Dataset]:
    """The splits of a data set, none of them empty.

    Args:
        source: see the module's table.
        text_unit: "line" or "file", what one document of a text file is.

    Raises:
        DataError: nothing there, a format that is not known, a row that cannot be read, or no rows.
    """
    splits = _load(source, text_unit)
    for name, rows in splits.items():
        if not len(rows):
            raise DataError(f"found no rows in {source!r} (split {name!r}); expected at least one")
    return splits


def _load(source: str, text_unit: str) -> dict[str, Dataset]:
    path = Path(source).expanduser()
    if path.is_file():
        return {"train": read_rows(path, text_unit)}
    if path.is_dir():
        return _load_folder(path, text_unit)
    if _looks_like_path(source):
        neighbours = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = (
            nearest(path.name, neighbours)
            if neighbours
            else f"there is no folder {str(path.parent)!r} either"
        )
        raise DataError(f"found no file or folder {source!r}; {hint}")
    return _load_by_id(source)


def _load_folder(path: Path, text_unit: str) -> dict[str, Dataset]:
    if any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json", "state.json")):
        return _as_splits(load_from_disk(str(path)))
    folders = {
        SPLIT_NAMES[sub.name]: sub for sub in _entries(path) if sub.is_dir() and sub.name in SPLIT_NAMES
    }
    if folders and all(is_image_folder(sub) for sub in folders.values()):
        return {name: image_rows(sub) for name, sub in folders.items()}
    if is_image_folder(path):
        return {"train": image_rows(path)}
    files = [entry for entry in _entries(path) if entry.is_file() and entry.suffix in SUFFIXES]
    named = {SPLIT_NAMES[file.stem]: file for file in files if file.stem in SPLIT_NAMES}
    if named:
        return {name: read_rows(file, text_unit) for name, file in named.items()}
    texts = [file for file in files if file.suffix == ".txt"]
    if texts:
        documents = [text for file in texts for text in read_rows(file, "file")["text"]]
        return {"train": Dataset.from_dict({"text": documents})}
    raise DataError(
        f"found no data in the folder {str(path)!r}; expected train{{{','.join(SUFFIXES)}}}, .txt files, one "
        "sub-folder of images a class, or what datasets' save_to_disk writes"
    )


def _load_by_id(source: str) -> dict[str, Dataset]:
    name, _, configuration = source.partition(":")
    try:
        return _as_splits(load_dataset(name, configuration or None))
    except Exception as error:  # the hub's client has many kinds
        first_line = str(error).strip().split("\n")[0]
        raise DataError(
            f"found no file, folder or data set {source!r}: {type(error).__name__}: {first_line}. "
            "Give a path that exists or a data set's id"
        ) from error


def _as_splits(loaded: object) -> dict[str, Dataset]:
    if isinstance(loaded, DatasetDict):
        return {SPLIT_NAMES.get(str(name), str(name)): rows for name, rows in loaded.items()}
    if isinstance(loaded, Dataset):
        return {"train": loaded}
    raise DataError(f"found a {type(loaded).__name__}; expected a Dataset or a DatasetDict")


def _entries(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def _looks_like_path(source: str) -> bool:
    return source.startswith(("/", ".", "~")) or Path(source).suffix in SUFFIXES or source.count("/") > 1
