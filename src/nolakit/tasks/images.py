"""Image folders: one sub-folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image, UnidentifiedImageError

from nolakit.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm"})


def is_image_folder(path: Path) -> bool:
    """Whether some sub-folder of `path` holds an image."""
    return any(_is_image(file) for sub in path.iterdir() if sub.is_dir() for file in sub.iterdir())


def image_rows(path: Path) -> Dataset:
    """Rows of `image` (a path) and `label` (the sub-folder's name), by name."""
    pairs = [
        (str(file), sub.name)
        for sub in sorted(path.iterdir())
        if sub.is_dir() and not sub.name.startswith(".")
        for file in sorted(sub.iterdir())
        if _is_image(file)
    ]
    return Dataset.from_dict({"image": [file for file, _ in pairs], "label": [name for _, name in pairs]})


def open_image(value: Any) -> Image.Image:
    """The image of a row, a path or an image already, in RGB.

    Raises:
        DataError: not an image.
    """
    try:
        image = value if isinstance(value, Image.Image) else Image.open(value)
        return image.convert("RGB")
    except (OSError, UnidentifiedImageError, AttributeError, TypeError) as error:
        raise DataError(f"found {value!r}, which is not a readable image: {error}") from error


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES
