from __future__ import annotations

import pytest

from handmade_adapters import write_adapter


@pytest.fixture
def make_adapter(tmp_path):
    """Writes an adapter folder: `make_adapter(tensors=..., seed=1)`."""

    def make(name: str = "adapter", **changes):
        return write_adapter(tmp_path / name, **changes)

    return make
