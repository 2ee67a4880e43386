"""Prometheus metrics. No label grows with the number of adapters, keys or clients."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nolakit.serve.watching import Observer, Stats

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
KEPT = 4096  # first tokens between two samples of the status page
GAUGES: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "requests_waiting": ("Requests in the queue.", lambda stats: stats.waiting),
    "requests_running": ("Requests in the batch.", lambda stats: stats.running),
    "slots": ("Slots of expanded factors.", lambda stats: len(stats.slots)),
    "slots_used": (
        "Slots that hold an adapter.",
        lambda stats: sum(s.digest is not None for s in stats.slots),
    ),
    "adapters_known": ("Adapters whose coefficients are in memory.", lambda stats: stats.known),
    "adapters_known_bytes": ("Bytes of these coefficients.", lambda stats: stats.known_bytes),
}
COUNTERS: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "adapter_hits": ("Admitted requests whose adapter was in a slot.", lambda stats: stats.hits),
    "adapter_misses": ("Admitted requests whose adapter was not in a slot.", lambda stats: stats.misses),
    "adapter_evictions": ("Adapters that lost their slot to another.", lambda stats: stats.evictions),
    "prompt_tokens": ("Tokens of prompts.", lambda stats: stats.prompt_tokens),
    "generated_tokens": ("Tokens generated.", lambda stats: stats.generated_tokens),
}


class Metrics(Observer):
    """An Observer with a registry of its own. `watch` gives it what to ask for counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stats: Callable[[], Stats] | None = None
        self._lock = threading.Lock()
        self._first_tokens: deque[float] = deque(maxlen=KEPT)
        self._queued = self._histogram("queue_seconds", "Seconds in the queue.")
        self._expanding = self._histogram("expand_seconds", "Seconds of expanding an adapter's factors.")
        self._first_token = self._histogram("time_to_first_token_seconds", "Seconds to the first token.")
        self._step = self._histogram("step_seconds", "Seconds of a forward pass of the whole batch.")
        self._duration = self._histogram("request_seconds", "Seconds from a request to its end.")
        self._ended = Counter(
            "nolakit_requests",
            "Requests to the engine by how they ended.",
            ["outcome"],
            registry=self.registry,
        )
        self._http = Counter(
            "nolakit_http_requests", "HTTP requests.", ["method", "route", "status"], registry=self.registry
        )
        self.registry.register(self)

    def watch(self, stats: Callable[[], Stats]) -> None:
        """Take the counts from here."""
        self._stats = stats

    def admitted(self, *, hit: bool, waited: float) -> None:
        self._queued.observe(waited)

    def expanded(self, seconds: float) -> None:
        self._expanding.observe(seconds)

    def first_token(self, seconds: float) -> None:
        self._first_token.observe(seconds)
        with self._lock:
            self._first_tokens.append(seconds)

    def stepped(self, tokens: int, seconds: float) -> None:
        self._step.observe(seconds)

    def finished(self, reason: str, prompt_tokens: int, tokens: int, seconds: float) -> None:
        self._ended.labels(reason).inc()
        self._duration.observe(seconds)

    def answered(self, method: str, route: str, status: int) -> None:
        """Count an HTTP request. route: its template, not what a client wrote."""
        self._http.labels(method if method in METHODS else "other", route, str(status)).inc()

    def take_first_tokens(self) -> list[float]:
        """Seconds to the first token, of what had one since this was last called."""
        with self._lock:
            taken = list(self._first_tokens)
            self._first_tokens.clear()
        return taken

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Counts of the engine, as prometheus_client asks a collector for them."""
        if self._stats is None:
            return
        stats = self._stats()
        for name, (text, value) in GAUGES.items():
            yield GaugeMetricFamily("nolakit_" + name, text, value(stats))
        for name, (text, value) in COUNTERS.items():
            yield CounterMetricFamily("nolakit_" + name, text, value(stats))

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram("nolakit_" + name, text, buckets=SECONDS, registry=self.registry)


class Counting:
    """Middleware: counts every answer by the route that gave it."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # where the client leaves before an answer begins

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(scope["method"], route, status)
