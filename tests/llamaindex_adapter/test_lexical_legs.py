"""`bm25=` of LlamaIndex's retrievers: settings, and several lexical legs."""

from pathlib import Path

import pytest
from llama_index.core.schema import TextNode

from korag import BM25
from korag.errors import InvalidArgumentError
from llamaindex_korag import KoBM25Retriever, KoHybridRetriever

NODES = [
    TextNode(id_="질권", text="질권은 물건을 맡긴 사람의 채무를 담보한다."),
    TextNode(id_="계약", text="계약의 내용은 무엇인가를 당사자가 정한다."),
    TextNode(id_="행위", text="법률행위의 내용은 무엇인가에 따라 효력이 정해진다."),
]
QUERY = "질권의 내용은 무엇인가?"


def words(text: str) -> list[str]:
    return [word[:2] for word in text.split()]


def first(retriever: KoBM25Retriever | KoHybridRetriever) -> str:
    return retriever.retrieve(QUERY)[0].node.node_id


def test_a_hybrid_of_lexical_legs(tmp_path: Path) -> None:
    both = ["bigram", words]
    made = KoHybridRetriever.from_defaults(NODES, models=[], bm25=both, path=tmp_path / "색인")
    assert made.collection.legs == ("bm25", "bm25_custom")
    assert first(made) == "질권"
    assert first(KoHybridRetriever.from_persist_dir(tmp_path / "색인", bm25=both)) == "질권"


def test_a_bm25_retriever_with_settings(tmp_path: Path) -> None:
    whole = KoBM25Retriever.from_defaults(NODES, bm25=BM25(trim_questions=False), path=tmp_path / "색인")
    assert first(whole) != "질권"
    assert first(KoBM25Retriever.from_persist_dir(tmp_path / "색인")) != "질권"
    assert first(KoBM25Retriever.from_persist_dir(tmp_path / "색인", bm25=BM25())) == "질권"
    assert first(KoBM25Retriever.from_defaults(NODES)) == "질권"
    for bm25 in (["bigram", "kiwi"], False, None):
        with pytest.raises(InvalidArgumentError, match="a BM25 retriever searches a single leg"):
            KoBM25Retriever.from_defaults(NODES, bm25=bm25)  # type: ignore[arg-type]
