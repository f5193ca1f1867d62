"""What can be evaluated, each brought to one shape: a data set in, rankings out."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.evaluation.dataset import Dataset
from korag.evaluation.sparsity import SparsityCounter
from korag.fusion import reciprocal_rank_fusion, weighted_fusion
from korag.legs.base import Leg, LiveSegment
from korag.legs.bm25 import K1, B, BM25Leg
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.registry import LEG_NAMES, make_leg
from korag.legs.tokenizers import CustomTokenizer, Tokenizer
from korag.scoring import top_k
from korag.text import is_empty

Ranking = list[tuple[str, float]]
Advance = Callable[[int], object]
"""Told of every document indexed and every query answered."""
_INDEX_BATCH = 2_048
_QUERY_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What running a system gave.

    Attributes:
        rankings: For each query, (id, score), best first.
        search_seconds: Time to encode and answer all queries, in batches of 64.
        index_seconds: Time to encode and pack all documents; None where the system came with its index.
        index_bytes: Size of what was stored for searching, texts not included; None where unknown.
        facts: Figures of the system's own kind, such as the active dimensions of a sparse model.
    """

    rankings: Mapping[str, Ranking]
    search_seconds: float
    index_seconds: float | None = None
    index_bytes: int | None = None
    facts: Mapping[str, float] = field(default_factory=dict)


class System(ABC):
    """Something that ranks documents.

    Attributes:
        name: What tables call it.
        kind: ``"bm25"``, ``"dense"``, ``"sparse"``, ``"colbert"``, ``"hybrid"``, ``"collection"`` or ``"retriever"``.
        dim: Size of a vector, for systems of one encoder.
    """

    name: str
    kind: str
    dim: int | None = None

    @property
    def identity(self) -> str | None:
        """Equal for systems that rank alike; None where that cannot be known, so that nothing is reused."""
        return None

    @abstractmethod
    def steps(self, dataset: Dataset) -> int:
        """How often `run` will call `advance`, counted in documents and queries."""

    @abstractmethod
    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> Outcome:
        """Ranks the documents for every query, down to `k`."""


class LegSystem(System):
    """One leg of a collection over the data set's documents: an encoder or BM25.

    It stores and scores as `korag.Collection` does, by the same code, so rankings are those of its legs.
    """

    def __init__(self, name: str, encoder: Encoder[Any] | None = None, *, tokenizer: Tokenizer | None = None) -> None:
        self.name = name
        self._encoder, self._tokenizer = encoder, tokenizer
        self.kind = "bm25" if encoder is None else LEG_NAMES[encoder.family]
        self.dim = None if encoder is None or encoder.family == "sparse" else encoder.dim

    @property
    def identity(self) -> str | None:
        """The encoder's fingerprint, or the tokenizer's name with the constants of BM25."""
        if self._encoder is not None:
            return str(self._encoder.fingerprint)
        if isinstance(self._tokenizer, CustomTokenizer):
            return None  # its name does not tell what the function does today
        return f"bm25 {getattr(self._tokenizer, 'name', None)} {K1} {B}"

    def steps(self, dataset: Dataset) -> int:
        """Documents to index and queries to answer."""
        return len(dataset.documents) + len(dataset.queries)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> Outcome:
        """Indexes the documents in memory and answers the queries."""
        leg = self._leg()
        leg.encode_queries(["준비"])  # loads the model: a matter of once, not of speed
        ids = [id_ for id_, text in dataset.documents.items() if not is_empty(text)]
        counter = SparsityCounter(self._encoder.dim) if self._encoder is not None and self.kind == "sparse" else None
        segments: list[LiveSegment] = []
        start = time.perf_counter()
        for first in range(0, len(ids), _INDEX_BATCH):
            batch = ids[first : first + _INDEX_BATCH]
            vectors = leg.encode_documents([dataset.documents[id_] for id_ in batch], show_progress=False)
            if counter is not None:
                counter.add_documents(vectors)
            segments.append(LiveSegment(leg.pack(vectors), np.ones(len(batch), np.bool_)))
            advance(len(batch))
        index_seconds = time.perf_counter() - start
        advance(len(dataset.documents) - len(ids))
        rankings: dict[str, Ranking] = {}
        start = time.perf_counter()
        queries = list(dataset.queries.items())
        for first in range(0, len(queries), _QUERY_BATCH):
            filled = [(id_, text) for id_, text in queries[first : first + _QUERY_BATCH] if not is_empty(text)]
            encoded = leg.encode_queries([text for _, text in filled])
            found = _search(leg, encoded, segments, ids, k)
            for (id_, _), query, ranking in zip(filled, encoded, found, strict=True):
                rankings[id_] = ranking
                if counter is not None:
                    counter.add_query(query)
            advance(len(queries[first : first + _QUERY_BATCH]))
        return Outcome(
            rankings=rankings,
            search_seconds=time.perf_counter() - start,
            index_seconds=index_seconds,
            index_bytes=sum(array.nbytes for segment in segments for array in segment.arrays.values()),
            facts={} if counter is None else counter.facts(),
        )

    def _leg(self) -> Leg:
        if self._encoder is not None:
            return make_leg(self._encoder)
        assert self._tokenizer is not None  # noqa: S101 (for the type checker: one of the two is given)
        return BM25Leg(self._tokenizer)


@dataclass(frozen=True)
class Hybrid:
    """Legs searched together and fused, as ``Collection.search(using="hybrid")`` does.

    Attributes:
        models: Names, paths or loaded encoders, one of each family at most.
        bm25: A tokenizer as for `Collection`, or None for no BM25 leg.
        fusion: ``"weighted"`` or ``"rrf"``.
        weights: Weight of each leg (``"dense"``, ``"sparse"``, ``"colbert"``, ``"bm25"``); 1 where not given. None
            gives BM25 the weight 2 where scores are added (``"weighted"``), and all legs 1 where ranks are.
    """

    models: Sequence[Any] = ("mini-colbert", "mini-splade")
    bm25: Any = "bigram"
    fusion: Literal["rrf", "weighted"] = "weighted"
    weights: Mapping[str, float] | None = None


class HybridSystem(System):
    """Rankings of legs, fused. The legs' own rows are reused, so it costs no further encoding."""

    kind = "hybrid"

    def __init__(self, name: str, legs: Sequence[LegSystem], fusion: str, weights: Mapping[str, float] | None) -> None:
        kinds = [leg.kind for leg in legs]
        if len(legs) < 2 or len(set(kinds)) < len(kinds):
            raise InvalidArgumentError(
                f"하이브리드에는 서로 다른 검색 방식이 둘 이상 있어야 합니다. 넣은 것: {', '.join(kinds) or '없음'}.",
                f"A hybrid needs two or more legs of different kinds; these are: {', '.join(kinds) or 'none'}.",
            )
        if fusion not in ("rrf", "weighted"):
            raise InvalidArgumentError(
                f"fusion={fusion!r}은(는) 쓸 수 없습니다. 'rrf' 또는 'weighted'여야 합니다.",
                f"fusion={fusion!r} is not possible; it must be 'rrf' or 'weighted'.",
            )
        reciprocal_rank_fusion(dict.fromkeys(kinds, ()), weights=weights)  # checks names and values
        self.name, self.legs, self._fusion, self._weights = name, tuple(legs), fusion, weights

    @property
    def identity(self) -> str | None:
        """Those of the legs, and how they are fused."""
        parts = [leg.identity for leg in self.legs]
        return None if None in parts else json.dumps([parts, self._fusion, self._weights], sort_keys=True)

    def steps(self, dataset: Dataset) -> int:
        """Queries to fuse."""
        return len(dataset.queries)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> Outcome:
        """Runs every leg, then fuses."""
        return self.fuse([leg.run(dataset, k=k, advance=lambda _: None) for leg in self.legs], dataset, k, advance)

    def fuse(self, outcomes: Sequence[Outcome], dataset: Dataset, k: int, advance: Advance) -> Outcome:
        """Fuses what the legs gave, in their order; each leg gives its best `k` (as `fetch_k` in a search)."""
        order = {id_: index for index, id_ in enumerate(dataset.documents)}
        rankings: dict[str, Ranking] = {}
        start = time.perf_counter()
        for query in dataset.queries:
            runs = {
                leg.kind: outcome.rankings.get(query, [])[:k] for leg, outcome in zip(self.legs, outcomes, strict=True)
            }
            fused: Ranking
            if self._fusion == "rrf":
                ids = {kind: [id_ for id_, _ in run] for kind, run in runs.items()}
                fused = reciprocal_rank_fusion(ids, weights=self._weights)
            else:
                fused = weighted_fusion(runs, weights=self._weights)
            rankings[query] = sorted(fused, key=lambda item: (-item[1], order[item[0]]))[:k]
            advance(1)
        seconds = time.perf_counter() - start
        return Outcome(
            rankings=rankings,
            search_seconds=seconds + sum(outcome.search_seconds for outcome in outcomes),
            index_seconds=sum(outcome.index_seconds or 0.0 for outcome in outcomes),
            index_bytes=sum(outcome.index_bytes or 0 for outcome in outcomes),
        )


def _search(
    leg: Leg, queries: Sequence[Any], segments: Sequence[LiveSegment], ids: Sequence[str], k: int
) -> list[Ranking]:
    if not segments:
        return [[] for _ in queries]
    everything = np.arange(len(ids), dtype=np.int64)
    if isinstance(
        leg, LateInteractionLeg
    ):  # scoring every document for one query after another takes four times as long
        rough = np.concatenate([_maxsim([query[0] for query in queries], segment) for segment in segments], axis=1)
        candidates = [np.sort(top_k(row, everything, 2 * k)) for row in rough]
    else:
        candidates = [everything] * len(queries)
    rankings = []
    for query, numbers in zip(queries, candidates, strict=True):
        scores = _scores(leg, leg.prepare(query, segments), segments, numbers)
        best = top_k(scores, np.arange(len(numbers), dtype=np.int64), k)
        rankings.append([(ids[numbers[index]], float(scores[index])) for index in map(int, best)])
    return rankings


def _scores(leg: Leg, prepared: Any, segments: Sequence[LiveSegment], numbers: NDArray[np.int64]) -> Any:
    """Scores documents, numbered through all segments in ascending order, as a collection does."""
    parts, first = [], 0
    for segment in segments:
        last = first + len(segment.live)
        rows = numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, last)] - first
        parts.append(leg.scores(segment.arrays, prepared, rows))
        first = last
    return np.concatenate(parts)


def _maxsim(queries: Sequence[NDArray[np.float32]], segment: LiveSegment) -> NDArray[np.float32]:
    """`korag.scoring.maxsim_packed` for many queries, one product a document; equal but for the last bits.

    Returns:
        Scores. Shape: (queries, documents).
    """
    tokens, offsets = segment.arrays["tokens"], segment.arrays["offsets"].tolist()
    firsts = np.cumsum([0, *map(len, queries[:-1])])
    transposed = np.ascontiguousarray(np.concatenate(queries).astype(np.float32).T)
    scores = np.full((len(offsets) - 1, len(queries)), -np.inf, np.float32)
    for row, (start, end) in enumerate(pairwise(offsets)):
        if end > start:
            best = (tokens[start:end].astype(np.float32) @ transposed).max(axis=0)
            scores[row] = np.add.reduceat(best, firsts)
    return scores.T
