"""Metrics and the status page's numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nolakit.http.history import SAMPLES, History
from nolakit.serve.watching import Slot, Stats

NOTHING = Stats((Slot(None, None, 0),), 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0)


def values_of(running) -> dict[str, float]:
    text = running.client.get("/metrics").text
    return {
        sample.name + str(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_happened(running, engine, store):
    for model in ("base", "team/one", "team/one", "other"):
        running.post("/v1/completions", model=model, prompt="hello", max_tokens=5)
    running.post("/v1/completions", model="nothing", prompt="hello")
    running.client.get("/no/such/path")
    running.client.request("BREW", "/v1/models")
    engine.wait_for(lambda engine: not engine.running)
    found = values_of(running)
    assert found["nolakit_adapter_hits_total[]"] == 1
    assert found["nolakit_adapter_misses_total[]"] == 2
    assert found["nolakit_generated_tokens_total[]"] == 20
    assert found["nolakit_prompt_tokens_total[]"] == 20
    assert found["nolakit_requests_total['length']"] == 4
    assert found["nolakit_time_to_first_token_seconds_count[]"] == 4
    assert found["nolakit_request_seconds_count[]"] == 4
    assert found["nolakit_queue_seconds_count[]"] == 4
    assert (found["nolakit_requests_waiting[]"], found["nolakit_requests_running[]"]) == (0, 0)
    assert (found["nolakit_slots[]"], found["nolakit_slots_used[]"], found["nolakit_adapters_known[]"]) == (
        8,
        2,
        2,
    )
    assert found["nolakit_http_requests_total['/v1/completions', '200', 'POST']"] == 4
    assert found["nolakit_http_requests_total['/v1/completions', '404', 'POST']"] == 1
    assert found["nolakit_http_requests_total['404', 'GET', 'other']"] == 1
    assert found["nolakit_http_requests_total['/v1/models', '405', 'other']"] == 1


def test_labels_do_not_grow_with_adapters(running, store):
    running.post("/v1/completions", model="other", prompt="hello", max_tokens=5)
    running.client.get("/v1/models/other")
    before = set(values_of(running))
    for model in ("team/one", "team/two", "team/one@1"):
        running.post("/v1/completions", model=model, prompt="hello", max_tokens=5)
        running.client.get(f"/v1/models/{model}")
    assert all("'/metrics'" in name for name in set(values_of(running)) - before)


def test_history_has_rates_and_quantiles_of_each_interval():
    now, stats, firsts = [100.0], [NOTHING], [list[float]()]
    history = History(lambda: stats[0], lambda: firsts[0], clock=lambda: now[0])
    now[0], firsts[0] = 102.0, [0.3, 0.1, 0.2, 0.4]
    stats[0] = replace(NOTHING, generated_tokens=50, requests=4, hits=3, misses=1, running=2, waiting=1)
    history.sample()
    now[0], firsts[0] = 104.0, []
    history.sample()
    columns = history.columns()
    assert columns["time"] == [102.0, 104.0]
    assert columns["tokens_per_second"] == [25.0, 0.0]
    assert columns["requests_per_second"] == [2.0, 0.0]
    assert columns["hit_rate"] == [0.75, None]
    assert (columns["first_token_median"], columns["first_token_p95"]) == ([0.3, None], [0.4, None])
    assert (columns["running"], columns["waiting"]) == ([2, 2], [1, 1])
    for _ in range(SAMPLES):
        now[0] += 2
        history.sample()
    assert len(history.columns()["time"]) == SAMPLES


def test_the_status_shows_slots_counts_and_history(running, store):
    running.post("/v1/completions", model="team/one", prompt="hello", max_tokens=5)
    status = running.client.get("/status.json").json()
    assert (status["model"], status["task"], status["adapters"]) == ("base", "causal-lm", 3)
    assert status["counts"]["misses"] == 1
    assert status["counts"]["hit_rate"] == 0
    assert status["slots"][0] == {
        "digest": store.digest("team/one"),
        "name": "team/one",
        "used": True,
        "running": 0,
    }
    assert status["slots"][1] == {"digest": None, "name": None, "used": False, "running": 0}
    assert set(status["history"]) >= {"time", "tokens_per_second", "hit_rate", "first_token_median"}


def test_the_page_needs_nothing_from_elsewhere(running):
    answer = running.client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "src=" not in answer.text
    assert answer.text.count("http://") == answer.text.count("http://www.w3.org/2000/svg")
    assert "https://" not in answer.text


@pytest.mark.parametrize("path", ["/health", "/openapi.json"])
def test_what_describes_the_server(running, path):
    answer = running.client.get(path)
    assert answer.status_code == 200
    if path == "/openapi.json":
        operations = [each for path in answer.json()["paths"].values() for each in path.values()]
        assert all("422" not in operation["responses"] for operation in operations)
