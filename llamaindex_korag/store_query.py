"""Translation of a vector store query and its mode to a search of a collection.

A mode says which legs are searched:

* ``default``: the only leg, or all of them fused, as `korag.Collection.search` does by itself.
* ``hybrid``: all legs fused; there must be several.
* ``sparse``: SPLADE, or BM25 where there is no SPLADE model.
* ``text_search``: BM25.
* ``mmr``: what ``default`` finds, chosen so that the nodes differ from each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from korag.checks import check_count, check_fraction, name_weights, reject_unknown
from korag.collection.base import Collection, Hit, SearchOptions
from korag.errors import InvalidArgumentError
from korag.legs.registry import lexical_legs
from korag.text import check_text, check_texts, is_empty
from llamaindex_korag.filters import to_where

_Mode = VectorStoreQueryMode
_SEARCH = ("using", "fusion", "weights", "fetch_k", "min_relevance", "exact", "repair_query", "expand")
_DIVERSE = ("mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k")
_BY_VECTOR = ("using", "min_relevance", *_DIVERSE)
_DEFAULT_PREFETCH = 4
"""Nodes that ``mmr`` chooses from, for each that it returns; as in LlamaIndex's other stores."""


@dataclass(frozen=True)
class PlannedSearch:
    """A checked search.

    Attributes:
        text: The query's text; None to search by `vector`.
        vector: The query, encoded by the dense model.
        options: Settings; `options.k` counts the candidates where `choose` is given.
        choose: How many nodes ``mmr`` chooses; None in other modes.
        threshold: How far it goes by relevance: 1 for that alone, 0 for difference alone.
    """

    text: str | None
    vector: Sequence[float] | None
    options: SearchOptions
    choose: int | None = None
    threshold: float = 0.5

    @property
    def lists_all(self) -> bool:
        """An empty query with filters: it asks for what matches them, in any order."""
        filters_only = self.options.where is not None and not self.options.min_relevance
        return self.vector is None and is_empty(self.text or "") and filters_only

    def run(self, collection: Collection) -> list[Hit]:
        """Searches."""
        options = self.options
        if self.vector is not None:
            hits = collection.search_by_vector(
                self.vector, k=options.k, where=options.where, min_relevance=options.min_relevance
            )
        else:
            hits = collection.search(self.text or "", options=options)
        if self.choose is None:
            return hits
        return collection.diversify(hits, k=self.choose, lambda_mult=self.threshold, using=options.using)


def plan_search(
    query: VectorStoreQuery, keywords: Mapping[str, Any], legs: tuple[str, ...], *, owner: object
) -> PlannedSearch:
    """Checks a query and says what to search.

    Args:
        query: LlamaIndex's query.
        keywords: `vector_store_kwargs`: `using`, `fusion`, `weights`, `fetch_k`, `min_relevance`, `exact`,
            `repair_query`, `expand` (not for ``mmr``), and for ``mmr`` `mmr_threshold` and `mmr_prefetch_factor` or
            `mmr_prefetch_k`.
        legs: The collection's.
        owner: The store, for messages.

    Raises:
        InvalidArgumentError: If the mode does not exist here or lacks its leg, or a setting breaks its rule or would
            have no effect.
        FilterError: If a filter's value does not fit its operator.
    """
    mode = _check_mode(query.mode, legs)
    _reject_fields(query)
    text = None if query.query_str is None else check_text(query.query_str, "query_str")
    vector = query.query_embedding if is_empty(text or "") and query.query_embedding else None
    if text is None and vector is None:
        raise InvalidArgumentError(
            "query_str도 query_embedding도 없습니다. KoVectorStore는 질문 문자열로 찾으니 query_str를 넣으세요.",
            "The query has neither a query_str nor a query_embedding; KoVectorStore searches by the query's text: give "
            "it a query_str.",
        )
    own = _BY_VECTOR if vector is not None else (*_SEARCH, *_DIVERSE)
    reject_unknown(owner, keywords, [name for name in own if name != "expand" or mode is not _Mode.MMR])
    _check_effects(query, mode, keywords)
    using = _leg(mode, legs, keywords.get("using"), by_vector=vector is not None)
    several = using in (None, "hybrid") and len(legs) > 1
    settings: dict[str, Any] = {name: keywords[name] for name in _SEARCH if keywords.get(name) is not None}
    settings["using"] = using
    if several:
        settings |= _hybrid(query, legs, keywords)
    k = _count(query, several=several, lone_sparse=mode in (_Mode.SPARSE, _Mode.TEXT_SEARCH))
    check_fraction("min_relevance", keywords.get("min_relevance"))
    where = to_where(
        query.filters,
        # VectorStoreIndex passes an empty list for "all nodes"
        node_ids=check_texts(query.node_ids, "node_ids") if query.node_ids else None,
        doc_ids=None if query.doc_ids is None else check_texts(query.doc_ids, "doc_ids"),
    )
    if mode is not _Mode.MMR:
        return PlannedSearch(text, vector, SearchOptions(k=k, where=where, **settings))
    given = keywords.get("mmr_threshold", query.mmr_threshold)
    threshold = 0.5 if given is None else _between_0_and_1("mmr_threshold", given)
    candidates = max(k, _candidates(k, keywords))
    return PlannedSearch(text, vector, SearchOptions(k=candidates, where=where, **settings), k, threshold)


# -- modes ----------------------------------------------------------------------------------------------------


def _check_mode(given: object, legs: tuple[str, ...]) -> _Mode:
    lexical = lexical_legs(legs)
    needed = {
        _Mode.DEFAULT: True,
        _Mode.MMR: True,
        _Mode.HYBRID: len(legs) > 1,
        _Mode.SPARSE: "sparse" in legs or bool(lexical),
        _Mode.TEXT_SEARCH: bool(lexical),
    }
    mode = next((known for known in needed if known == given), None)
    if mode is not None and needed[mode]:
        return mode
    works = ", ".join(known.value for known, is_there in needed.items() if is_there)
    name = given.value if isinstance(given, _Mode) else given
    has = ", ".join(legs)
    if mode is None:
        raise InvalidArgumentError(
            f"vector_store_query_mode={name!r}은(는) KoVectorStore에 없습니다. 이 저장소({has})에서 쓸 수 있는 것: "
            f"{works}.",
            f"KoVectorStore has no vector_store_query_mode={name!r}; with the legs of this store ({has}) these work: "
            f"{works}.",
        )
    lacks = {
        _Mode.HYBRID: ("검색 방식이 둘 이상", "several legs"),
        _Mode.SPARSE: ("SPLADE 모델이나 BM25가", "a SPLADE model or BM25"),
        _Mode.TEXT_SEARCH: ("BM25가", "BM25"),
    }[mode]
    raise InvalidArgumentError(
        f"vector_store_query_mode={name!r}에는 {lacks[0]} 있어야 하는데 이 저장소에는 {has}만 있습니다. "
        f"KoVectorStore(encoders=[...], bm25=True)로 만들거나 다음을 쓰세요: {works}.",
        f"vector_store_query_mode={name!r} needs {lacks[1]}, but this store has only {has}. Make it with "
        f"KoVectorStore(encoders=[...], bm25=True), or use: {works}.",
    )


def _leg(mode: _Mode, legs: tuple[str, ...], using: str | None, *, by_vector: bool) -> str | None:
    """Returns what `SearchOptions.using` is in a mode."""
    if by_vector:
        if mode not in (_Mode.DEFAULT, _Mode.MMR) or using not in (None, "dense"):
            asked = f"using={using!r}" if using is not None else f"vector_store_query_mode={mode.value!r}"
            raise InvalidArgumentError(
                f"{asked}에는 query_str가 있어야 합니다. query_embedding만으로는 dense 검색만 할 수 있습니다.",
                f"{asked} needs a query_str: a query_embedding alone can only be searched with the dense leg.",
            )
        return "dense"
    if mode in (_Mode.DEFAULT, _Mode.MMR):
        return using
    if using is not None:
        raise InvalidArgumentError(
            f"using={using!r}과(와) vector_store_query_mode={mode.value!r}을(를) 함께 넣었습니다. 모드가 검색 "
            "방식을 정하니 하나만 넣으세요.",
            f"Both using={using!r} and vector_store_query_mode={mode.value!r} are given; the mode says what is "
            "searched: give one of them.",
        )
    if mode is _Mode.HYBRID:
        return "hybrid"
    if mode is _Mode.SPARSE and "sparse" in legs:
        return "sparse"
    lexical = lexical_legs(legs)
    return next(leg for leg in legs if leg in lexical)


# -- settings -------------------------------------------------------------------------------------------------


def _hybrid(query: VectorStoreQuery, legs: tuple[str, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a hybrid search that the query's own fields stand for."""
    weights = name_weights(legs, keywords.get("weights"))
    made: dict[str, Any] = {} if weights is None else {"weights": weights}
    for field, keyword in (("alpha", "weights"), ("sparse_top_k", "fetch_k")):
        if getattr(query, field) is not None and keywords.get(keyword) is not None:
            raise InvalidArgumentError(
                f"{field}과(와) {keyword}을(를) 함께 넣었습니다. 같은 것을 정하니 하나만 넣으세요.",
                f"Both {field} and {keyword} are given; they set the same thing: give one of them.",
            )
    if query.alpha is not None:
        made["weights"] = _weights(_between_0_and_1("alpha", query.alpha), legs)
    if query.sparse_top_k is not None:
        made["fetch_k"] = check_count("sparse_top_k", query.sparse_top_k)
    return made


def _weights(alpha: float, legs: tuple[str, ...]) -> dict[str, float]:
    """Returns the weights that `alpha` stands for: 0.5 leaves them as they are."""
    terms = {*lexical_legs(legs), "sparse"} & set(legs)
    if not terms or len(terms) == len(legs):
        raise InvalidArgumentError(
            f"alpha는 벡터(dense, colbert)와 단어(sparse, bm25)의 비율인데 이 저장소에는 {', '.join(legs)}만 있습니다. "
            "vector_store_kwargs={'weights': {...}}를 쓰세요.",
            f"alpha weighs vectors (dense, colbert) against words (sparse, bm25), but this store has only "
            f"{', '.join(legs)}. Use vector_store_kwargs={{'weights': {{...}}}}.",
        )
    return {leg: 2 * (1 - alpha) if leg in terms else 2 * alpha for leg in legs}


def _count(query: VectorStoreQuery, *, several: bool, lone_sparse: bool) -> int:
    """Returns how many nodes are asked for."""
    k = check_count("similarity_top_k", query.similarity_top_k)
    if several and query.hybrid_top_k is not None:
        return check_count("hybrid_top_k", query.hybrid_top_k)
    if lone_sparse and query.sparse_top_k is not None:
        return check_count("sparse_top_k", query.sparse_top_k)
    return k


def _candidates(k: int, keywords: Mapping[str, Any]) -> int:
    factor, number = keywords.get("mmr_prefetch_factor"), keywords.get("mmr_prefetch_k")
    if factor is not None and number is not None:
        raise InvalidArgumentError(
            "mmr_prefetch_factor와 mmr_prefetch_k를 함께 넣었습니다. 하나만 넣으세요.",
            "Both mmr_prefetch_factor and mmr_prefetch_k are given; give one of them.",
        )
    if number is not None:
        return check_count("mmr_prefetch_k", number)
    if factor is None:
        return k * _DEFAULT_PREFETCH
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor < float("inf"):
        raise InvalidArgumentError(
            f"mmr_prefetch_factor={factor!r:.80}: 1 이상의 수여야 합니다.",
            f"mmr_prefetch_factor={factor!r:.80} is invalid; it must be a number of at least 1.",
        )
    return int(k * factor)


def _reject_fields(query: VectorStoreQuery) -> None:
    """Raises for what a query may have in other stores only."""
    for name in ("output_fields", "embedding_field"):
        if getattr(query, name) is not None:
            raise InvalidArgumentError(
                f"{name}={getattr(query, name)!r:.80}: KoVectorStore에는 필드가 따로 없습니다. 검색 방식은 "
                "vector_store_kwargs={'using': 'dense'}처럼 고르세요.",
                f"{name}={getattr(query, name)!r:.80}: KoVectorStore has no separate fields; choose a leg with "
                "vector_store_kwargs={'using': 'dense'}.",
            )


def _check_effects(query: VectorStoreQuery, mode: _Mode, keywords: Mapping[str, Any]) -> None:
    """Raises for settings of other modes: they would be ignored."""
    given = {name for name in ("alpha", "sparse_top_k", "hybrid_top_k") if getattr(query, name) is not None}
    given |= {name for name in _DIVERSE if keywords.get(name) is not None}
    if query.mmr_threshold is not None:
        given.add("mmr_threshold")
    effects = {
        _Mode.HYBRID: {"alpha", "sparse_top_k", "hybrid_top_k"},
        _Mode.SPARSE: {"sparse_top_k"},
        _Mode.TEXT_SEARCH: {"sparse_top_k"},
        _Mode.MMR: set(_DIVERSE),
    }
    for name in sorted(given - effects.get(mode, set())):
        modes = ", ".join(other.value for other, names in effects.items() if name in names)
        raise InvalidArgumentError(
            f"{name}은(는) vector_store_query_mode={mode.value!r}에서 아무 효과가 없습니다. 다음 모드에만 넣으세요: "
            f"{modes}.",
            f"{name} has no effect in vector_store_query_mode={mode.value!r}; it belongs to: {modes}.",
        )


def _between_0_and_1(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidArgumentError(
            f"{name}={value!r:.80}: 0과 1 사이의 수여야 합니다.",
            f"{name}={value!r:.80} is invalid; it must be a number between 0 and 1.",
        )
    return float(value)
