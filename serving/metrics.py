"""What the server counts and measures, for Prometheus. Labels are of fixed sets: nothing that a client sends is one."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_EXCERPTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1_000, 10_000)


class Metrics:
    """The metrics of one application, in a registry of their own.

    Attributes:
        requests: Requests, by route, method and status (499: the client hung up before the answer).
        request_seconds: From a request's headers to the end of its answer, by route.
        excerpts: Excerpts that were scored and answered.
        request_excerpts: Excerpts in a request.
        batch_excerpts: Excerpts in a batch.
        wait_seconds: From acceptance to a request's first batch.
        inference_seconds: Time that the model took for a batch.
        model_changes: Changes of the model, by outcome: ``done`` or ``failed``.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("tlc_requests", "Requests.", ["route", "method", "status"], registry=self.registry)
        self.request_seconds = Histogram(
            "tlc_request_seconds",
            "From a request's headers to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.excerpts = Counter("tlc_excerpts", "Excerpts scored and answered.", registry=self.registry)
        self.request_excerpts = Histogram(
            "tlc_request_excerpts", "Excerpts in a request.", buckets=_EXCERPTS, registry=self.registry
        )
        self.batch_excerpts = Histogram(
            "tlc_batch_excerpts", "Excerpts in a batch.", buckets=_EXCERPTS, registry=self.registry
        )
        self.wait_seconds = Histogram(
            "tlc_wait_seconds",
            "From acceptance to a request's first batch.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.inference_seconds = Histogram(
            "tlc_inference_seconds", "Time the model took for a batch.", buckets=_SECONDS, registry=self.registry
        )

        self.model_changes = Counter("tlc_model_changes", "Changes of the model.", ["outcome"], registry=self.registry)
        self._model = Gauge(
            "tlc_model_info", "The model that serves.", ["name", "version", "codebook"], registry=self.registry
        )

    def watch(
        self,
        *,
        requests: Callable[[], float],
        excerpts: Callable[[], float],
        held_bytes: Callable[[], float],
        streams: Callable[[], float],
        models: Callable[[], float],
    ) -> None:
        """Show the state of the server, read when the metrics are."""
        for name, text, read in (
            ("tlc_queue_requests", "Requests waiting or being scored.", requests),
            ("tlc_queue_excerpts", "Excerpts in these requests.", excerpts),
            ("tlc_held_bytes", "Bytes of the bodies of all requests at hand.", held_bytes),
            ("tlc_streams", "Streams at hand.", streams),
            ("tlc_models", "Models in memory: 2 while one that was replaced finishes what it had accepted.", models),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def name_model(self, name: str, version: str, codebook: str) -> None:
        """Show which model serves, in the place of the one before it."""
        self._model.clear()
        self._model.labels(name, version, codebook).set(1)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
