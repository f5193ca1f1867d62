"""Metadata changed and counted, without encoding anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.errors import FilterError, InvalidArgumentError
from korag.testing.encoders import FakeDenseEncoder
from langchain_korag import KoBM25Retriever, KoHybridRetriever, KoVectorStore

TEXTS = ["보증금은 이사한 날 돌려줍니다.", "월세는 매달 말일에 냅니다.", "휴가는 사흘 전에 신청합니다."]
METADATA: list[dict[str, Any]] = [{"분류": "주거", "쪽": 1}, {"분류": "주거", "쪽": 2}, {"분류": "회사", "쪽": 1}]


def retriever(encoder: FakeDenseEncoder) -> KoHybridRetriever:
    return KoHybridRetriever.from_texts(TEXTS, METADATA, ids=["가", "나", "다"], models=[encoder])


def store(encoder: FakeDenseEncoder) -> KoVectorStore:
    return KoVectorStore.from_texts(TEXTS, None, METADATA, ids=["가", "나", "다"], encoders=[encoder], bm25=True)


@pytest.mark.parametrize("make", [retriever, store])
async def test_updating(make: Callable[[FakeDenseEncoder], Any]) -> None:
    encoder = FakeDenseEncoder()
    made = make(encoder)
    calls = encoder.calls
    assert made.update_metadata(["나", "가"], {"상태": "폐지"}) == ["나", "가"]
    assert await made.aupdate_metadata(["다"], [{"쪽": 7}], replace=True) == ["다"]
    assert encoder.calls == calls
    assert [document.metadata for document in made.collection.get()] == [
        {"분류": "주거", "쪽": 1, "상태": "폐지"},
        {"분류": "주거", "쪽": 2, "상태": "폐지"},
        {"쪽": 7},
    ]
    assert made.count() == 3
    assert made.count({"상태": "폐지"}) == await made.acount(filter={"상태": "폐지"}) == 2
    assert made.count({"쪽": {"$gt": 10}}) == 0


@pytest.mark.parametrize("make", [retriever, store])
def test_mistakes(make: Callable[[FakeDenseEncoder], Any]) -> None:
    made = make(FakeDenseEncoder())
    for call, match in (
        (lambda: made.update_metadata(["가", "없음"], {"쪽": 9}), "없음"),
        (lambda: made.update_metadata(["가", "나"], [{"쪽": 9}]), "2 ids and 1 metadata"),
        (lambda: made.update_metadata(["가"], {"쪽": float("nan")}), "nan"),
        (lambda: made.update_metadata(["가"], metadatas=[{}]), "Did you mean metadata"),
        (lambda: made.update_metadata(ids=["가"]), "lacks metadata"),
        (lambda: made.count(where={"쪽": 1}), "Did you mean filter"),
    ):
        with pytest.raises(InvalidArgumentError, match=match):
            call()  # type: ignore[no-untyped-call]
    with pytest.raises(FilterError, match="쪽"):
        made.count({"쪽": {"$like": 1}})
    assert [document.metadata for document in made.collection.get()] == METADATA


def test_a_folder_keeps_them(tmp_path: Path) -> None:
    made = KoBM25Retriever.from_texts(TEXTS, METADATA, ids=["가", "나", "다"], path=tmp_path / "law")
    made.update_metadata(["가"], {"쪽": 30})
    made.collection.close()
    assert Collection.open(tmp_path / "law").get(["가"])[0].metadata == {"분류": "주거", "쪽": 30}
    again = KoBM25Retriever.load_local(tmp_path / "law")
    assert [found.id for found in again.invoke("보증금", filter={"쪽": 30})] == ["가"]
