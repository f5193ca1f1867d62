"""The settings of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

from korag.checks import FusionMethod, check_choice, check_count, check_flag, check_fraction, check_fusion
from korag.filters import parse
from korag.keywords import checks_fields

Expansion: TypeAlias = Literal["citations"]
"""Documents that a search adds to those it finds."""
EXPANSIONS: tuple[Expansion, ...] = ("citations",)
DEFAULT_FETCH_K = 100
"""Candidates of each leg in a hybrid search."""


class SearchSettings(TypedDict, total=False):
    """The fields of `SearchOptions` as keywords of `Collection.search`."""

    k: int
    using: str | None
    where: Mapping[str, Any] | None
    fetch_k: int | None
    fusion: FusionMethod
    weights: Mapping[str, float] | None
    min_relevance: float | None
    exact: bool
    repair_query: bool
    expand: Expansion | None


@checks_fields
@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Settings of a search. Checked when created, except for what depends on the collection's legs.

    Attributes:
        k: Hits at most.
        using: A leg, or ``"hybrid"`` for all legs fused; None for the only leg, or hybrid if there are several.
        where: Metadata filter, applied before the k best are taken (see `korag.filters`).
        fetch_k: Candidates of each leg in a hybrid search; None for 100, or k if that is more.
        fusion: ``"auto"`` for the collection's `fitted_fusion` if it has one, otherwise ``"anchored"``. The others are
            the functions of `korag.fusion`: ``"anchored"`` by scaled scores, where legs with a model count as far as
            they agree with the lexical ones, ``"weighted"`` by scaled scores, ``"rrf"`` by rank.
        weights: Factor on the weight of each leg in a hybrid search; 1 where not given.
        min_relevance: Leave out hits of a lower `Hit.relevance`, in [0, 1].
        exact: False lets the late-interaction and dense legs score only promising documents: faster in large
            collections, at the risk of missing some of the k best. Scores are the same. The other legs are always
            exact.
        repair_query: Search for what was meant where the collection has no such words and the query is Korean typed on
            an English keyboard (``wjstp`` for 전세) or the reverse, loose jamo (ㅈㅓㄴㅅㅔ), without spaces or with
            spaces in the wrong places, or has one wrong jamo in a long word. The query searched for is in
            `Hit.rewritten_query`. False searches for every query as it is.
        expand: ``"citations"`` adds the articles that the articles found cite, behind them and marked by
            `Hit.cited_by`: up to k more, one step away, which match `where`. They are known by the metadata that the
            statute splitter of `korag.splitting` makes: ``cites`` of one is ``citation`` of the other.

    Raises:
        InvalidArgumentError: If a value breaks its rule.
        FilterError: If `where` is not a filter.
    """

    k: int = 10
    using: str | None = None
    where: Mapping[str, Any] | None = None
    fetch_k: int | None = None
    fusion: FusionMethod = "auto"
    weights: Mapping[str, float] | None = None
    min_relevance: float | None = None
    exact: bool = True
    repair_query: bool = True
    expand: Expansion | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_count("k", self.k))
        if self.fetch_k is not None:
            object.__setattr__(self, "fetch_k", check_count("fetch_k", self.fetch_k))
        check_fraction("min_relevance", self.min_relevance)
        check_flag("exact", self.exact)
        check_flag("repair_query", self.repair_query)
        check_fusion(self.fusion)
        if self.expand is not None:
            check_choice("expand", self.expand, EXPANSIONS)
        parse(self.where)

    @property
    def candidates(self) -> int:
        """Documents each leg contributes to a fusion; at least k."""
        return max(self.k, DEFAULT_FETCH_K if self.fetch_k is None else self.fetch_k)
