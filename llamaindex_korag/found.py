"""Results of searches: LlamaIndex's scored nodes, with what else is known about how each was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, field_validator
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore

from korag.collection.base import Hit
from korag.reranking.searched import REWRITTEN, searched_query
from korag.text import shortened, to_nfc
from llamaindex_korag.node_json import named_class
from llamaindex_korag.nodes import to_node


class FoundNode(NodeWithScore):
    """A node as it was added, with its score and how it was found.

    What belongs to the query stays out of the node: its metadata and hash are those of the node that was added, so that
    LlamaIndex recognises it as the same one whatever the query was. Unlike `NodeWithScore`, it can be restored from its
    `to_dict`, by `from_dict` and from a workflow's context.

    Attributes:
        node: A new node, equal to the one added except for its embedding.
        score: As the retriever or reranker defines it.
        rewritten_query: What was searched for, if the query was repaired (see `korag.collection.SearchOptions`).
        span: Where the window that matched best begins and ends in the node's text without metadata, in characters, if
            the node is long enough to be split into windows (see `korag.Hit.span`).
        relevance: How well the search that found the node says it answers the query, in [0, 1] (see
            `korag.Hit.relevance`); `min_relevance` applies to it. Rerankers leave it as it is.
        cited_by: The id of the node that cites it, if it was not found itself but added by ``expand="citations"``.
    """

    rewritten_query: str | None = Field(default=None, description="What was searched for, if the query was repaired.")
    span: tuple[int, int] | None = Field(default=None, description="Place of the best window in the node's text.")
    relevance: float | None = Field(default=None, description="How well the node answers the query, in [0, 1].")

    cited_by: str | None = Field(default=None, description="The id of the node that cites it, if not found itself.")

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "FoundNode"

    @field_validator("node", mode="before")
    @classmethod
    def _restore(cls, node: Any) -> Any:
        """Makes a node of its dump, which LlamaIndex's own class cannot: `BaseNode` is abstract."""
        return named_class(node["class_name"]).from_dict(dict(node)) if isinstance(node, Mapping) else node

    def __repr__(self) -> str:
        score = "None" if self.score is None else f"{self.score:.4f}"
        relevance = "" if self.relevance is None else f", relevance={self.relevance:.2f}"
        return f"FoundNode({self.node.node_id!r}, score={score}{relevance}, text={shortened(self.passage)!r})"

    @property
    def passage(self) -> str:
        """The part of the node's text that matched best: the window at `span`, or the whole text."""
        text = self.node.get_content(MetadataMode.NONE)
        return text if self.span is None else text[slice(*self.span)]


def to_found(hit: Hit, score: float | None = None) -> FoundNode:
    """Converts a hit to a new node, with its score or another."""
    node = to_node(hit)
    return FoundNode(
        node=node,
        score=hit.score if score is None else score,
        rewritten_query=hit.rewritten_query,
        span=_in_own_text(hit, node),
        relevance=hit.relevance,
        cited_by=hit.cited_by,
    )


def scored_again(found: NodeWithScore, node: BaseNode, score: float | None) -> FoundNode:
    """Returns a result with another node and score that keeps what is known about how it was found."""
    known = {name: getattr(found, name, None) for name in ("rewritten_query", "span", "relevance", "cited_by")}
    return FoundNode(node=node, score=score, **known)


def distinct(found: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """Leaves each node in once: in its first place, with its best score. Ids are compared in NFC."""
    kept: dict[str, NodeWithScore] = {}
    for one in found:
        known = kept.setdefault(to_nfc(one.node.node_id), one)
        if one.score is not None and (known.score is None or one.score > known.score):
            kept[to_nfc(one.node.node_id)] = scored_again(known, known.node, one.score)
    return list(kept.values())


def query_of(query: str, found: Sequence[NodeWithScore]) -> str:
    """Returns the repaired query if all nodes were found with it, otherwise the query itself."""
    return searched_query(query, [{REWRITTEN: getattr(one, "rewritten_query", None)} for one in found])


def _in_own_text(hit: Hit, node: BaseNode) -> tuple[int, int] | None:
    """Converts a span of the searched text, which may begin with metadata, to one of the node's own text."""
    own = node.get_content(MetadataMode.NONE)
    bare = own.strip()  # as LlamaIndex puts it together with metadata, by default behind them
    if hit.span is None or bare not in hit.text:
        return None
    offset = hit.text.rindex(bare) - own.index(bare)
    begin, end = (min(max(place - offset, 0), len(own)) for place in hit.span)
    return (begin, end) if begin < end else None
