"""Labels as names and numbers. Numbers are only within a run; names are what is stored and compared."""

from __future__ import annotations

from datasets import ClassLabel, Dataset

from nolakit.errors import DataError
from nolakit.tasks.nearest import nearest


def label_texts(rows: Dataset, column: str) -> list[str]:
    """The name of each row's label: 3 and "3" are the same, a ClassLabel's numbers become its names.

    Raises:
        DataError: a label that is missing, or neither text nor a whole number.
    """
    feature = rows.features[column]
    values = rows[column][:]
    if isinstance(feature, ClassLabel):
        if min(values) < 0:
            raise DataError(
                f"found rows without a label ({min(values)}) in column {column!r}; take another split"
            )
        return [feature.names[value] for value in values]
    return [_text(value, number, column) for number, value in enumerate(values, start=1)]


def label_names(texts: list[str]) -> list[str]:
    """The distinct labels: numbers in their order, else by the alphabet.

    Raises:
        DataError: fewer than two.
    """
    names = sorted(set(texts), key=lambda name: (0, int(name), name) if _is_int(name) else (1, 0, name))
    if len(names) < 2:
        raise DataError(
            f"found only the label {names[0]!r} in the training data; expected at least two classes"
        )
    return names


def encode_labels(texts: list[str], names: list[str]) -> list[int]:
    """The number of each row's label among `names`.

    Raises:
        DataError: labels that were not seen in training.
    """
    numbers = {name: number for number, name in enumerate(names)}
    unseen = sorted(set(texts) - set(numbers))
    if unseen:
        raise DataError(
            f"found labels that training did not see: {', '.join(map(repr, unseen[:8]))}; it saw "
            f"{', '.join(map(repr, names[:20]))}; {nearest(unseen[0], names)}"
        )
    return [numbers[text] for text in texts]


def _text(value: object, number: int, column: str) -> str:
    if isinstance(value, bool | int | str) and value != "":
        return str(int(value)) if isinstance(value, bool) else str(value)
    raise DataError(
        f"found label {value!r} in row {number} of column {column!r}; expected text or a whole number in each row"
    )


def _is_int(name: str) -> bool:
    return name.removeprefix("-").isascii() and name.removeprefix("-").isdigit()
