"""Resolves the systems given to `evaluate`, in the order of the table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from korag.analysis.settings import BM25
from korag.checks import check_count, check_list
from korag.collection.base import Collection
from korag.encoders.base import Encoder
from korag.encoders.dense import DenseEncoder
from korag.encoders.load import load_encoder
from korag.errors import InvalidArgumentError
from korag.evaluation.reranked import Remembering, Reranked, RerankedSystem
from korag.evaluation.retrievers import CollectionLeg, CollectionSystem, RetrieverSystem
from korag.evaluation.systems import Hybrid, HybridSystem, LegSystem, System
from korag.legs.lexical import lexical_settings
from korag.legs.multi_vector.settings import TokenArguments
from korag.legs.windows.settings import WindowArguments
from korag.reranking.colbert import TokenCache
from korag.reranking.fusing import check_fuse_weight
from korag.reranking.load import load_reranker

Systems = Mapping[str, Any] | Iterable[Any]
_RERANKER_OPTIONS = ("device", "max_length", "query_length", "backend", "dtype", "trust_remote_code")
"""Keywords of `load_encoder` that also apply to rerankers given by name."""
_CACHE_BYTES = 2**30
"""Document vectors that a ColBERT reranker keeps from query to query."""


def plan(
    systems: Systems,
    *,
    bm25: Sequence[Any],
    dims: Sequence[int] | None,
    load_options: Mapping[str, Any] | None = None,
    windows: WindowArguments | None = None,
    tokens: TokenArguments | None = None,
) -> list[System]:
    """Returns the systems to run: BM25 first, then those given, with one per Matryoshka dimension.

    Args:
        systems: See `korag.evaluation.evaluate`.
        bm25: Tokenizers or settings, each for a BM25 row.
        dims: Matryoshka dimensions of models given by name; None for only the largest.
        load_options: Keywords for `load_encoder`.
        windows: How long documents are split for encoders.
        tokens: How the vectors of late-interaction models are stored.

    Raises:
        InvalidArgumentError: If a system cannot be evaluated, or `bm25` is empty.
    """
    if isinstance(bm25, str) or not bm25:
        raise InvalidArgumentError(
            f"bm25={bm25!r}은(는) 비어 있지 않은 토크나이저 리스트여야 합니다: bm25=['bigram']. BM25 기준이 없으면 "
            "모델의 수치가 높은지 낮은지 알 수 없습니다.",
            f"bm25={bm25!r} must be a non-empty list of tokenizers: bm25=['bigram']. Without BM25 as a baseline, a "
            "model's figures cannot be judged.",
        )
    if isinstance(systems, str | os.PathLike) or not isinstance(systems, Iterable):
        raise InvalidArgumentError(
            f"systems={systems!r:.80}은(는) 리스트나 dict여야 합니다: [{systems!r:.40}]",
            f"systems={systems!r:.80} must be a list or a dict: [{systems!r:.40}].",
        )
    named = systems.items() if isinstance(systems, Mapping) else [(None, system) for system in systems]
    loader = _Loader(load_options or {}, dims, windows, tokens)
    rows: list[System] = [loader.bm25(tokenizer) for tokenizer in bm25]
    for name, system in named:
        rows += loader.rows(name, system, baseline=rows[0])
    if tokens is not None:
        tokens.check_needed(loader.legs)
    seen: dict[str, int] = {}
    for row in rows:
        seen[row.name] = seen.get(row.name, 0) + 1
        if seen[row.name] > 1:
            row.name = f"{row.name} ({seen[row.name]})"
    return rows


class _Loader:
    """Loads each model once, so that hybrids share it with the row of the leg."""

    def __init__(
        self,
        options: Mapping[str, Any],
        dims: Sequence[int] | None,
        windows: WindowArguments | None,
        tokens: TokenArguments | None,
    ) -> None:
        self._options, self._dims, self._windows, self._tokens = options, dims, windows, tokens
        self.legs: set[str] = set()
        self._encoders: dict[tuple[str, int | None], Encoder[Any]] = {}
        self._rerankers: dict[Any, Remembering] = {}

    def rows(self, name: str | None, system: Any, *, baseline: System) -> list[System]:
        if isinstance(system, Reranked):
            return [self._reranked(name, system, baseline)]
        if isinstance(system, Hybrid):
            return [self._hybrid(name, system)]
        if isinstance(system, Encoder):
            return [self._row(name, system)]
        if isinstance(system, str | os.PathLike):
            return [self._row(name, encoder) for encoder in self._each_dim(os.fspath(system))]
        if isinstance(system, Collection):
            return [CollectionSystem(name or "collection", CollectionLeg(system))]
        if isinstance(system, CollectionLeg):
            return [CollectionSystem(name or f"collection {system.using or 'default'}", system)]
        if callable(getattr(system, "invoke", None)) or callable(getattr(system, "retrieve", None)):
            return [RetrieverSystem(name or type(system).__name__, system)]
        if callable(system) and not isinstance(system, type):
            return [RetrieverSystem(name or str(getattr(system, "__name__", type(system).__name__)), system)]
        raise InvalidArgumentError(
            f"{system!r:.80}은(는) 평가할 수 없습니다. 모델 이름, 인코더, Collection, CollectionLeg, Hybrid, 함수, "
            "LangChain·LlamaIndex 검색기, Reranked 중 하나여야 합니다.",
            f"{system!r:.80} cannot be evaluated; pass a model name, an encoder, a Collection, a CollectionLeg, a "
            "Hybrid, a Reranked, a function, or a LangChain or LlamaIndex retriever.",
        )

    def bm25(self, choice: Any, leg: str | None = None) -> LegSystem:
        settings = choice if isinstance(choice, BM25) else BM25(choice)
        return LegSystem(f"BM25 {settings.resolved_tokenizer.name.removeprefix('custom:')}", bm25=settings, leg=leg)

    def _load(self, model: str, dim: int | None = None) -> Encoder[Any]:
        if (model, dim) not in self._encoders:
            self._encoders[model, dim] = load_encoder(model, dim=dim, **self._options)
        return self._encoders[model, dim]

    def _each_dim(self, model: str) -> list[Encoder[Any]]:
        encoder = self._load(model)
        if self._dims is None or not (isinstance(encoder, DenseEncoder) or len(getattr(encoder, "dims", ())) > 1):
            return [encoder]
        return [self._load(model, None if dim == encoder.dim else dim) for dim in self._dims]

    def _hybrid(self, name: str | None, hybrid: Hybrid) -> HybridSystem:
        legs = [
            self._row(None, model if isinstance(model, Encoder) else self._load(os.fspath(model)))
            for model in check_list("models", hybrid.models)
        ]
        lexical = lexical_settings(hybrid.bm25)
        legs += [self.bm25(BM25(**settings), leg) for leg, settings in lexical.items()]
        name = name or "hybrid " + " + ".join(leg.name for leg in legs)
        return HybridSystem(name, legs, hybrid.fusion, hybrid.weights)

    def _reranked(self, name: str | None, reranked: Reranked, baseline: System) -> RerankedSystem:
        k, weight = check_count("k", reranked.k, at_least=1), check_fuse_weight(reranked.fuse_weight)
        given = baseline if reranked.first_stage is None else reranked.first_stage
        (first, *others) = [given] if isinstance(given, System) else self.rows(None, given, baseline=baseline)
        if others:
            raise InvalidArgumentError(
                f"first_stage={given!r:.80}: dims=의 차원마다 한 행씩 {len(others) + 1}행이 됩니다. 불러온 인코더를 "
                f"넣으세요: load_encoder({given!r:.40}, dim=...)",
                f"first_stage={given!r:.80} is {len(others) + 1} rows, one per dimension of dims=; pass a loaded "
                f"encoder: load_encoder({given!r:.40}, dim=...).",
            )
        model = reranked.reranker
        key = os.fspath(model) if isinstance(model, str | os.PathLike) else id(model)
        if key not in self._rerankers:
            options = {option: self._options.get(option) for option in _RERANKER_OPTIONS}
            self._rerankers[key] = Remembering(load_reranker(model, cache=TokenCache(_CACHE_BYTES), **options))
        reranker = self._rerankers[key]
        weight = reranker.reranker.default_fuse_weight if weight is None else weight
        if name is None:
            name = f"{first.name} → {reranker.name}" + ("" if weight == 1 else f" ×{weight:g}")
        return RerankedSystem(name, first, reranker, k=k, fuse_weight=weight)

    def _row(self, name: str | None, encoder: Encoder[Any]) -> LegSystem:
        several = len(getattr(encoder, "dims", ())) > 1
        if isinstance(encoder, DenseEncoder):
            several = encoder.dim < max(encoder.checkpoint.dims, default=encoder.dim)
        label = (name or encoder.model_name) + (f" @{encoder.dim}" if several else "")
        row = LegSystem(label, encoder, windows=self._windows, tokens=self._tokens)
        self.legs.add(row.kind)
        return row
