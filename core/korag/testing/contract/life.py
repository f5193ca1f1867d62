"""Many threads, and the end of a collection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from korag.collection.base import Collection
from korag.errors import KoragError
from korag.testing.contract.fixtures import ContractFixtures, Encoders, Make
from korag.testing.contract.samples import DOCUMENTS, IDS, LEGS, ids_of

THREADS = 4


class LifeTests(ContractFixtures):
    """Use by many threads, and closing."""

    def test_many_threads_search_at_once(self, filled: Collection) -> None:
        expected = {using: filled.search_many(DOCUMENTS, k=3, using=using) for using in (*LEGS, "hybrid")}

        def search(using: str) -> bool:
            return filled.search_many(DOCUMENTS, k=3, using=using) == expected[using]

        with ThreadPoolExecutor(THREADS) as pool:
            assert all(pool.map(search, [*LEGS, "hybrid"] * 4))

    def test_many_threads_write_and_search_at_once(self, small: Collection) -> None:
        start = threading.Barrier(THREADS)

        def work(thread: int) -> None:
            start.wait()
            for turn in range(4):
                own = [f"{thread}/{turn}/{number}" for number in range(3)]
                small.add([f"{thread}번 창구 {turn} 공고 {number}" for number in range(3)], ids=own)
                small.delete([own[0]])
                assert [document.id for document in small.get(own)] == own[1:]
                for using in ("dense", "bm25"):  # another leg need not find a text by a part of it
                    hits = small.search(f"{thread}번 창구 {turn} 공고", k=100, using=using)
                    assert len(hits) == len(set(ids_of(hits)))
                    assert {own[1], own[2]} <= set(ids_of(hits))
                    assert own[0] not in ids_of(hits)

        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(work, thread) for thread in range(THREADS)]:
                done.result()
        assert len(small) == THREADS * 4 * 2
        expected = {f"{thread}/{turn}/{number}" for thread in range(THREADS) for turn in range(4) for number in (1, 2)}
        assert {document.id for document in small.get()} == expected

    def test_two_threads_that_add_the_same_id_leave_one_document(self, small: Collection) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda number: small.add([f"글 {number}"], ids=["같은 것"]), range(12)))
        assert len(small) == 1
        (document,) = small.get()
        (hit,) = small.search(document.text, using="dense")
        assert hit.text == document.text

    def test_a_closed_collection_raises(self, make: Make, encoders: Encoders) -> None:
        with make(encoders=[encoders["dense"]], bm25=True) as collection:
            collection.add(DOCUMENTS, ids=IDS)
            assert collection.search("보증금")
        calls: list[Callable[[], object]] = [
            lambda: collection.search("보증금"),
            lambda: collection.search_many(["보증금"]),
            lambda: collection.search_by_vector([1.0] * encoders["dense"].dim),
            lambda: collection.get(),
            lambda: collection.get(IDS[:1]),
            lambda: collection.add(["글"]),
            lambda: collection.add_stream([("가", "글")]),
            lambda: collection.delete(IDS[:1]),
            lambda: len(collection),
            lambda: collection.count({"x": 1}),
            lambda: collection.ids(),
            lambda: collection.update_metadata(IDS[:1], {"x": 1}),
            lambda: collection.keep_only([]),
        ]
        for call in calls:
            with pytest.raises(KoragError):
                call()
        collection.close()  # again: nothing happens
