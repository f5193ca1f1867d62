"""One `min_relevance` rejects questions the nodes cannot answer, with several legs."""

from __future__ import annotations

from answerable import ANSWERED, DOCUMENTS, UNANSWERED
from llama_index.core.schema import TextNode

from korag.collection.relevance import RECOMMENDED
from llamaindex_korag import KoHybridRetriever


def test_hybrid_retriever() -> None:
    nodes = [TextNode(text=text) for text in DOCUMENTS]
    retriever = KoHybridRetriever.from_defaults(
        nodes, models=["mini-splade", "mini-dense"], bm25=True, min_relevance=RECOMMENDED
    )
    assert sum(bool(retriever.retrieve(query)) for query in ANSWERED) >= len(ANSWERED) - 1
    assert not any(retriever.retrieve(query) for query in UNANSWERED)
