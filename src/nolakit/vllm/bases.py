"""The base that the engine serves, as its files, and whether an adapter was made for it.

vLLM tells a resolver the base's name only. Headers give the shapes; the weights of a fingerprint's sketch are read once
for each kind of adapter.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict

from nolakit.adapter.fingerprint import check_fingerprint
from nolakit.adapter.packed import PackedAdapter
from nolakit.errors import ModelError, StreamingError, UnsupportedError
from nolakit.export.base_files import BaseFiles, open_base
from nolakit.export.base_weights import planned_weights
from nolakit.export.merge_plan import new_plan, plan_updates
from nolakit.vllm.settings import BASE

MOST_KINDS = 4096


class Bases:
    """Checks adapters against base models. One thread at a time.

    Args:
        files: where the base's files are, whatever the engine calls it; None takes its name.
    """

    def __init__(self, files: str | None = None) -> None:
        self._files = files
        self._bases: dict[str, BaseFiles] = {}
        self._fitting: OrderedDict[bytes, None] = OrderedDict()

    def check(self, adapter: PackedAdapter, served: str) -> None:
        """Check that an adapter was made for a base.

        Args:
            served: the `--model` of the engine: a folder or a hub id.

        Raises:
            BaseMismatchError: other modules, shapes or weights.
            ModelError: no files of the base. UnsupportedError, StreamingError: files that cannot be compared.
            AdapterError: a fingerprint or scaling that cannot be.

        Cost: of a kind of adapter that was found to fit before, a SHA-256 of its configuration; else reading up to four
        of the base's weights.
        """
        kind = _kind(adapter, served)
        if kind in self._fitting:
            self._fitting.move_to_end(kind)
            return
        plan = new_plan(adapter, self._base(served))
        plan_updates(plan)
        weight_at = planned_weights(plan)
        dims = {module.canonical: module.dims for module in adapter.checked_modules()}
        expected = adapter.config.get("base_fingerprint")
        if expected is not None:
            check_fingerprint(expected, dims, lambda path: weight_at(path) if path in dims else None)
        self._fitting[kind] = None
        if len(self._fitting) > MOST_KINDS:
            self._fitting.popitem(last=False)

    def _base(self, served: str) -> BaseFiles:
        name = self._files or served
        if name not in self._bases:
            try:
                self._bases[name] = open_base(name)
            except (ModelError, StreamingError, UnsupportedError) as error:
                raise type(error)(
                    f"{error}. Adapters are checked against the files of the base: set {BASE} to where they are as "
                    "they were before quantisation"
                ) from error
        return self._bases[name]


def _kind(adapter: PackedAdapter, served: str) -> bytes:
    """Adapters of one kind fit the same bases: they differ in their numbers only."""
    described = [served, adapter.config, adapter.description.patterns, sorted(adapter.other_tensors())]
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).digest()
