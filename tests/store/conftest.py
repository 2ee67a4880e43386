from __future__ import annotations

import pytest

from nolakit.store.store import Store


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    with Store.create(tmp_path / "adapters.nola") as made:
        yield made
