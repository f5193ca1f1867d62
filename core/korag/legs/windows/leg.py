"""A leg whose documents are searched in windows: each scores as its best window does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.explanations import LegExplanation
from korag.legs.base import Codec, EncoderLeg, Leg, Scores, SegmentSlice, damaged_entry
from korag.legs.registry import leg_type
from korag.legs.windows.codec import WindowedCodec, WindowVectors, window_slice
from korag.legs.windows.settings import Windows
from korag.legs.windows.splitting import Span, split_documents
from korag.scoring import Ints


@dataclass(frozen=True)
class WindowScores:
    """Scores of documents for one query, and of their windows.

    Attributes:
        scores: Of the documents of all slices. Shape: (documents,).
    """

    scores: Scores
    _windows: Scores
    _firsts: Ints
    _rows: Sequence[SegmentSlice]
    _slices: Sequence[SegmentSlice]

    def span(self, document: int) -> Span | None:
        """Returns the place of a document's best window in its text; None if the document is a single window.

        Args:
            document: Its position in all slices.
        """
        first, end = int(self._firsts[document]), int(self._firsts[document + 1])
        if end - first == 1:
            return None
        window = first + int(self._windows[first:end].argmax())
        for windows, part in zip(self._rows, self._slices, strict=True):
            if window < len(windows.rows):
                begin, end = part.arrays["window_spans"][windows.rows[window]].tolist()
                return begin, end
            window -= len(windows.rows)
        raise IndexError(document)


class WindowedLeg(Leg):
    """Another leg, which searches windows as it would documents.

    Args:
        inner: The other leg.
        codec: How windows are stored.
        windows: Their size and stride.
    """

    codec: WindowedCodec
    encoder: Encoder[Any]

    def __init__(self, inner: EncoderLeg, codec: WindowedCodec, windows: Windows) -> None:
        super().__init__(codec)
        self.inner, self.windows = inner, windows
        self.encoder = inner.encoder  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed: never None here
        self.takes_vectors, self.lexical = inner.takes_vectors, inner.lexical

    def identity(self) -> dict[str, Any]:
        """The other leg's, and the windows."""
        return {**self.inner.identity(), "windows": self.windows.to_dict()}

    @classmethod
    def reopen(cls, codec: Codec, recorded: Mapping[str, Any], given: Any, *, name: str, place: str) -> Self:
        """As `Leg.reopen`."""
        factory = leg_type(name).factory
        try:
            windows = Windows.from_dict(recorded.get("windows"))
        except ValueError as error:
            raise damaged_entry(name, place, "windows") from error
        if not isinstance(codec, WindowedCodec) or not issubclass(factory, EncoderLeg):
            raise damaged_entry(name, place, "codec")
        return cls(factory.reopen(codec.inner, recorded, given, name=name, place=place), codec, windows)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> WindowVectors:
        """Represents the windows of documents."""
        spans = split_documents(self.encoder, texts, self.windows)
        parts = [text[begin:end] for text, own in zip(texts, spans, strict=True) for begin, end in own]
        places = np.array([span for own in spans for span in own], np.int32).reshape(len(parts), 2)
        counts = np.array([len(own) for own in spans], np.int64)
        return WindowVectors(self.inner.encode_documents(parts, show_progress=show_progress), counts, places)

    def check_vectors(self, vectors: Any, texts: Sequence[str]) -> None:
        """As the other leg does; documents of several windows would need the vectors of each."""
        self._check_single(texts)
        self.inner.check_vectors(vectors, texts)

    def represent(self, vectors: Any, texts: Sequence[str]) -> WindowVectors:
        """As the other leg does, for documents of a single window."""
        self._check_single(texts)
        places = np.array([(0, len(text)) for text in texts], np.int32).reshape(len(texts), 2)
        return WindowVectors(self.inner.represent(vectors, texts), np.ones(len(texts), np.int64), places)

    def _check_single(self, texts: Sequence[str]) -> None:
        for text, tokens in zip(texts, self.encoder.count_tokens(texts), strict=True):
            if tokens > self.windows.size:
                raise InvalidArgumentError(
                    f"{text!r:.60}: 글이 '{self.encoder.model_name}'의 구간({self.windows.size}토큰)보다 길어, 통째로 "
                    "인코딩한 벡터는 받을 수 없습니다. 글을 나누어 인코딩하거나 window=None으로 만든 컬렉션에 "
                    "넣으세요.",
                    f"{text!r:.60}: the text is longer than a window of '{self.encoder.model_name}' "
                    f"({self.windows.size} tokens), so a vector of the whole cannot be taken. Split it before it is "
                    "encoded, or use a collection made with window=None.",
                )

    def encode_queries(self, texts: Sequence[str]) -> list[Any]:
        """As the other leg does."""
        return self.inner.encode_queries(texts)

    def query_from_vector(self, vector: Sequence[float]) -> Any:
        """As the other leg does."""
        return self.inner.query_from_vector(vector)

    def concat(self, parts: Sequence[WindowVectors]) -> WindowVectors:
        """Joins the windows of several segments."""
        return WindowVectors(
            self.inner.concat([part.vectors for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.spans for part in parts]),
        )

    def prepare(self, query: Any, slices: Sequence[SegmentSlice]) -> Any:
        """As the other leg does, for which all windows are documents."""
        return self.inner.prepare(query, [window_slice(part)[0] for part in slices])

    def search(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """As `Leg.search`."""
        for found in self.search_windows(queries, slices, k, exact=exact):
            yield found.scores

    def search_windows(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[WindowScores]:
        """`search`, whose results also know the best window of each document."""
        expanded = [window_slice(part) for part in slices]
        windows = [part for part, _ in expanded]
        counts = np.concatenate([np.zeros(0, np.int64), *(own for _, own in expanded)])
        firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        for scores in self.inner.search(queries, windows, _enough(counts, k), exact=exact):
            best = scores if len(scores) == len(counts) else np.maximum.reduceat(scores, firsts[:-1])
            yield WindowScores(best, scores, firsts, windows, slices)

    def explain(self, asked: str, query: Any, document: str, vectors: WindowVectors) -> LegExplanation:
        """As the other leg does, for the best window."""
        best = int(self.inner.score(query, vectors.vectors).argmax())
        begin, end = vectors.spans[best].tolist()
        own = self.inner.explain(asked, query, document[begin:end], vectors.vectors[best : best + 1]).moved(begin)
        return replace(own, span=(begin, end)) if len(vectors.spans) > 1 else own

    def max_score(self, query: Any) -> float:
        """As the other leg does."""
        return self.inner.max_score(query)

    def confidence(self, query: Any) -> float:
        """As the other leg does."""
        return self.inner.confidence(query)

    def similarities(self, vectors: WindowVectors) -> Scores:
        """Compares the first window of each document: pages of windows would take their square in comparisons."""
        firsts = (np.cumsum(vectors.counts) - vectors.counts).tolist()
        return self.inner.similarities(self.inner.concat([vectors.vectors[first : first + 1] for first in firsts]))


def _enough(counts: Ints, k: int) -> int:
    """Returns how many of the best windows are sure to be of `k` documents, or of all.

    All but one of the `k` documents may have all their windows before the first of the last one.
    """
    if not len(counts) or k <= 0 or int(counts.max()) == 1:
        return k
    if len(counts) <= k:
        return int(counts.sum())
    return 1 + int(np.partition(counts, len(counts) - k + 1)[len(counts) - k + 1 :].sum()) if k > 1 else 1
