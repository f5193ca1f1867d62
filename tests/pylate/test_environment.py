"""In an environment of PyLate: its models and ours make the same token vectors, and both frameworks search with them.

`make pylate-env` runs these; elsewhere they are skipped.
"""

import numpy as np
import pytest
from assertions import assert_bilingual

from korag import Collection, load_encoder
from korag.encoders.releases import is_pylates
from korag.errors import MissingDependencyError

pytestmark = pytest.mark.skipif(not is_pylates(), reason="needs an environment of PyLate: make pylate-env")
QUERIES = ["전세 보증금 반환", "도서관은 언제 쉬나요? (월요일)"]
DOCUMENTS = [
    "계약이 끝나면, 집주인은 보증금을 돌려준다.",
    "도서관은 월요일에 쉰다! 늘.",
    "환불은 이레 안에",
]


def _pylate_vectors(model, texts, *, is_query):
    return model.encode(texts, is_query=is_query, show_progress_bar=False)


def _assert_equal(model, encoder, tolerance: float = 1e-5) -> None:
    for ours, theirs in (
        (encoder.encode_queries(QUERIES), _pylate_vectors(model, QUERIES, is_query=True)),
        (encoder.encode_documents(DOCUMENTS), _pylate_vectors(model, DOCUMENTS, is_query=False)),
    ):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=tolerance, rtol=0)


def test_what_we_save_opens_in_pylate_and_the_reverse(tmp_path) -> None:
    from pylate.models import ColBERT

    ours = load_encoder("mini-colbert", dim=128, dtype="float32")
    saved = ours.save(tmp_path / "ours")
    model = ColBERT(str(saved), device="cpu")
    _assert_equal(model, ours, 2e-4)  # PyLate reads 1_Dense, in 16 bits; we the head, in 32
    model.save(str(tmp_path / "theirs"), create_model_card=False)
    _assert_equal(model, load_encoder(tmp_path / "theirs", dtype="float32"))


def test_collections_and_both_frameworks(tmp_path) -> None:
    import langchain_korag
    import llamaindex_korag

    encoders = [load_encoder(name) for name in ("mini-dense", "mini-splade", "mini-colbert")]
    with Collection.open(tmp_path / "index", encoders=encoders, bm25=True) as collection:
        collection.add(DOCUMENTS)
        best = [hit.text for hit in collection.search(QUERIES[1], k=1)]
        assert best == [DOCUMENTS[1]]
        (found,) = langchain_korag.KoHybridRetriever(collection=collection, k=1).invoke(QUERIES[1])
        assert found.page_content == DOCUMENTS[1]
        (node,) = llamaindex_korag.KoHybridRetriever(collection, similarity_top_k=1).retrieve(QUERIES[1])
        assert node.node.get_content() == DOCUMENTS[1]


def test_exported_backends_need_the_newest_release() -> None:
    with pytest.raises(MissingDependencyError) as caught:
        load_encoder("mini-dense", backend="onnx")
    assert_bilingual(caught.value, "backend='onnx'", "PyLate", "5.3.0")
