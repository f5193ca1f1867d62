"""`add_encoded` of a local collection beyond the contract: windows, pooling, packed codecs, the store's own error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from other_store import OtherStore

from korag import Collection
from korag.collection.base import Collection as Contract
from korag.errors import IndexStateError, InvalidArgumentError
from korag.testing import FakeMultiVectorEncoder

TEXTS = [f"제{number}호 공고: 구청 {number}번 창구에서 {number}월에 받는다." for number in range(1, 9)]
ROWS = [(f"공고/{number}", text) for number, text in enumerate(TEXTS)]


def test_tokens_are_pooled_as_those_made_here() -> None:
    encoder = FakeMultiVectorEncoder()
    here, elsewhere = (Collection.in_memory(encoders=[encoder], pool_factor=2) for _ in range(2))
    here.add(TEXTS, ids=[id_ for id_, _ in ROWS])
    vectors = {"colbert": encoder.encode_documents(TEXTS)}
    elsewhere.add_encoded(ROWS, vectors, fingerprints={"colbert": encoder.fingerprint})
    assert elsewhere.search_many(TEXTS) == here.search_many(TEXTS)
    assert elsewhere.index_bytes == here.index_bytes


def test_documents_of_several_windows_are_refused(dense: Any) -> None:
    collection = Collection.in_memory(encoders=[dense], window=16)
    long = "보증금은 계약이 끝난 날에 돌려준다. " * 10
    texts = ["짧은 글", long]
    arguments: dict[str, Any] = {"fingerprints": {"dense": dense.fingerprint}}
    with pytest.raises(InvalidArgumentError, match="window=None"):
        collection.add_encoded(
            [("가", texts[0]), ("나", texts[1])], {"dense": dense.encode_documents(texts)}, **arguments
        )
    assert len(collection) == 0
    collection.add_encoded([("가", texts[0])], {"dense": dense.encode_documents(texts[:1])}, **arguments)
    (hit,) = collection.search("짧은 글")
    assert (hit.id, hit.span) == ("가", None)
    whole = Collection.in_memory(encoders=[dense], window=None)
    vectors = dense.encode_documents(texts)
    whole.add_encoded([("가", texts[0]), ("나", texts[1])], {"dense": vectors}, **arguments)
    again = Collection.in_memory(encoders=[dense], window=None)
    again.add(texts, ids=["가", "나"])
    assert whole.search(long) == again.search(long)


def test_a_collection_on_disk_is_the_same_to_the_last_bit(tmp_path: Any, dense: Any, splade: Any) -> None:
    encoders = {"dense": dense, "sparse": splade}
    arguments: dict[str, Any] = {
        "vectors": {name: encoder.encode_documents(TEXTS) for name, encoder in encoders.items()},
        "fingerprints": {name: encoder.fingerprint.to_dict() for name, encoder in encoders.items()},
    }
    np.save(tmp_path / "dense.npy", arguments["vectors"]["dense"])
    arguments["vectors"]["dense"] = np.load(tmp_path / "dense.npy", mmap_mode="r")
    with Collection.open(tmp_path / "색인", encoders=[*encoders.values()], bm25=True) as collection:
        collection.add_encoded(ROWS, **arguments)
    with Collection.open(tmp_path / "색인") as reopened:
        fresh = Collection.in_memory(encoders=[*encoders.values()], bm25=True)
        fresh.add(TEXTS, ids=[id_ for id_, _ in ROWS])
        assert reopened.search_many(TEXTS) == fresh.search_many(TEXTS)


def test_a_store_that_cannot_take_them_says_so() -> None:
    inner = Collection.in_memory(bm25=True)

    class Older(OtherStore):
        add_encoded = Contract.add_encoded

    with pytest.raises(IndexStateError, match="Older does not take vectors"):
        Older(inner).add_encoded([("a", "글")], {}, fingerprints={})
