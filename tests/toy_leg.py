"""A leg from outside the package, in one file: how often the query occurs in a document, word for word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.legs.base import Arrays, Codec, ModelFreeLeg, Scores, SegmentSlice, score_all
from korag.legs.registry import register_leg
from korag.scoring import Ints
from korag.text import normalize


class TextCodec(Codec):
    """The texts in UTF-8, concatenated, with their offsets."""

    name = "utf8"

    def encode(self, vectors: list[bytes]) -> dict[str, NDArray[Any]]:
        offsets = np.cumsum([0, *map(len, vectors)])
        return {"bytes": np.frombuffer(b"".join(vectors), np.uint8), "offsets": offsets.astype(np.int64)}

    def decode(self, arrays: Arrays, rows: Ints) -> list[bytes]:
        starts, ends = arrays["offsets"][rows], arrays["offsets"][rows + 1]
        return [arrays["bytes"][start:end].tobytes() for start, end in zip(starts, ends, strict=True)]


class PhraseLeg(ModelFreeLeg):
    """Counts exact occurrences of the whole query."""

    def __init__(self, codec: Codec, *, fold_case: bool = True) -> None:
        super().__init__(codec)
        self.fold_case = fold_case

    @property
    def settings(self) -> dict[str, Any]:
        return {"fold_case": self.fold_case}

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> list[bytes]:
        return self.encode_queries(texts)

    def encode_queries(self, texts: Sequence[str]) -> list[bytes]:
        folded = (normalize(text).casefold() if self.fold_case else normalize(text) for text in texts)
        return [text.encode() for text in folded]

    def search(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        return score_all(self._count, queries, slices)

    def _count(self, arrays: Arrays, query: bytes, rows: Ints) -> Scores:
        counts = np.array([text.count(query) for text in self.codec.decode(arrays, rows)], np.float32)
        counts[counts == 0] = -np.inf
        return counts

    def max_score(self, query: bytes) -> float:
        return 10.0

    def similarities(self, vectors: list[bytes]) -> Scores:
        return np.array([[float(one == other) for other in vectors] for one in vectors], np.float32)


def register() -> None:
    register_leg("phrase", factory=PhraseLeg, codecs=[TextCodec()])
