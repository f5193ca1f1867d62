"""Kiwi's user dictionary in LlamaIndex's retrievers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode

from korag import KiwiTokenizer
from korag.errors import FingerprintError
from llamaindex_korag import KoBM25Retriever, KoHybridRetriever

pytest.importorskip("kiwipiepy")
NODES = [
    TextNode(text="솔바람너울 분양 일정은 다음 달에 나옵니다.", id_="brand"),
    TextNode(text="솔바람 부는 언덕에서 너울 무늬 천을 팝니다.", id_="wood"),
]
TOKENIZER = KiwiTokenizer(user_words=["솔바람너울"], synonyms={"솔너": "솔바람너울"})


def test_bm25_finds_a_name_whole_and_keeps_the_dictionary(tmp_path: Path) -> None:
    assert len(KoBM25Retriever.from_defaults(nodes=NODES, tokenizer="kiwi").retrieve("솔바람너울")) == 2
    made = KoBM25Retriever.from_defaults(nodes=NODES, tokenizer=TOKENIZER)
    made.persist(str(tmp_path / "copy"))
    for retriever in (made, KoBM25Retriever.from_persist_dir(str(tmp_path / "copy"))):
        assert [found.node.node_id for found in retriever.retrieve("솔너")] == ["brand"]
    with pytest.raises(FingerprintError, match="솔바람너울"):
        KoBM25Retriever.from_persist_dir(str(tmp_path / "copy"), tokenizer="kiwi")


def test_hybrid_takes_it_for_a_second_leg(colbert: Any) -> None:
    retriever = KoHybridRetriever.from_defaults(nodes=NODES, models=[colbert], bm25=["bigram", TOKENIZER])
    assert retriever.collection.legs == ("colbert", "bm25", "bm25_kiwi")
    assert [hit.id for hit in retriever.collection.search("솔너", using="bm25_kiwi")] == ["brand"]
