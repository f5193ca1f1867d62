"""`PlaidIndex`: ids, filters, upserts and deletes as those of a collection, and nothing half done."""

import contextlib
import json
import os
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assertions import assert_bilingual
from dict_store import DictStore
from sentences import DOCUMENTS

from korag import Collection
from korag.collection.pacing import Pace
from korag.errors import (
    CollectionLockedError,
    FilterError,
    FingerprintError,
    ForeignFolderError,
    FormatVersionError,
    IndexStateError,
    InvalidArgumentError,
    InvalidTextError,
    MissingDependencyError,
    ReadOnlyError,
    WrongFamilyError,
)
from korag.plaid import PlaidIndex, sources, table, tokens, writing
from korag.plaid.table import TABLE_FILE
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder

pytestmark = pytest.mark.usefixtures("fast_plaid")
TEXTS = [
    *DOCUMENTS,
    *(f"{number}번 창구는 {number % 4}층에 있고 {9 + number % 3}시에 연다." for number in range(24)),
    "",
]
IDS = [f"문서-{number}" for number in range(len(TEXTS))]
METADATA = [{"번호": number, "층": number % 4, "이름": f"n{number % 5}"} for number in range(len(TEXTS))]
FILTERS = [
    {"번호": {"$gte": 20}},
    {"층": 3},
    {"$or": [{"층": 0}, {"이름": "n1"}]},
    {"없는 것": {"$exists": False}},
    {"번호": -1},
]
ALL = 1_000


def _encoder(**settings: Any) -> FakeMultiVectorEncoder:
    return FakeMultiVectorEncoder(**{"dim": 64} | settings)


def _collection(**settings: Any) -> Any:
    collection = Collection.in_memory(encoders=[_encoder()], **settings)
    collection.add(TEXTS, ids=IDS, metadata=METADATA)
    return collection


@pytest.fixture(scope="module")
def collection(fast_plaid: object) -> Any:
    return _collection()


@pytest.fixture(scope="module")
def built(collection: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Only read by tests."""
    with PlaidIndex.build(collection, tmp_path_factory.mktemp("plaid") / "index", device="cpu") as index:
        yield index


@pytest.fixture
def index(collection: Any, tmp_path: Path) -> Any:
    with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
        yield index


@pytest.fixture(params=["vectors kept", "changed in place"])
def in_both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an index of up to 1,000 documents is changed, and as a larger one."""
    if request.param == "changed in place":
        monkeypatch.setattr(tokens, "KEPT_WINDOWS", 0)


def _found(index: Any, query: str = "창구는 몇 시에 여나", **settings: Any) -> set[str]:
    return {hit.id for hit in index.search(query, k=ALL, **settings)}


def _searchable(documents: Any) -> set[str]:
    return {document.id for document in documents.get() if document.text.strip()}


class TestSearch:
    def test_hits_are_those_of_the_collection(self, built: Any, collection: Any) -> None:
        for text in TEXTS[:6]:
            hit, expected = built.search(text, k=1)[0], collection.search(text, k=1)[0]
            assert (hit.id, hit.text, hit.metadata) == (expected.id, expected.text, expected.metadata)
            assert hit.score == pytest.approx(expected.score, rel=0.1)
            assert hit.relevance == pytest.approx(expected.relevance, abs=0.1)
            assert hit.legs == {"colbert": (1, hit.score)}

    def test_nothing_was_encoded_to_build_it(self, tmp_path: Path) -> None:
        collection = _collection()
        (encoder,) = collection.encoders.values()
        before = encoder.documents_encoded
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            assert _found(index) == _searchable(collection)
        assert encoder.documents_encoded == before

    def test_a_store_that_gives_no_vectors_is_encoded(self, tmp_path: Path) -> None:
        store = DictStore(encoders=[_encoder()])
        store.add(TEXTS, ids=IDS)
        with PlaidIndex.build(store, tmp_path / "index", device="cpu") as index:
            assert _found(index) == _searchable(store)
            assert index.get() == store.get()

    @pytest.mark.parametrize("where", FILTERS)
    def test_filters_are_exact_and_applied_before_the_best_are_taken(
        self, built: Any, collection: Any, where: Any
    ) -> None:
        expected = {document.id for document in collection.get(where=where)} & _searchable(collection)
        for probes in (1, 8):
            assert _found(built, where=where, n_ivf_probe=probes, n_full_scores=1) == expected
            for k in (1, 3):
                assert len(built.search(TEXTS[0], k=k, where=where, n_ivf_probe=probes)) == min(k, len(expected))

    def test_k_hits_come_wherever_there_are_k_documents(self, built: Any) -> None:
        for k in (0, 1, 7, len(TEXTS) - 1, ALL):
            hits = built.search(TEXTS[0], k=k, n_ivf_probe=1, n_full_scores=1)
            assert len(hits) == min(k, len(TEXTS) - 1)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_any_number_may_be_scored(self, built: Any) -> None:
        expected = built.search(TEXTS[0], k=3, n_full_scores=4_096)
        for number in (2**31, 2**63, 2**70):
            assert built.search(TEXTS[0], k=3, n_full_scores=number, n_ivf_probe=number)[0].id == expected[0].id
            assert len(built.search(TEXTS[0], k=number, n_full_scores=number)) == len(TEXTS) - 1

    def test_lists_with_enough_documents_are_searched_once(self, built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from fast_plaid import search

        asked: list[int] = []
        plain = search.FastPlaid.search

        def counting(self: Any, *given: Any, **settings: Any) -> Any:
            asked.append(settings["top_k"])
            return plain(self, *given, **settings)

        built.search("글")  # opens it
        torch = pytest.importorskip("torch")
        settings = {"n_full_scores": 4_096, "n_ivf_probe": 1, "show_progress": False}
        counts = {}
        for word in TEXTS[0].split():
            (query,) = built.encoder.encode_queries([word], show_progress=False)
            (found,) = built._opened[1]._index.search(torch.tensor(query)[None], top_k=ALL, **settings)
            counts[word] = len(found)
        word = min(counts, key=lambda word: counts[word])
        assert 0 < counts[word] < len(TEXTS) - 2
        monkeypatch.setattr(search.FastPlaid, "search", counting)
        assert len(built.search(word, k=counts[word], n_ivf_probe=1)) == counts[word]
        assert asked == [counts[word] + 1]

    def test_a_query_without_token_vectors_finds_nothing(self, index: Any) -> None:
        with PlaidIndex.open(index.path, encoder=_SometimesNothing(dim=64), device="cpu") as again:
            assert again.search("없음") == []
            assert again.search(TEXTS[0], k=1)[0].id == IDS[0]

    def test_k_may_be_given_without_a_name(self, built: Any) -> None:
        assert built.search(TEXTS[0], 3, where={"층": 1}) == built.search(TEXTS[0], k=3, where={"층": 1})
        for arguments, settings, part in [((3, {"층": 1}), {}, "where="), ((), {"top_k": 3}, "top_k")]:
            with pytest.raises(InvalidArgumentError) as caught:
                built.search(TEXTS[0], *arguments, **settings)
            assert_bilingual(caught.value, part)

    def test_equal_scores_come_in_insertion_order(self, tmp_path: Path) -> None:
        collection = Collection.in_memory(encoders=[_encoder()])
        same = [f"같음-{number}" for number in range(9)]
        collection.add([*TEXTS[:8], *[TEXTS[8]] * len(same)], ids=[*IDS[:8], *same])
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            for k in range(1, len(same) + 1):
                assert [hit.id for hit in index.search(TEXTS[8], k=k)] == same[:k]

    def test_hits_below_a_relevance_are_left_out(self, built: Any) -> None:
        hits = built.search(TEXTS[0], k=ALL)
        threshold = hits[3].relevance
        assert built.search(TEXTS[0], k=ALL, min_relevance=threshold) == [
            hit for hit in hits if hit.relevance >= threshold
        ]

    def test_an_empty_query_finds_nothing_and_says_so(
        self, built: Any, collection: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        for searched in (collection, built):
            assert searched.search(" ") == []
        expected, found = caplog.messages
        assert found == expected

    def test_wrong_arguments(self, built: Any) -> None:
        for arguments, kind in [
            ({"query": 1}, InvalidTextError),
            ({"query": "글", "k": -1}, InvalidArgumentError),
            ({"query": "글", "where": {"$no": 1}}, FilterError),
            ({"query": "글", "n_ivf_probe": 0}, InvalidArgumentError),
            ({"query": "글", "n_full_scores": 0}, InvalidArgumentError),
            ({"query": "글", "min_relevance": 2}, InvalidArgumentError),
        ]:
            with pytest.raises(kind):
                built.search(**arguments)

    def test_many_threads_search_while_one_changes(self, index: Any) -> None:
        wrong: list[object] = []
        ended = threading.Event()

        def search() -> None:
            while not ended.is_set():
                try:
                    found = {hit.id: hit.text for hit in index.search("새 글", k=ALL)}
                    added = {text for id_, text in found.items() if id_.startswith("새")}
                    if len(added) not in (0, 1) or len(found) - len(added and {"새-0", "새-1"}) != len(TEXTS) - 1:
                        wrong.append(found)
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(6):  # both are always of one change
            index.add([f"새 글 {number}"] * 2, ids=["새-0", "새-1"])
        ended.set()
        for thread in threads:
            thread.join()
        assert not wrong


class TestChanges:
    def test_documents_are_those_of_a_collection_after_any_changes(
        self, in_both_ways: None, collection: Any, tmp_path: Path
    ) -> None:
        chance = random.Random(5)
        other = _collection()
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            for step in range(14):
                ids = chance.sample(IDS, 3)
                texts = [f"{step}번째로 고친 글 {chance.random():.3f}", chance.choice(TEXTS), ""]
                change = chance.choice(["add", "add", "delete", "filter", "metadata", "both"])
                for documents in (other, index):
                    if change == "add":
                        documents.add(texts, ids=ids, metadata=[{"단계": step, "층": 1}] * 3)
                    elif change == "delete":
                        documents.delete(ids)
                    elif change == "filter":
                        documents.delete(where={"층": step % 4, "번호": {"$lt": 12}})
                    elif change == "both":
                        documents.delete(IDS[:9], where={"층": 2})
                    elif there := [document.id for document in documents.get(ids)]:
                        documents.update_metadata(there, {"고침": step})
                assert index.get() == other.get(), (step, change)
                assert (len(index), index.ids()) == (len(other), other.ids())
                assert _found(index) == _searchable(other), (step, change)
                assert _found(index, where={"층": 1}) == {hit.id for hit in other.search("글", k=ALL, where={"층": 1})}
                for hit in index.search(texts[0], k=3):
                    assert [hit.text] == [document.text for document in other.get([hit.id])]
            assert {path.name for path in index.path.iterdir()} <= {
                TABLE_FILE, f"{TABLE_FILE}-wal", f"{TABLE_FILE}-shm", *_folders(index)
            }  # fmt: skip
            assert len(_folders(index)) == 1

    def test_the_vectors_of_a_document_are_its_new_ones(
        self, in_both_ways: None, collection: Any, tmp_path: Path
    ) -> None:
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            index.add(["우체국은 토요일 오전에만 소포를 받는다."], ids=[IDS[0]])
            index.delete([IDS[2]])
            index.add(["수영장은 오월에 물을 갈고 유월에 연다."], ids=["수영장"])
            assert index.search("수영장은 오월에 물을 갈고", k=1)[0].id == "수영장"
            assert index.search("우체국은 토요일 오전에만 소포를", k=1)[0].id == IDS[0]
            assert index.search(TEXTS[3], k=1)[0].id == IDS[3]
            assert index.search(TEXTS[0], k=1)[0].id != IDS[2]

    def test_the_same_text_keeps_its_vectors_and_place(self, index: Any) -> None:
        before, folders = index.encoder.documents_encoded, _folders(index)
        index.add(TEXTS[:3], ids=IDS[:3], metadata=[{"새": True}] * 3)
        assert index.encoder.documents_encoded == before
        assert _folders(index) == folders
        assert index.ids() == IDS
        assert index.count({"새": True}) == 3
        assert _found(index, where={"새": True}) == set(IDS[:3])

    def test_ids_are_compared_in_nfc(self, index: Any) -> None:
        index.add(["다른 글"], ids=[unicodedata.normalize("NFD", "문서-1")])
        assert len(index) == len(TEXTS)
        assert [one.text for one in index.get(["문서-1", "문서-1", "없음"])] == ["다른 글"] * 2
        assert index.delete(["문서-1"]) == 1

    def test_deleted_vectors_leave_the_folder_once_they_are_half(self, index: Any) -> None:
        folders = _folders(index)
        index.delete(IDS[:3])
        assert _folders(index) == folders
        index.delete(IDS[3:24])
        assert _folders(index) != folders
        assert _found(index) == set(IDS[24:-1])
        assert index.delete(where={}) == len(TEXTS) - 24
        assert _folders(index) == set()
        assert (index.search("글"), len(index), index.get()) == ([], 0, [])
        assert index.add(["하나", "", "둘"], ids=["a", "b", "c"]) == ["a", "b", "c"]
        assert _found(index) == {"a", "c"}
        index.add(["셋 넷 다섯"], ids=["d"])
        assert _found(index) == {"a", "c", "d"}
        assert index.search("셋 넷 다섯", k=1)[0].id == "d"

    def test_what_is_inherited(self, index: Any) -> None:
        assert index.keep_only(IDS[:5]) == len(TEXTS) - 5
        assert index.add_stream((f"s{number}", f"흘러온 글 {number}") for number in range(4)) == 4
        assert _found(index) == {*IDS[:5], "s0", "s1", "s2", "s3"}
        with pytest.raises(InvalidArgumentError):
            index.delete()
        with pytest.raises(IndexStateError):
            index.add_encoded([("a", "글")], {}, fingerprints={})

    def test_an_empty_collection(self, tmp_path: Path) -> None:
        empty = Collection.in_memory(encoders=[_encoder()])
        with PlaidIndex.build(empty, tmp_path / "index", device="cpu") as index:
            assert (len(index), index.search("글")) == (0, [])
            index.add(["글"], ids=["a"])
            assert _found(index) == {"a"}


def _of_many_windows(**settings: Any) -> Any:
    """Documents of one to five windows; a window's own words come from the middle of a document."""
    collection = Collection.in_memory(encoders=[_encoder()], window=16, stride=8, **settings)
    long = [" ".join(TEXTS[first : first + count]) for count in (1, 3, 6) for first in range(0, 24, count)]
    collection.add(long, ids=[f"긴-{number}" for number in range(len(long))], metadata=METADATA[:32] + METADATA[:4])
    return collection


class TestWindows:
    def test_a_document_scores_as_its_best_window_and_says_where_it_is(self, tmp_path: Path) -> None:
        collection = _of_many_windows()
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            spans = 0
            for query in TEXTS[:8]:
                own = {hit.id: hit for hit in index.search(query, k=ALL)}
                assert own.keys() == set(collection.ids())
                for hit in collection.search(query, k=3):
                    assert own[hit.id].score == pytest.approx(hit.score, rel=0.1)
                    assert own[hit.id].span == hit.span
                    spans += hit.span is not None
                for k in (1, 4, 20):
                    hits = index.search(query, k=k, n_ivf_probe=1, n_full_scores=1)
                    assert len({hit.id for hit in hits}) == len(hits) == k
                for where in FILTERS[:3]:
                    expected = {document.id for document in collection.get(where=where)}
                    assert _found(index, where=where) == expected
                    assert len(index.search(query, k=2, where=where)) == min(2, len(expected))
            assert spans

    def test_added_documents_are_split_as_the_collection_splits_them(self, in_both_ways: None, tmp_path: Path) -> None:
        collection = _of_many_windows()
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            text = " ".join(reversed(TEXTS[:8]))
            for documents in (collection, index):
                documents.add([text], ids=["긴-1"], metadata=[{"breadcrumb": "창구 안내"}])
                documents.delete(["긴-0", "긴-30"])
            assert index.get() == collection.get()
            assert _found(index) == set(collection.ids())
            for query in (TEXTS[1], TEXTS[6]):
                (hit,) = (hit for hit in index.search(query, k=ALL) if hit.id == "긴-1")
                (expected,) = (hit for hit in collection.search(query, k=ALL) if hit.id == "긴-1")
                assert expected.span is not None
                assert hit.span == expected.span
            before = index.encoder.documents_encoded
            index.sync(collection)
            assert index.encoder.documents_encoded == before

    def test_another_way_to_split_or_merge_is_refused(self, index: Any) -> None:
        for settings in ({"window": 16}, {"pool_factor": 2}):
            other = Collection.in_memory(encoders=[_encoder()], **settings)
            with pytest.raises(FingerprintError) as caught:
                index.sync(other)
            assert_bilingual(caught.value, next(iter(settings)))

    def test_token_vectors_are_merged_as_in_the_collection(self, tmp_path: Path) -> None:
        collection = _collection(pool_factor=3)
        (built, added) = (tmp_path / name for name in ("built", "added"))
        with PlaidIndex.build(collection, built, device="cpu") as index:
            expected = index.search(TEXTS[9], k=3)
        with PlaidIndex.build(_collection(pool_factor=3), added, device="cpu") as index:
            index.delete([IDS[9]])
            index.add([TEXTS[9]], ids=[IDS[9]], metadata=[METADATA[9]])
            hits = index.search(TEXTS[9], k=3)
            assert [hit.id for hit in hits] == [hit.id for hit in expected]
            assert hits[0].score == pytest.approx(expected[0].score, rel=0.02)
            assert hits[0].score == pytest.approx(collection.search(TEXTS[9], k=1)[0].score, rel=0.1)


class TestSync:
    def test_only_what_differs_is_changed(self, in_both_ways: None, tmp_path: Path) -> None:
        collection = _collection()
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            folders = _folders(index)
            index.sync(collection)
            assert _folders(index) == folders
            collection.delete(IDS[:4])
            collection.add(["고친 글", "새 글"], ids=[IDS[6], "새"])
            collection.update_metadata(IDS[8:10], {"층": 99})
            before = index.encoder.documents_encoded
            index.sync(collection)
            assert index.encoder.documents_encoded == before
            assert index.get() == collection.get()
            assert _found(index) == _searchable(collection)
            assert _found(index, where={"층": 99}) == set(IDS[8:10])

    @pytest.mark.parametrize("change", ["replaced", "deleted", "added"])
    def test_a_collection_changed_meanwhile_is_an_error_and_nothing_is_dropped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        collection = _collection()
        changes = {
            "replaced": lambda: collection.add([f"고친 글 {len(done)}"], ids=[IDS[30 + len(done)]]),  # not read yet
            "deleted": lambda: collection.delete([IDS[len(done)]]),  # read
            "added": lambda: collection.add([f"새 글 {len(done)}"]),
        }
        read, done = sources.TokenSource.read, [False]

        def reading(self: Any, documents: Any) -> Any:
            found = read(self, documents)
            if not done[-1]:
                changes[change]()
                done[-1] = True
            return found

        monkeypatch.setattr("korag.plaid.index.even_pace", lambda: Pace(8, first=8))
        monkeypatch.setattr("korag.collection.local.moving._PAGE", 8)
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            index.delete(IDS[:9])
            before = index.get()
            monkeypatch.setattr(sources.TokenSource, "read", reading)
            with pytest.raises(IndexStateError, match="changed while") as caught:
                index.sync(collection)
            assert_bilingual(caught.value)
            assert index.get() == before
            done.append(False)
            with pytest.raises(IndexStateError, match="changed while"):
                PlaidIndex.build(collection, tmp_path / "other", device="cpu")
            assert not (tmp_path / "other").exists()
            index.sync(collection)
            assert set(index.ids()) == set(collection.ids())
            assert _found(index) == _searchable(collection)

    def test_another_model_is_refused(self, index: Any) -> None:
        other = Collection.in_memory(encoders=[_encoder(seed=1)])
        with pytest.raises(FingerprintError) as caught:
            index.sync(other)
        assert_bilingual(caught.value, "weights")
        assert len(index) == len(TEXTS)


class TestFolder:
    def test_it_opens_again_with_the_same_model_only(self, index: Any) -> None:
        index.delete([IDS[1]])
        with PlaidIndex.open(index.path, encoder=_encoder(), device="cpu") as again:
            assert again.get() == index.get()
            assert again.search(TEXTS[0], k=5) == index.search(TEXTS[0], k=5)
            index.add(["다른 데서 고친 글"], ids=["다른"])
            assert "다른" in _found(again)
            assert repr(again) == f"PlaidIndex('{index.path}', documents={len(TEXTS)}, model='fake-late-interaction')"
        with pytest.raises(FingerprintError) as caught:
            PlaidIndex.open(index.path, encoder=_encoder(query_prompt="Q: "))
        assert_bilingual(caught.value, "query_prompt", str(index.path))
        with pytest.raises(WrongFamilyError):
            PlaidIndex.open(index.path, encoder=FakeDenseEncoder())

    def test_a_difference_is_told_without_contradiction(self, index: Any) -> None:
        with pytest.raises(FingerprintError) as caught:
            PlaidIndex.open(index.path, encoder=_encoder(dim=32))
        assert_bilingual(caught.value, "dim", "64", "32")
        assert "not by" not in str(caught.value)

    @pytest.mark.parametrize("device", ["cuda:77", "gpu", 3, ["cpu"]])
    def test_a_device_that_is_not_here_is_not_damage(
        self, index: Any, collection: Any, tmp_path: Path, device: Any
    ) -> None:
        for call in (
            lambda: PlaidIndex.open(index.path, encoder=_encoder(), device=device),
            lambda: PlaidIndex.build(collection, tmp_path / "new", device=device),
        ):
            with pytest.raises(InvalidArgumentError) as caught:
                call()
            assert_bilingual(caught.value, f"device={device!r}", "cpu")
        assert not (tmp_path / "new").exists()

    def test_a_tiny_one_is_not_written_again_by_a_call_that_changes_nothing(self, tmp_path: Path) -> None:
        collection = Collection.in_memory(encoders=[_encoder()])
        collection.add(["글 하나"], ids=["a"])
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            before = _folders(index)
            assert index.delete(["없는 것"]) == 0
            index.add(["글 하나"], ids=["a"], metadata=[{"새": True}])
            index.sync(collection)
            assert _folders(index) == before
            assert _found(index) == {"a"}

    @pytest.mark.parametrize("is_committed", [False, True])
    def test_a_commit_that_fails_leaves_no_files(
        self, index: Any, monkeypatch: pytest.MonkeyPatch, is_committed: bool
    ) -> None:
        before = _folders(index)
        whole = table.Table.writing

        @contextlib.contextmanager
        def failing(self: Any) -> Any:
            if is_committed:  # interrupted right behind it
                with whole(self) as transaction:
                    yield transaction
                raise KeyboardInterrupt
            with contextlib.suppress(sqlite3.OperationalError), whole(self) as transaction:
                yield transaction
                raise sqlite3.OperationalError
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(table.Table, "writing", failing)
            with pytest.raises((sqlite3.OperationalError, KeyboardInterrupt)):
                index.add(["글"], ids=["a"])
        assert (_folders(index) == before) != is_committed
        assert _found(index) == {*IDS[:-1], *(["a"] if is_committed else [])}
        index.delete(["a"])
        assert len(_folders(index)) == 1

    def test_a_closed_one_is_an_error(self, index: Any) -> None:
        index.close()
        with pytest.raises(IndexStateError, match="closed") as caught:
            index.search("글")
        assert_bilingual(caught.value, str(index.path))

    def test_nothing_is_left_of_a_build_that_fails(self, tmp_path: Path) -> None:
        store = DictStore(encoders=[_encoder()])
        store.add(TEXTS, ids=IDS)
        (encoder,) = store.encoders.values()
        encoder.encode_documents = lambda *_, **__: 1 / 0
        with pytest.raises(ZeroDivisionError):
            PlaidIndex.build(store, tmp_path / "index", device="cpu")
        assert list(tmp_path.iterdir()) == []

    def test_wrong_arguments(self, collection: Any, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        odd = Collection.in_memory(encoders=[_encoder(dim=12)])
        for arguments, part in [
            ({"collection": collection, "folder": tmp_path / "taken"}, "taken"),
            ({"collection": collection, "folder": tmp_path / "new", "nbits": 3}, "nbits"),
            ({"collection": odd, "folder": tmp_path / "new"}, "12"),
            ({"collection": Collection.in_memory(bm25=True), "folder": tmp_path / "new"}, "bm25"),
            ({"collection": "collection", "folder": tmp_path / "new"}, "collection="),
        ]:
            with pytest.raises(InvalidArgumentError) as caught:
                PlaidIndex.build(**arguments)
            assert part in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["taken"]

    def test_other_folders_are_not_opened_or_changed(self, index: Any, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "text").mkdir()
        (tmp_path / "text" / TABLE_FILE).write_text("SQLite가 아니다. " * 200)
        for folder in (tmp_path / "other", tmp_path / "none", tmp_path / "text"):
            with pytest.raises(ForeignFolderError) as caught:
                PlaidIndex.open(folder, encoder=_encoder())
            assert_bilingual(caught.value, str(folder), "PlaidIndex.build")
        with sqlite3.connect(index.path / TABLE_FILE) as connection:
            connection.execute("PRAGMA user_version = 9")
        with pytest.raises(FormatVersionError, match="format 9"):
            PlaidIndex.open(index.path, encoder=_encoder())
        with sqlite3.connect(index.path / TABLE_FILE) as connection:
            connection.execute("PRAGMA user_version = 1")
            connection.execute("CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM documents; END")
        with pytest.raises(ForeignFolderError):
            PlaidIndex.open(index.path, encoder=_encoder())

    def test_a_name_that_leads_out_of_the_folder_is_damage(self, index: Any) -> None:
        outside = index.path.parent / "outside"
        outside.mkdir()
        with sqlite3.connect(index.path / TABLE_FILE) as connection:
            connection.execute("UPDATE settings SET value = ? WHERE name = 'index'", (json.dumps("../outside"),))
        for call in (lambda: index.add(["글"]), lambda: index.search("글"), lambda: index.delete(where={})):
            with pytest.raises(IndexStateError):
                call()
        assert outside.is_dir()

    @pytest.mark.parametrize("name", ["metadata.json", "centroids.npy"])
    def test_damaged_files_are_an_error_and_not_an_empty_answer(self, index: Any, name: str) -> None:
        (folder,) = _folders(index)
        (index.path / folder / name).write_bytes(b"{")
        with pytest.raises(IndexStateError) as caught:
            index.search("글")
        assert_bilingual(caught.value, "PlaidIndex.build")

    @pytest.mark.parametrize("damage", ["gone", "shorter"])
    def test_a_file_that_is_missing_or_shorter_is_an_error_and_not_another_answer(
        self, collection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
    ) -> None:
        monkeypatch.setattr(tokens, "KEPT_WINDOWS", 0)
        with PlaidIndex.build(collection, tmp_path / "whole", device="cpu") as index:
            (folder,) = _folders(index)
        names = [path.name for path in (tmp_path / "whole" / folder).iterdir() if path.stat().st_size > 1]
        assert len(names) >= 4
        for name in names:
            if damage == "shorter" and name.endswith("manifest.json"):
                continue  # written again
            shutil.copytree(tmp_path / "whole", tmp_path / name)
            path = tmp_path / name / folder / name
            if damage == "gone":
                path.unlink()
            else:
                os.truncate(path, path.stat().st_size - 1)
            with PlaidIndex.open(tmp_path / name, encoder=_encoder(), device="cpu") as index:
                for call in (lambda: index.search(TEXTS[0]), lambda: index.add(["글"], ids=["a"])):
                    with pytest.raises(IndexStateError) as caught:
                        call()
                    assert_bilingual(caught.value, "PlaidIndex.build", name)
                assert (_folders(index), index.ids()) == ({folder}, IDS)

    def test_files_of_another_fast_plaid_are_neither_searched_nor_extended(
        self, in_both_ways: None, collection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with PlaidIndex.build(collection, tmp_path / "index", device="cpu") as index:
            folders = _folders(index)
        monkeypatch.setattr("korag.plaid.index.check_release", lambda: ("1.2.9.2110", "2.11.0"))
        with PlaidIndex.open(tmp_path / "index", encoder=_encoder(), device="cpu") as index:
            with index._table.reading() as transaction:
                was = transaction.state().releases["fast-plaid"]
            with pytest.raises(MissingDependencyError) as caught:
                index.search(TEXTS[0])
            assert_bilingual(caught.value, was, "1.2.9.2110", "PlaidIndex.build", f"'fast-plaid=={was}'")
            if tokens.KEPT_WINDOWS:  # all files are made anew
                index.add(["글"], ids=["a"])
                assert _found(index) == {*IDS[:-1], "a"}
            else:
                for call in (lambda: index.add(["글"], ids=["a"]), lambda: index.delete(IDS[1:])):
                    with pytest.raises(MissingDependencyError):
                        call()
                assert (_folders(index), index.ids()) == (folders, IDS)

    def test_lost_documents_are_noticed_before_they_are_committed(
        self, index: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "KEPT_WINDOWS", 0)
        index.add(["글"], ids=["a"])  # from now on, changed in place
        folders = _folders(index)
        extend = writing.extend_index

        def lose(source: Path, target: Path, *given: Any, **settings: Any) -> None:
            extend(source, target, *given, **settings)
            (target / "doclens.0.json").write_text("[3]")  # as an older fast-plaid did

        monkeypatch.setattr(writing, "extend_index", lose)
        with pytest.raises(IndexStateError):
            index.add(["새 글"], ids=["b"])
        assert _folders(index) == folders
        assert _found(index) == {*IDS[:-1], "a"}

    def test_a_panic_of_rust_is_an_error_of_korag(self, index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from fast_plaid import search

        class PanicException(BaseException):
            """As of pyo3."""

        def panic(*_: object, **__: object) -> None:
            raise PanicException("index out of range")

        folders = _folders(index)
        for name, call in (
            ("search", lambda: index.search("글")),
            ("create", lambda: index.add(["글"], ids=["a"])),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(search.FastPlaid, name, panic)
                with pytest.raises(IndexStateError) as caught:
                    call()
            assert_bilingual(caught.value, "index out of range", "device=")
        assert (_folders(index), index.ids()) == (folders, IDS)
        for interruption in (KeyboardInterrupt, SystemExit):
            with monkeypatch.context() as patch:
                patch.setattr(search.FastPlaid, "search", lambda *_, kind=interruption, **__: _raise(kind))
                with pytest.raises(interruption):
                    index.search("글")

    @pytest.mark.parametrize("content", [b"", b"{", pickle.dumps([1])])
    def test_a_change_from_damaged_vectors_is_an_error_that_changes_nothing(self, index: Any, content: bytes) -> None:
        (folder,) = _folders(index)
        (index.path / folder / "korag-lengths.npy").write_bytes(content)
        with pytest.raises(IndexStateError) as caught:
            index.add(["글"], ids=["a"])
        assert_bilingual(caught.value, "PlaidIndex.build")
        assert _folders(index) == {folder}
        assert index.ids() == IDS
        assert _found(index) == set(IDS[:-1])

    def test_pickles_put_into_the_folder_are_not_read(
        self, index: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(tokens, "KEPT_WINDOWS", 0)
        index.add(["글"], ids=["a"])  # from now on, changed in place
        (folder,) = _folders(index)
        array = np.empty(1, object)
        array[0] = _Touches(str(tmp_path / "touched"))
        for name in ("embeddings.npy", "buffer.npy"):
            np.save(index.path / folder / name, array, allow_pickle=True)
        index.delete([IDS[1]])
        index.add(["다른 글"], ids=["b"])
        assert not (tmp_path / "touched").exists()
        assert _found(index) == {*IDS[:-1], "a", "b"} - {IDS[1]}

    def test_another_writer_is_waited_for_and_then_an_error(self, index: Any) -> None:
        with PlaidIndex.open(index.path, encoder=_encoder(), device="cpu", timeout=0.05) as other:
            with index._table.writing():
                with pytest.raises(CollectionLockedError) as caught:
                    other.delete([IDS[0]])
                assert_bilingual(caught.value, TABLE_FILE)
                assert len(other.search("글", k=ALL)) == len(TEXTS) - 1
            assert other.delete([IDS[0]]) == 1

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written(self, collection: Any, tmp_path: Path) -> None:
        (tmp_path / "fixed").mkdir(mode=0o500)
        with pytest.raises(ReadOnlyError):
            PlaidIndex.build(collection, tmp_path / "fixed" / "index", device="cpu")


class _SometimesNothing(FakeMultiVectorEncoder):
    """Has no token vectors of one text."""

    def encode_queries(self, texts: Any, **settings: Any) -> Any:
        found = super().encode_queries(texts, **settings)
        return [one[:0] if text == "없음" else one for text, one in zip(texts, found, strict=True)]


class _Touches:
    """Unpickling it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def test_the_pickle_of_these_tests_would_be_noticed(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Touches(str(tmp_path / "touched")))).close()  # noqa: S301 (our own)
    assert (tmp_path / "touched").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can be killed")
def test_a_process_killed_at_any_step_leaves_all_of_a_change_or_nothing(
    fast_plaid: Path | None, tmp_path: Path
) -> None:
    script = Path(__file__).parents[1] / "kill_plaid.py"
    paths = [str(fast_plaid)] if fast_plaid else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*paths, *sys.path])}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert done.stdout.split() == ["copied", "old", "written", "old", "numbered", "old", "committed", "new"] * 2


def _raise(kind: type[BaseException]) -> None:
    raise kind


def _folders(index: Any) -> set[str]:
    return {path.name for path in index.path.iterdir() if path.is_dir()}
