"""A tracer provider for a test, and what it recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler


@contextmanager
def recording(sampler: Sampler = ALWAYS_ON) -> Iterator[InMemorySpanExporter]:
    """Configures a provider as an application does, and takes it away again; the API has no call for that."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", provider)
        yield exporter


def tree(spans: tuple[ReadableSpan, ...]) -> dict[str, list[str]]:
    """The names of the children of each span that has some, in the order in which they began; "" has the roots."""
    names = {span.context.span_id: span.name for span in spans}
    children: dict[str, list[str]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        parent = "" if span.parent is None else names[span.parent.span_id]
        children.setdefault(parent, []).append(span.name)
    return children


def named(spans: tuple[ReadableSpan, ...], name: str) -> ReadableSpan:
    """The only span of a name."""
    (found,) = [span for span in spans if span.name == name]
    return found
