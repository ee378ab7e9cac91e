"""The endpoint's counters for Prometheus. Labels are names of models and kinds of failures, never a client's text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of one endpoint."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("polyswe_requests", "Answered requests", ["model", "status"], registry=self.registry)
        self.failures = Counter("polyswe_model_failures", "Failed calls", ["model", "kind"], registry=self.registry)
        self.routed = Counter("polyswe_conversations", "Conversations decided", ["model"], registry=self.registry)
        self.in_flight = Gauge("polyswe_in_flight", "Requests being answered", registry=self.registry)
        self.deciding = Histogram(
            "polyswe_deciding_seconds", "Embedding and decision", buckets=_SECONDS, registry=self.registry
        )
        self.answering = Histogram(
            "polyswe_answer_seconds", "From request to answer", ["model"], buckets=_SECONDS, registry=self.registry
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)
