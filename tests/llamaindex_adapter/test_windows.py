"""Long nodes through LlamaIndex: they are found by an answer at their end, and come back as they were added."""

import pytest
from llama_index.core.schema import TextNode

from korag.errors import InvalidArgumentError
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder
from llamaindex_korag import KoColBERTIndex, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever

FILLER = "동호회 회원들은 봄 소풍 장소와 회비 인상을 두고 저마다 다른 뜻을 내놓아 좀처럼 의견을 모으지 못하였다. "
ANSWER = "예비 천막은 체육관 사물함 맨 아래 칸에 있다."
QUESTION = "예비 천막은 어느 사물함에 있나요?"
NODES = [
    TextNode(id_="긴 글", text=FILLER * 30 + ANSWER, metadata={"분류": "모임"}),
    TextNode(id_="짧은 글", text="천막을 칠 때는 바람의 방향을 먼저 본다."),
]
WINDOWS = {"window": 20, "stride": 12}
MAKERS = {
    "colbert": lambda **given: KoColBERTRetriever.from_defaults(NODES, model_name=FakeMultiVectorEncoder(), **given),
    "sparse": lambda **given: KoSpladeRetriever.from_defaults(NODES, model_name=FakeSparseEncoder(), **given),
    "hybrid": lambda **given: KoHybridRetriever.from_defaults(
        NODES, models=[FakeDenseEncoder(), FakeMultiVectorEncoder()], **given
    ),
    "index": lambda **given: KoColBERTIndex(NODES, model_name=FakeMultiVectorEncoder(), **given).as_retriever(),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_the_answer_at_the_end_of_a_long_node(kind, on_disk, tmp_path):
    retriever = MAKERS[kind](**WINDOWS, **({"path": tmp_path / "folder"} if on_disk else {}))
    found = {scored.node.node_id: scored for scored in retriever.retrieve(QUESTION)}
    assert found["긴 글"].node == NODES[0]  # unchanged, or LlamaIndex's fusion would take it for another node
    uncut = MAKERS[kind](window=None)
    again = {scored.node.node_id: scored for scored in uncut.retrieve(QUESTION)}
    hit = next(hit for hit in retriever.collection.search(QUESTION) if hit.id == "긴 글")
    assert "체육관 사물함" in hit.passage
    if kind in ("colbert", "index", "sparse"):
        assert found["긴 글"].score != again["긴 글"].score


def test_an_index_over_a_collection_has_its_windows():
    collection = MAKERS["colbert"](**WINDOWS).collection
    for given in ({"window": 16}, {"stride": 4}):
        with pytest.raises(InvalidArgumentError, match=next(iter(given))):
            KoColBERTIndex(collection=collection, **given)
