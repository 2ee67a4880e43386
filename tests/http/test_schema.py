"""schemathesis on the OpenAPI document: whatever it makes up gets an answer that is declared, and never a 5xx."""

from __future__ import annotations

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi

from fake_engine import FakeEncoder, FakeEngine, byte_tokenizer
from live_server import live
from nolakit.http.served import Served

CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
    openapi.negative_data_rejection,
]
BOUNDED = settings(
    max_examples=15, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def attack(url: str) -> dict[str, set[int]]:
    """Send requests that hold to the document and requests that do not. Returns the statuses of each operation."""
    statuses: dict[str, set[int]] = {}
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        operation = found.ok()
        seen = statuses[f"{operation.method.upper()} {operation.path}"] = set()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            with suppress(Unsatisfiable):  # an operation without input can get no wrong one
                _send(operation.as_strategy(generation_mode=mode), mode, seen)
    return statuses


def _send(made, mode: GenerationMode, seen: set[int]) -> None:
    @BOUNDED
    @given(case=made)
    def send(case):
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "base"
        seen.add(case.call_and_validate(checks=CHECKS, timeout=20).status_code)

    send()


def test_the_document_of_a_language_model_holds(store):
    with FakeEngine(store, byte_tokenizer(), max_length=64, max_queue=256) as engine:
        served = Served("base", "causal-lm", engine, byte_tokenizer(), most_choices=32)
        with live(served, admin=True) as running:
            statuses = attack(running.url)
    assert len(statuses) == 12
    assert {200, 400} <= statuses["POST /v1/completions"]
    assert {200, 400} <= statuses["POST /v1/chat/completions"]
    assert 400 in statuses["PUT /v1/adapters/{name}"]
    assert 200 in statuses["GET /v1/models"]


@pytest.mark.parametrize("task, path", [("embeddings", "embeddings"), ("text-classification", "classify")])
def test_the_document_of_an_encoder_holds(store, task, path):
    with live(Served("base", task, FakeEncoder(store, max_queue=64), byte_tokenizer())) as running:
        statuses = attack(running.url)
    assert len(statuses) == 11
    assert {200, 400} <= statuses[f"POST /v1/{path}"]
