"""The layout of windows: that of another codec, with which windows belong to which document, and their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.legs.arrays import check_array, check_starts, is_ascending, join_ranges, renamed, require
from korag.legs.base import Arrays, Codec, SegmentSlice
from korag.scoring import Ints

_SUFFIX = "+windows"
_OWN = ("window_starts", "window_spans")


@dataclass(frozen=True)
class WindowVectors:
    """The vectors of documents in windows.

    Attributes:
        vectors: Of all windows, as the leg represents documents.
        counts: Windows of each document; at least 1. Shape: (documents,).
        spans: Where each window begins and ends in its document's text. Shape: (windows, 2).
    """

    vectors: Any
    counts: Ints
    spans: NDArray[np.int32]


class WindowedCodec(Codec):
    """Windows as another codec stores documents; and ``window_starts``, where each document's begin, and the end.

    ``window_spans`` are the places of windows in the texts. Named after the other codec, so that a KoRAG without
    windows says what it lacks.

    Args:
        inner: The other codec.
    """

    def __init__(self, inner: Codec) -> None:
        self.inner = inner
        self.name = inner.name + _SUFFIX  # type: ignore[misc]  # one instance for each codec
        self.version = inner.version  # type: ignore[misc]
        self.learns = inner.learns  # type: ignore[misc]

    def encode(self, vectors: WindowVectors) -> dict[str, NDArray[Any]]:
        """Stores windows."""
        return self.encode_with(vectors, self.learn(vectors))

    def learn(self, vectors: WindowVectors) -> Arrays | None:
        """As the other codec."""
        return self.inner.learn(vectors.vectors)

    def learned(self, arrays: Arrays) -> tuple[str, Arrays] | None:
        """As the other codec."""
        return self.inner.learned(inner_arrays(arrays))

    def encode_with(self, vectors: WindowVectors, learned: Arrays | None) -> dict[str, NDArray[Any]]:
        """As `encode`, with what the other codec has learned."""
        starts = np.concatenate([[0], np.cumsum(vectors.counts)]).astype(np.int64)
        inner = self.inner.encode_with(vectors.vectors, learned)
        return {**inner, "window_starts": starts, "window_spans": vectors.spans}

    def merge(self, parts: Sequence[SegmentSlice], concat: Callable[[Sequence[Any]], Any]) -> dict[str, NDArray[Any]]:
        """As the other codec, if that puts its arrays together without decoding them."""
        if not self.inner.learns:
            return super().merge(parts, concat)
        windows = [window_slice(part) for part in parts]
        counts = np.concatenate([own for _, own in windows])
        spans = [part.arrays["window_spans"][own.rows] for part, (own, _) in zip(parts, windows, strict=True)]
        return {
            **self.inner.merge([own for own, _ in windows], concat),
            "window_starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            "window_spans": np.concatenate(spans),
        }

    def decode(self, arrays: Arrays, rows: Ints) -> WindowVectors:
        """Returns all windows of some documents."""
        windows, counts = window_rows(arrays, rows)
        vectors = self.inner.decode(inner_arrays(arrays), windows)
        return WindowVectors(vectors, counts, arrays["window_spans"][windows])

    def read(self, arrays: Arrays, version: int) -> Arrays:
        """As the other codec reads its own."""
        return {**self.inner.read(inner_arrays(arrays), version), **{name: arrays[name] for name in _OWN}}

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        self.inner.check(inner_arrays(arrays), self._check_windows(arrays, rows), dim=dim)

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check_layout`; the arrays of windows are small."""
        self.inner.check_layout(inner_arrays(arrays), self._check_windows(arrays, rows), dim=dim)

    @staticmethod
    def _check_windows(arrays: Arrays, rows: int) -> int:
        """Checks which windows are whose; returns how many there are."""
        require(arrays.keys() >= set(_OWN), f"arrays {sorted(arrays)} instead of windows")
        starts, spans = arrays["window_starts"], arrays["window_spans"]
        check_array(arrays, "window_spans", np.int32, None, 2)
        check_array(arrays, "window_starts", np.int64, rows + 1)
        check_starts("window_starts", starts, len(spans))
        require(is_ascending(starts, strictly=True), "window_starts: a document without windows")
        require((spans[:, 0] >= 0).all() and (spans[:, 0] < spans[:, 1]).all(), "window_spans: out of range")
        return len(spans)


def split_name(name: str) -> tuple[str, bool]:
    """Returns the name of the codec that stores a leg's vectors, and whether these are of windows."""
    return name.removesuffix(_SUFFIX), name.endswith(_SUFFIX)


def inner_arrays(arrays: Arrays) -> Arrays:
    """The arrays of the other codec."""
    return renamed(arrays, {name: name for name in arrays if name not in _OWN})


def window_rows(arrays: Arrays, rows: Ints) -> tuple[Ints, Ints]:
    """Returns the windows of some documents, and how many each of them has. Shapes: (windows,), (documents,)."""
    starts = arrays["window_starts"]
    if len(rows) == len(starts) - 1:
        return np.arange(starts[-1]), np.diff(starts)
    first, counts = starts[rows], starts[rows + 1] - starts[rows]
    return join_ranges(first, counts), counts


def window_slice(part: SegmentSlice) -> tuple[SegmentSlice, Ints]:
    """Returns the windows of a slice's documents as a slice of the other codec, and how many each document has."""
    starts = part.arrays["window_starts"]
    if len(starts) - 1 == starts[-1]:  # every document is a window, and its row that window's
        rows, counts = part.rows, np.ones(len(part.rows), np.int64)
    else:
        rows, counts = window_rows(part.arrays, part.rows)
    return SegmentSlice(inner_arrays(part.arrays), rows, segment_memo=part.segment_memo), counts
