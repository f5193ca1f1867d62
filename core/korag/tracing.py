"""OpenTelemetry spans of encoding, searching, fusing and reranking, where a process records any.

Names and attributes follow OpenInference (https://github.com/Arize-ai/openinference, ``spec/``) where it has one, and
begin with ``korag.`` where it has none. No span holds a text, metadata, a vector, or the message of an error; of
documents it has ids and scores. ``docs/tracing.md`` lists them.

Nothing here imports OpenTelemetry: whoever configures a tracer provider has imported it already.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["CHAIN", "EMBEDDING", "RERANKER", "RETRIEVER"]
MOST_DOCUMENTS = 20
"""Documents of which a span has id and score: an SDK keeps 128 attributes and drops the first ones beyond."""
_KIND = "openinference.span.kind"
_MILLISECONDS = "korag.milliseconds"
_HIDDEN = "OPENINFERENCE_HIDE_OUTPUTS"

_tracers: tuple[Any, Any] | None = None
"""The tracer provider and its tracer, which takes longer to make than to use."""


@dataclass(frozen=True)
class Span:
    """An operation; everything about it costs nothing unless it is recorded.

    Attributes:
        otel: The span of OpenTelemetry; None if there is none.
        parts: What it consists of, by name (see `part`).
    """

    otel: Any = None
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def is_recording(self) -> bool:
        """False if attributes would go nowhere."""
        return self.otel is not None and self.otel.is_recording()

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Sets attributes by their names; a value of None is left out."""
        if self.is_recording:
            self.otel.set_attributes(_given(attributes))

    def set_documents(self, prefix: str, documents: Iterable[tuple[str | None, float]]) -> None:
        """Sets ids and scores of the best documents, unless OpenInference's setting hides outputs.

        Args:
            prefix: ``"retrieval.documents"`` or ``"reranker.output_documents"``.
            documents: (id, score), best first; None for one without an id.
        """
        if not self.is_recording or os.environ.get(_HIDDEN, "").lower() == "true":
            return
        for index, (id_, score) in zip(range(MOST_DOCUMENTS), documents, strict=False):
            if id_ is not None:
                self.otel.set_attribute(f"{prefix}.{index}.document.id", id_)
            self.otel.set_attribute(f"{prefix}.{index}.document.score", float(score))


@dataclass
class Part:
    """A part of an operation that may have run several times, such as one leg for many queries.

    Attributes:
        kind: As in OpenInference.
        attributes: Of its span.
        found: Documents found, summed up.
        times: (begin, end) of every run, in nanoseconds since the epoch.
    """

    kind: Kind
    attributes: Mapping[str, Any]
    found: int = 0
    times: list[tuple[int, int]] = field(default_factory=list)


_OFF = Span()
_nothing = nullcontext(_OFF)
_current: ContextVar[Span] = ContextVar("korag_span", default=_OFF)


def span(name: str, kind: Kind, attributes: Mapping[str, Any]) -> AbstractContextManager[Span]:
    """Returns a context that is a span of OpenTelemetry if a tracer provider is configured.

    Args:
        name: Its name.
        kind: As in OpenInference.
        attributes: As for `Span.set`.
    """
    tracer = _tracer()
    return _nothing if tracer is None else _recorded(tracer, name, kind, attributes)


@contextmanager
def _recorded(tracer: Any, name: str, kind: Kind, attributes: Mapping[str, Any]) -> Iterator[Span]:
    given = {_KIND: kind, **_given(attributes)}
    with tracer.start_as_current_span(
        name, attributes=given, record_exception=False, set_status_on_exception=False
    ) as otel:
        span = Span(otel)
        token = _current.set(span)
        begin = time.perf_counter_ns()
        try:
            yield span
        except BaseException as error:
            _set_error(otel, error)
            raise
        finally:
            _current.reset(token)
            span.set({_MILLISECONDS: (time.perf_counter_ns() - begin) / 1e6})
            for part_name, part in span.parts.items():
                _emit(tracer, part_name, part)


def part(name: str, kind: Kind, attributes: Mapping[str, Any]) -> AbstractContextManager[Part]:
    """Returns a context that is timed as part of the innermost `span`; all of one name become one child of it.

    So a search of many queries has one span per leg, whatever the order in which legs and queries take turns.

    Args:
        name: Its name.
        kind: As in OpenInference.
        attributes: As for `Span.set`.
    """
    span, part = _current.get(), Part(kind, attributes)
    return _timed(span.parts.setdefault(name, part)) if span.is_recording else nullcontext(part)


@contextmanager
def _timed(part: Part) -> Iterator[Part]:
    begin = time.time_ns()
    try:
        yield part
    finally:
        part.times.append((begin, time.time_ns()))


def _emit(tracer: Any, name: str, part: Part) -> None:
    """Makes the span of a part that has ended."""
    worked = sum(end - begin for begin, end in part.times) / 1e6
    attributes = {_KIND: part.kind, **_given(part.attributes), "korag.found": part.found, _MILLISECONDS: worked}
    begin, end = min(begin for begin, _ in part.times), max(end for _, end in part.times)
    tracer.start_span(name, attributes=attributes, start_time=begin).end(end_time=end)


def _tracer() -> Any:
    """Returns the tracer of this process; None if no tracer provider is configured."""
    global _tracers
    api: Any = sys.modules.get("opentelemetry.trace")
    if not hasattr(api, "get_tracer_provider"):  # not imported, or another thread is just doing that
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
        return None
    if (known := _tracers) is None or known[0] is not provider:
        _tracers = known = provider, provider.get_tracer("korag", sys.modules["korag"].__version__)
    return known[1]


def _set_error(otel: Any, error: BaseException) -> None:
    """Marks a span as failed, by the class of the error: its message may quote a query."""
    api = sys.modules["opentelemetry.trace"]
    name = type(error).__name__
    otel.set_attribute("error.type", name)
    otel.set_status(api.Status(api.StatusCode.ERROR, name))


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
