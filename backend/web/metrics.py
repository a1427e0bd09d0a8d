"""`/metrics` for Prometheus: what Redis and the records know about the whole installation, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.queue.connections import REDIS_DOWN
from backend.queue.metrics import PASS, RUNS_ENDED, TRIALS_ENDED, WAITED, WORKERS_LOST, histogram_of
from backend.queue.names import CHECKS, RUNS, TRIALS
from backend.queue.queues import Queues
from backend.web.dependencies import Services
from modelshapley.contracts import Status

PATH = "/metrics"
PREFIX = "modelshapley_"
ENDED = [status.value for status in Status if status.ended]


class Installation(Collector):
    """Metrics of the installation; only `modelshapley_redis_up` 0 while Redis does not respond."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(f"{PREFIX}redis_up", "Whether Redis responds.")
        try:
            metrics = [*self._queue_lengths(), *self._workers(), *self._history()]
        except REDIS_DOWN:
            metrics = []
        up.add_metric([], 1.0 if metrics else 0.0)
        return iter([up, *metrics])

    def _queue_lengths(self) -> list[Metric]:
        length = GaugeMetricFamily(f"{PREFIX}queue_jobs", "Waiting jobs.", labels=["queue"])
        oldest = GaugeMetricFamily(
            f"{PREFIX}queue_oldest_seconds", "Time for which the first waiting job has waited.", labels=["queue"]
        )
        ages = self._queues.oldest()
        for name, count in self._queues.lengths().items():
            length.add_metric([name], count)
            oldest.add_metric([name], ages.get(name, 0.0))
        return [length, oldest]

    def _workers(self) -> list[Metric]:
        self._queues.note_lost_workers()
        workers = self._queues.workers()
        count = GaugeMetricFamily(f"{PREFIX}workers", "Workers with a heartbeat.", labels=["state"])
        busy = sum(worker.current is not None for worker in workers)
        count.add_metric(["busy"], busy)
        count.add_metric(["idle"], len(workers) - busy)
        kept = GaugeMetricFamily(f"{PREFIX}memory_kept_bytes", "Memory that workers keep.", labels=["what"])
        warm = [worker.warm for worker in workers if worker.warm is not None]
        kept.add_metric(["models"], sum(model.bytes for state in warm for model in state.models))
        kept.add_metric(["hidden_states"], sum(probe.bytes for state in warm for probe in state.probes))
        return [count, kept]

    def _history(self) -> list[Metric]:
        stored = self._queues.metrics.read()
        families: list[Metric] = []
        for name, what in ((RUNS_ENDED, "Runs"), (TRIALS_ENDED, "Trials")):
            ended = CounterMetricFamily(f"{PREFIX}{name}", f"{what} that have ended, by outcome.", labels=["status"])
            for status in ENDED:
                ended.add_metric([status], stored.get(f"{name}|{status}", 0.0))
            families.append(ended)
        lost = CounterMetricFamily(f"{PREFIX}{WORKERS_LOST}", "Workers whose heartbeat stopped without a goodbye.")
        lost.add_metric([], stored.get(f"{WORKERS_LOST}|", 0.0))
        waited = HistogramMetricFamily(f"{PREFIX}{WAITED}_seconds", "Time that jobs waited.", labels=["queue"])
        for queue in (TRIALS, RUNS, CHECKS):
            waited.add_metric([queue], *histogram_of(stored, WAITED, queue))
        passes = HistogramMetricFamily(f"{PREFIX}{PASS}_seconds", "Time of one batch through all methods of a run.")
        passes.add_metric([], *histogram_of(stored, PASS))
        return [*families, lost, waited, passes]


class CountAnswers:
    """Counts the answers of this web server by the first digit of their status, as plain ASGI middleware."""

    def __init__(self, app: ASGIApp, answers: Counter) -> None:
        self._app, self._answers = app, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answers.labels(f"{message['status'] // 100}xx").inc()
            await send(message)

        await self._app(scope, receive, count if scope["type"] == "http" else send)


def install(root: FastAPI, services: Services) -> Counter:
    """Add the route; return the counter for CountAnswers."""
    registry = CollectorRegistry()
    registry.register(Installation(services.queues))
    answers = Counter(f"{PREFIX}http_answers", "Answers of this web server.", ["status"], registry=registry)

    @root.get(PATH, include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return answers
