"""The metrics of a server, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests. No label holds a text, an address or a token.

    Args:
        taken: Returns the requests that are computed or wait.
    """

    def __init__(self, taken: Callable[[], float]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("korag_requests", "Requests answered.", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "korag_request_seconds", "Seconds per request.", ["path"], buckets=_SECONDS, registry=registry
        )
        self._texts = Counter("korag_texts", "Texts searched for, encoded or scored.", ["path"], registry=registry)
        self._documents = Gauge("korag_documents", "Documents in the collection.", registry=registry)
        self._taken = Gauge("korag_requests_in_progress", "Requests that are computed or wait.", registry=registry)
        self._taken.set_function(taken)

    def count(self, path: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_texts(self, path: str, texts: int) -> None:
        """Counts texts that were worked on."""
        self._texts.labels(path).inc(texts)

    def text(self, documents: float) -> bytes:
        """Returns all metrics in Prometheus' text format.

        Args:
            documents: Documents in the collection now; NaN if it cannot be read.
        """
        self._documents.set(documents)
        return generate_latest(self._registry)
