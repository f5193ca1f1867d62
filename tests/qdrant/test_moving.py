"""Collections move from a folder to the server and back, with equal results, without encoding, and resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edge_server import EdgeServer
from sentences import DOCUMENTS

from korag import Collection
from korag.collection.qdrant import documents as remote_documents
from korag.errors import FingerprintError, ForeignFolderError, IndexStateError, InvalidArgumentError, ServerError
from korag.fusion import Fusion
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

TEXTS = [*DOCUMENTS, "", *(f"제{number}호 공고: {number % 7}번 창구에서 접수한다" for number in range(60))]
IDS = [f"글/{number}" for number in range(len(TEXTS))]
METADATA: list[dict[str, Any]] = [{"번호": number, "비율": number / 7, "큰 수": 2**70} for number in range(len(TEXTS))]


def fakes() -> list[Any]:
    return [FakeMultiVectorEncoder(dim=16), FakeSparseEncoder(), FakeDenseEncoder(dim=32)]


def filled(encoders: Any, **arguments: Any) -> Collection:
    collection = Collection.in_memory(encoders=encoders, bm25=True, **arguments)
    collection.add(TEXTS, ids=IDS, metadata=METADATA)
    collection.delete(IDS[3:5])
    collection.add([TEXTS[0] + " 고침"], ids=[IDS[0]])
    return collection


@pytest.mark.parametrize("pool_factor", [None, 2])
def test_there_and_back_again(open_new: Any, tmp_path: Path, pool_factor: int | None) -> None:
    encoders = fakes()
    local = filled(encoders, pool_factor=pool_factor)
    local.store_fusion(Fusion("weighted", {"bm25": 2.0}))
    remote = open_new(encoders=encoders, bm25=True, pool_factor=pool_factor)
    encoded = [encoder.documents_encoded for encoder in encoders]
    assert local.export_to(remote) == len(local) == len(remote)
    assert remote.get() == local.get()
    with remote.export(tmp_path / "돌아옴") as back:
        assert back.get() == local.get()
        assert back.fitted_fusion == local.fitted_fusion
        for using in (*local.legs, "hybrid"):
            assert back.search_many(TEXTS, using=using) == local.search_many(TEXTS, using=using)
    assert [encoder.documents_encoded for encoder in encoders] == encoded


def test_shipped_models_move_with_a_codec(open_new: Any, tmp_path: Path, colbert: Any, dense: Any) -> None:
    local = Collection.open(
        tmp_path / "하나", encoders=[colbert, dense], bm25=True
    )  # with windows, of which none is used
    local.add(DOCUMENTS, ids=IDS[: len(DOCUMENTS)])
    remote = open_new("옮김", encoders=[colbert, dense], bm25=True)
    local.export_to(remote)
    with remote.export(tmp_path / "둘", codec="int8", keep_vectors=True) as back:
        for query in DOCUMENTS[:4]:
            assert [hit.id for hit in back.search(query)] == [hit.id for hit in local.search(query)]


def test_moving_resumes_where_it_stopped(
    server: EdgeServer, open_new: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("korag.collection.adding.COMMIT_DOCUMENTS", 16)
    encoders = fakes()
    local, remote = filled(encoders), open_new(encoders=encoders, bm25=True, retries=0)
    sent: list[int] = []

    def stops(method: str, path: str) -> Any:
        if method == "PUT" and path.endswith("/points"):
            sent.append(1)
        return 503 if len(sent) > 2 else None

    server.fault = stops
    with pytest.raises(ServerError):
        local.export_to(remote)
    server.fault = lambda method, path: None
    there = len(remote)
    assert 0 < there < len(local)
    before = len(server.log)
    local.export_to(remote)
    upserts = [path for method, path, _ in server.log[before:] if method == "PUT" and path.endswith("/points")]
    assert len(upserts) == -(-(len(local) - there) // 16)  # nothing that was there is sent again
    assert remote.get() == local.get()

    fetched: list[str] = []
    original = remote_documents.QdrantDocuments._stored_vectors

    def counted(self: Any, name: str, leg: Any, documents: Any) -> Any:
        if len(fetched) > 40 and not hasattr(server, "resumed"):
            raise ConnectionAbortedError
        fetched.extend(document.id for document in documents)
        return original(self, name, leg, documents)

    monkeypatch.setattr(remote_documents.QdrantDocuments, "_stored_vectors", counted)
    with pytest.raises(ConnectionAbortedError):
        remote.export(tmp_path / "내보냄")
    with Collection.open(tmp_path / "내보냄", encoders=encoders) as half:
        there_already = set(half.ids())
    assert 0 < len(there_already) < len(remote)
    monkeypatch.setattr(server, "resumed", True, raising=False)
    fetched.clear()
    with remote.export(tmp_path / "내보냄") as back:
        assert not set(fetched) & there_already
        assert back.get() == local.get()
    remote.delete(IDS[10:14])
    remote.update_metadata(IDS[20:22], {"새": 1})
    fetched.clear()
    with remote.export(tmp_path / "내보냄") as back:
        assert not fetched
        assert back.get() == remote.get()


def test_many_documents_of_one_place_are_read_once(open_new: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_documents, "_PAGE", 4)
    collection = open_new(bm25=True)
    monkeypatch.setattr(remote_documents.QdrantDocuments, "_next", lambda self, count: [7] * count)
    collection.add([f"글 {number}" for number in range(19)])
    monkeypatch.undo()
    monkeypatch.setattr(remote_documents, "_PAGE", 4)
    collection.add([f"다음 글 {number}" for number in range(9)])
    found = [document.text for document in collection._in_order()]
    assert len(found) == len(set(found)) == 28
    assert found[19:] == [f"다음 글 {number}" for number in range(9)]


def test_documents_in_order_of_insertion_across_pages(open_new: Any, tmp_path: Path) -> None:
    """Places are nanoseconds, of which a double keeps every 256th."""
    collection = open_new(bm25=True)
    texts = [f"제{number}조 납부 기한은 {number}일이다" for number in range(1_100)]
    ids = collection.add(texts, ids=[f"조/{number}" for number in range(1_100)])
    with collection.export(tmp_path / "모두") as back:
        assert back.ids() == collection.ids() == ids
        assert [document.text for document in back.get()] == texts


def test_documents_that_leave_meanwhile_are_an_error(open_new: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_documents, "_PAGE", 4)
    collection = open_new(bm25=True)
    ids = collection.add([f"{number}호 고시" for number in range(9)])
    moving = collection._in_order()
    next(moving)
    collection.delete(ids[6:])
    with pytest.raises(IndexStateError, match="changed while"):
        list(moving)


def test_what_cannot_be_moved(open_new: Any, tmp_path: Path, dense: Any) -> None:
    encoders = fakes()
    local = filled(encoders)
    for wrong in (local, None, "http://localhost:6333"):
        with pytest.raises(InvalidArgumentError, match="QdrantCollection"):
            local.export_to(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="legs differ"):
        local.export_to(open_new(bm25=True))
    others = [FakeMultiVectorEncoder(dim=16), FakeSparseEncoder(seed=4), FakeDenseEncoder(dim=32)]
    other = open_new(encoders=others, bm25=True)
    with pytest.raises(FingerprintError, match=r"'sparse'.*weights"):
        local.export_to(other)
    tokenized = open_new(encoders=encoders, bm25=str.split)
    with pytest.raises(FingerprintError, match="'bm25'"):
        local.export_to(tokenized)
    assert len(other) == len(tokenized) == 0
    windowed = Collection.in_memory(encoders=[dense], window=16)
    windowed.add(["짧은 글", "보증금은 계약이 끝난 날에 돌려준다. " * 10])
    with pytest.raises(InvalidArgumentError, match=r"1 documents of .* several windows"):
        windowed.export_to(open_new(encoders=[dense]))
    (tmp_path / "일기.txt").write_text("내 것", encoding="utf-8")
    with pytest.raises(ForeignFolderError):
        other.export(tmp_path)
    other.close()
    with pytest.raises(IndexStateError, match="closed"):
        other.export(tmp_path / "새것")


def test_a_text_that_changes_meanwhile_is_an_error_not_a_mixture(open_new: Any, tmp_path: Path) -> None:
    encoders = fakes()
    local, remote = filled(encoders), open_new(encoders=encoders, bm25=True)
    stale = local.get(IDS[6:8])
    local.add(["다른 글"], ids=[IDS[7]])
    with pytest.raises(IndexStateError, match="changed while"):
        local._stored_vectors("dense", local._legs["dense"], stale)
    local.export_to(remote)
    stale = remote.get(IDS[6:8])
    remote.add(["또 다른 글"], ids=[IDS[7]])
    with pytest.raises(IndexStateError, match="changed while"):
        remote._stored_vectors("dense", remote._legs["dense"], stale)
