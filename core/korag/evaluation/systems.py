"""Systems under evaluation: each ranks the documents of a data set for its queries."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from korag.analysis.settings import BM25
from korag.analysis.tokenizers import CustomTokenizer
from korag.analysis.versions import VERSION
from korag.checks import FusionMethod, check_fusion, check_weights
from korag.collection import LocalCollection
from korag.collection.base import COMMIT_DOCUMENTS, Collection, SearchOptions
from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.evaluation.dataset import Dataset
from korag.evaluation.sparsity import CountingEncoder
from korag.fusion import Fusion
from korag.kernels.bm25 import K1, B
from korag.legs.multi_vector.settings import TokenArguments, token_row
from korag.legs.registry import leg_of_family, lexical_legs
from korag.legs.windows.settings import WindowArguments
from korag.text import is_empty

Ranking = list[tuple[str, float]]
"""(id, score), best first."""
Advance = Callable[[int], object]
"""Progress callback, called with the number of documents indexed or queries answered since the last call."""
_QUERY_BATCH = 64
_WARM_UP = "준비"


@dataclass(frozen=True, kw_only=True)
class RetrievalRun:
    """Rankings of one system for all queries of a data set, with its speed and size.

    Attributes:
        rankings: For each query, (id, score), best first.
        search_seconds: Time to encode and answer all queries, in batches of 64.
        index_seconds: Time to encode and index all documents; None if the system came with its index.
        index_bytes: Size of the index without texts; None if unknown.
        facts: Figures specific to the kind of system, such as the active dimensions of a sparse model.
        confidences: For a leg, how far it is to be trusted for a query, where that is not 1.
    """

    rankings: Mapping[str, Ranking]
    search_seconds: float
    index_seconds: float | None = None
    index_bytes: int | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    confidences: Mapping[str, float] = field(default_factory=dict)


class System(ABC):
    """Something that ranks documents.

    Attributes:
        name: Its name in tables.
        kind: ``"bm25"``, ``"dense"``, ``"sparse"``, ``"colbert"``, ``"hybrid"``, ``"reranked"``, ``"collection"`` or
            ``"retriever"``.
        dim: Vector size, for systems with a single encoder.
    """

    name: str
    kind: str
    dim: int | None = None

    @property
    def identity(self) -> str | None:
        """Equal for systems with equal rankings; None if that cannot be known, so that no finished run is reused."""
        return None

    @abstractmethod
    def steps(self, dataset: Dataset) -> int:
        """Total that `run` reports to `advance`, in documents and queries."""

    @abstractmethod
    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> RetrievalRun:
        """Ranks the `k` best documents for every query."""


class CompositeSystem(System):
    """A system made of the rankings of others, whose runs are reused.

    Attributes:
        parts: The systems whose rankings it is made of.
    """

    parts: tuple[System, ...]

    def steps(self, dataset: Dataset) -> int:
        """Queries to combine."""
        return len(dataset.queries)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> RetrievalRun:
        """Runs every part, then combines their rankings."""
        return self.combine(
            [part.run(dataset, k=k, advance=lambda _: None) for part in self.parts], dataset, k, advance
        )

    @abstractmethod
    def combine(self, runs: Sequence[RetrievalRun], dataset: Dataset, k: int, advance: Advance) -> RetrievalRun:
        """Combines the runs of the parts, given in their order."""


def rank_all(
    collection: Collection, queries: Mapping[str, str], options: SearchOptions, advance: Advance
) -> dict[str, Ranking]:
    """Searches a collection for many queries, in batches. Empty queries get no ranking.

    Args:
        collection: The collection, with the documents.
        queries: Text by id.
        options: How to search.
        advance: Progress callback.
    """
    rankings: dict[str, Ranking] = {}
    ids = list(queries)
    for first in range(0, len(ids), _QUERY_BATCH):
        batch = ids[first : first + _QUERY_BATCH]
        filled = [id_ for id_ in batch if not is_empty(queries[id_])]
        found = collection.search_many([queries[id_] for id_ in filled], options=options)
        rankings |= {id_: [(hit.id, hit.score) for hit in hits] for id_, hits in zip(filled, found, strict=True)}
        advance(len(batch))
    return rankings


def candidates(k: int) -> int:
    """Documents that each leg contributes to a hybrid search for `k`."""
    return SearchOptions(k=k).candidates


class LegSystem(System):
    """A single leg over the data set's documents, in a collection in memory: an encoder or BM25.

    Args:
        name: Its name in tables.
        encoder: The encoder; None for BM25.
        bm25: The settings of BM25; None with an encoder.
        leg: The leg's name in a hybrid; None for that of its kind.
        windows: How long documents are split for the encoder.
        tokens: How the vectors of a late-interaction encoder are stored.
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder[Any] | None = None,
        *,
        bm25: BM25 | None = None,
        leg: str | None = None,
        windows: WindowArguments | None = None,
        tokens: TokenArguments | None = None,
    ) -> None:
        self.name = name
        self._encoder, self._bm25 = encoder, bm25 or BM25()
        self._windows = WindowArguments() if windows is None else windows
        self.kind = "bm25" if encoder is None else leg_of_family(encoder.family).name
        self._tokens = tokens if tokens is not None and self.kind == token_row().name else TokenArguments()
        self.leg = leg or self.kind
        self.dim = None if encoder is None or encoder.family == "sparse" else encoder.dim

    @property
    def identity(self) -> str | None:
        """The encoder's fingerprint, windows and codec, or the settings, constants and analysis of BM25."""
        if self._encoder is not None:
            stored = "" if self._tokens == TokenArguments() else f" {self._tokens}"
            return f"{self._encoder.fingerprint} {self._windows.of(self._encoder)}{stored}"
        if isinstance(self._bm25.tokenizer, CustomTokenizer):
            return None  # the function may have changed under the same name
        return f"bm25 {self._bm25} {VERSION} {K1} {B}"

    def steps(self, dataset: Dataset) -> int:
        """Documents to index and queries to answer."""
        return len(dataset.documents) + len(dataset.queries)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> RetrievalRun:
        """Indexes the documents in memory and answers the queries."""
        self._warm_up()
        counter = CountingEncoder(self._encoder) if self._encoder is not None and self.kind == "sparse" else None
        documents = [(id_, text) for id_, text in dataset.documents.items() if not is_empty(text)]
        with self._new_collection(counter or self._encoder) as collection:
            start = time.perf_counter()
            for first in range(0, len(documents), COMMIT_DOCUMENTS):
                batch = documents[first : first + COMMIT_DOCUMENTS]
                collection.add([text for _, text in batch], ids=[id_ for id_, _ in batch], show_progress=False)
                advance(len(batch))
            index_seconds = time.perf_counter() - start
            advance(len(dataset.documents) - len(documents))
            start = time.perf_counter()
            rankings = rank_all(collection, dataset.queries, SearchOptions(k=k, using=self.kind), advance)
            search_seconds = time.perf_counter() - start
            return RetrievalRun(
                rankings=rankings,
                search_seconds=search_seconds,
                index_seconds=index_seconds,
                index_bytes=collection.index_bytes,
                facts={} if counter is None else counter.facts(),
                confidences={} if self._encoder is not None else self._confidences(collection, dataset),
            )

    def _confidences(self, collection: LocalCollection, dataset: Dataset) -> dict[str, float]:
        queries = {id_: query for id_, query in dataset.queries.items() if not is_empty(query)}
        found = collection.confidences(list(queries.values()), using=self.kind)
        return {id_: confidence for id_, confidence in zip(queries, found, strict=True) if confidence != 1}

    def _warm_up(self) -> None:
        """Keeps loading the model or the morphological analyser out of the timing."""
        if self._encoder is not None:
            self._encoder.encode_queries([_WARM_UP])
        else:
            self._bm25.resolved_tokenizer([_WARM_UP])

    def _new_collection(self, encoder: Encoder[Any] | None) -> LocalCollection:
        if encoder is None:
            return LocalCollection.in_memory(bm25=self._bm25)
        return LocalCollection.in_memory(encoders=[encoder], **vars(self._windows), **vars(self._tokens))


@dataclass(frozen=True)
class Hybrid:
    """Legs searched together and fused; the rankings are those of ``Collection.search(using="hybrid")``.

    Attributes:
        models: Names, paths or loaded encoders, at most one of each family.
        bm25: As for `Collection`: a tokenizer, `korag.BM25` settings or a list of them; None for no BM25 leg.
        fusion: As in `korag.collection.base.SearchOptions`.
        weights: Factor on the weight of each leg (``"dense"``, ``"sparse"``, ``"colbert"``, ``"bm25"``); 1 where not
            given.
    """

    models: Sequence[Any] = ("mini-colbert", "mini-splade")
    bm25: Any = "bigram"
    fusion: FusionMethod = "auto"
    weights: Mapping[str, float] | None = None


class HybridSystem(CompositeSystem):
    """Fused rankings of several legs. Reuses the runs of the legs' own rows, so nothing is encoded twice."""

    kind = "hybrid"

    def __init__(
        self,
        name: str,
        legs: Sequence[LegSystem],
        fusion: FusionMethod = "auto",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        kinds = [leg.leg for leg in legs]
        if len(legs) < 2 or len(set(kinds)) < len(kinds):
            raise InvalidArgumentError(
                f"하이브리드에는 서로 다른 검색 방식이 둘 이상 있어야 합니다. 지정한 것: {', '.join(kinds) or '없음'}.",
                f"A hybrid needs two or more legs of different kinds; these are: {', '.join(kinds) or 'none'}.",
            )
        check_weights(kinds, weights)
        self._legs = kinds
        self.name, self.parts, self._fusion = name, tuple(legs), Fusion(check_fusion(fusion), weights).resolved()

    @property
    def identity(self) -> str | None:
        """The identities of the legs, and how they are fused."""
        parts = [leg.identity for leg in self.parts]
        return None if None in parts else json.dumps([parts, self._fusion.to_dict()], sort_keys=True)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> RetrievalRun:
        """Runs every leg as deep as a search does, then fuses."""
        depth = candidates(k)
        return self.combine(
            [leg.run(dataset, k=depth, advance=lambda _: None) for leg in self.parts], dataset, k, advance
        )

    def combine(self, runs: Sequence[RetrievalRun], dataset: Dataset, k: int, advance: Advance) -> RetrievalRun:
        """Fuses the runs of the legs, given in their order, each with its best `candidates` documents."""
        order = {id_: index for index, id_ in enumerate(dataset.documents)}
        depth = candidates(k)
        lexical = lexical_legs(self._legs)
        rankings: dict[str, Ranking] = {}
        start = time.perf_counter()
        for query in dataset.queries:
            fused, _ = self._fusion(
                {leg: run.rankings.get(query, [])[:depth] for leg, run in zip(self._legs, runs, strict=True)},
                lexical=lexical,
                confidences={leg: run.confidences.get(query, 1.0) for leg, run in zip(self._legs, runs, strict=True)},
                depth=depth,
            )
            rankings[query] = sorted(fused, key=lambda item: (-item[1], order[item[0]]))[:k]
            advance(1)
        seconds = time.perf_counter() - start
        return RetrievalRun(
            rankings=rankings,
            search_seconds=seconds + sum(run.search_seconds for run in runs),
            index_seconds=sum(run.index_seconds or 0.0 for run in runs),
            index_bytes=sum(run.index_bytes or 0 for run in runs),
        )
