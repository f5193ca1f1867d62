"""KoContextPruner in LlamaIndex: nodes, ids, scores, metadata and order are kept, the caller's are not touched."""

import pickle
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from korag import LateInteractionEncoder, load_encoder
from korag.errors import InvalidArgumentError, WrongFamilyError
from llamaindex_korag import FoundNode, KoContextPruner

QUERY = "보증금은 언제 돌려받나요?"
DEPOSIT = "보증금은 계약이 끝난 날부터 열흘 안에 돌려받는다."


def _nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_="도서관", text="도서관은 월요일에 문을 닫는다."), score=3.0),
        FoundNode(
            node=TextNode(id_="창고", text=f"열쇠는 사무실에서 받는다. {DEPOSIT}", metadata={"쪽": 3}),
            score=2.0, relevance=0.5, span=(0, 5),
        ),
        NodeWithScore(node=ImageNode(id_="사진", image_url="https://example.com/1.png"), score=1.0),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pruner(colbert: LateInteractionEncoder) -> KoContextPruner:
    return KoContextPruner(colbert, threshold=0.8)


def test_nodes_are_pruned_copies(pruner: KoContextPruner) -> None:
    given = _nodes()
    found = pruner.postprocess_nodes(given, query_str=QUERY)
    assert [node.to_dict() for node in given] == [node.to_dict() for node in _nodes()]
    assert [(one.node.node_id, one.score) for one in found] == [("창고", 2.0), ("사진", 1.0)]
    (store, photo) = found
    assert isinstance(store, FoundNode)
    assert (store.relevance, store.span) == (0.5, None)
    assert store.node.metadata == {"쪽": 3, "kept_spans": [[15, 15 + len(DEPOSIT)]]}
    assert store.node.get_content(MetadataMode.NONE) == DEPOSIT
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert store.node.get_content(mode) == f"쪽: 3\n\n{DEPOSIT}"
    assert photo.node == given[2].node
    kept = KoContextPruner(pruner._encoder, threshold=0.8, when_empty="best").postprocess_nodes(
        given, QueryBundle(QUERY)
    )
    assert [one.node.node_id for one in kept] == ["도서관", "창고", "사진"]


def test_it_is_restored_from_its_fields(pruner: KoContextPruner) -> None:
    small = load_encoder("mini-colbert", dim=32)
    assert isinstance(small, LateInteractionEncoder)
    own = KoContextPruner(small, threshold=0.6, sentences="rules")
    for copied in (KoContextPruner.from_dict(own.to_dict()), pickle.loads(pickle.dumps(own))):  # noqa: S301 (its own)
        assert copied.to_dict() == own.to_dict()
        assert copied._encoder.fingerprint == own._encoder.fingerprint


def test_bad_input(pruner: KoContextPruner) -> None:
    wrong_values: list[dict[str, Any]] = [{"threshold": 2}, {"when_empty": 3}, {"sentences": "kss"}]
    for wrong in wrong_values:
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            KoContextPruner(pruner._encoder, **wrong)
    with pytest.raises(InvalidArgumentError, match="threshold"):
        KoContextPruner(pruner._encoder, similarity_cutoff=0.5)
    with pytest.raises(WrongFamilyError):
        KoContextPruner("mini-dense")
    with pytest.raises(InvalidArgumentError, match="query_str"):
        pruner.postprocess_nodes(_nodes())
