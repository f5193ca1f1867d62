"""What every collection backend must do. A backend's tests derive from `CollectionContract` and say how to make one.

class TestMine(CollectionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make: ...
"""

from __future__ import annotations

import copy
import math
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentences import DOCUMENTS

from korag import Collection, DenseEncoder, KoragError, LateInteractionEncoder, SparseEncoder
from korag.errors import FilterError, ForeignFolderError, InvalidArgumentError, InvalidTextError

Make = Callable[..., Any]
"""``make(encoders=[...], bm25=...)`` returns a new, empty collection; keywords as for `Collection.in_memory`."""

LEGS = ("colbert", "sparse", "dense", "bm25")
IDS = [f"문서/{index}" for index in range(len(DOCUMENTS))]
METADATA: list[dict[str, Any]] = [
    {"번호": index, "짝수": index % 2 == 0, "출처": {"파일": f"{index}.pdf", "쪽": [1, 2.5, None]}}
    for index in range(len(DOCUMENTS))
]
NESTED_TOO_DEEP: Any = []
for _ in range(2_000):
    NESTED_TOO_DEEP = [NESTED_TOO_DEEP]
ITSELF: list[Any] = []
ITSELF.append(ITSELF)
BAD_METADATA = {
    "date": {"날짜": copy.copy},
    "tuple": {"쪽": (1, 2)},
    "bytes": {"b": b"x"},
    "nan": {"x": math.nan},
    "infinite": {"x": [math.inf]},
    "key": {1: "x"},
    "inner key": {"a": {None: 1}},
    "NUL": {"x": "a\0b"},
    "surrogate": {"x": {"y": ["\ud83d"]}},
    "surrogate key": {"\udc00": 1},
    "deep": {"x": NESTED_TOO_DEEP},
    "circular": {"x": ITSELF},
    "integer beyond any float": {"x": 10**400},
    "integer beyond any digit limit": {"x": -(10**5_000)},
    "no dict": [("a", 1)],
    "None": None,
}


def state(collection: Any) -> list[Any]:
    """All a collection holds."""
    return list(collection.get())


def ids_of(hits: list[Any]) -> list[str]:
    return [hit.id for hit in hits]


class CollectionContract:
    """Derive from it and override `make`."""

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def filled(cls, make: Make, colbert: LateInteractionEncoder, splade: SparseEncoder, dense: DenseEncoder) -> Any:
        """Every leg, `DOCUMENTS`, `IDS` and `METADATA`; for reading only."""
        collection = make(encoders=[colbert, splade, dense], bm25=True)
        assert collection.add(DOCUMENTS, ids=IDS, metadata=METADATA) == IDS
        return collection

    @pytest.fixture
    def small(self, make: Make, dense: DenseEncoder) -> Any:
        """An empty collection to write to: one encoder, and BM25."""
        return make(encoders=[dense], bm25=True)

    # -- documents ----------------------------------------------------------------------------------------

    def test_documents_are_kept_as_given_and_in_order(self, filled: Any) -> None:
        assert len(filled) == len(DOCUMENTS)
        stored = filled.get()
        assert [document.id for document in stored] == IDS
        assert [document.text for document in stored] == DOCUMENTS
        assert [document.metadata for document in stored] == METADATA

    def test_get_by_id_keeps_the_order_asked_for_and_passes_over_unknown(self, filled: Any) -> None:
        assert [d.id for d in filled.get([IDS[5], "없는 것", IDS[0]])] == [IDS[5], IDS[0]]
        assert filled.get([]) == []

    def test_get_by_filter(self, filled: Any) -> None:
        assert [d.id for d in filled.get(where={"짝수": True})] == IDS[::2]
        assert [d.id for d in filled.get(IDS[:3], where={"짝수": True})] == [IDS[0], IDS[2]]
        assert [d.id for d in filled.get(where={"출처.파일": "3.pdf"})] == [IDS[3]]

    def test_what_get_returns_is_a_copy(self, filled: Any) -> None:
        first, again = filled.get([IDS[0], IDS[0]])
        first.metadata["출처"]["파일"] = "고침"
        assert again.metadata == METADATA[0]
        assert filled.get([IDS[0]])[0].metadata == METADATA[0]

    def test_made_up_ids_are_new_and_different(self, small: Any) -> None:
        ids = small.add(["같은 글", "같은 글"]) + small.add(["같은 글"])
        assert len(set(ids)) == len(small) == 3
        assert [document.id for document in small.get()] == ids

    def test_adding_a_known_id_replaces_it(self, small: Any) -> None:
        small.add(["옛날 임대차 계약", "시립 도서관"], ids=["가", "나"], metadata=[{"판": 1}, {"판": 1}])
        small.add(["새로운 환불 규정"], ids=["가"], metadata=[{"판": 2}])
        assert len(small) == 2
        (document,) = small.get(["가"])
        assert (document.text, document.metadata) == ("새로운 환불 규정", {"판": 2})
        assert [d.id for d in small.get()] == ["나", "가"]  # replaced counts as newly inserted
        assert small.search("임대차 계약", using="bm25") == []
        assert ids_of(small.search("환불 규정", using="bm25")) == ["가"]
        assert sorted(ids_of(small.search("환불", using="dense"))) == ["가", "나"]
        assert {hit.text for hit in small.search("환불", using="dense")} == {"새로운 환불 규정", "시립 도서관"}

    def test_deleted_documents_are_found_by_no_leg(self, small: Any) -> None:
        small.add(DOCUMENTS, ids=IDS, metadata=METADATA)
        assert small.delete([IDS[0], "없는 것"]) == 1
        assert small.delete([IDS[0]]) == 0
        assert small.delete(where={"번호": {"$gte": 6}}) == 2
        assert small.delete([IDS[1], IDS[2]], where={"짝수": True}) == 1
        assert [document.id for document in small.get()] == [IDS[1], IDS[3], IDS[4], IDS[5]]
        for using in small.legs:
            hits = [id_ for document in DOCUMENTS for id_ in ids_of(small.search(document, using=using))]
            assert set(hits) == {IDS[1], IDS[3], IDS[4], IDS[5]}
        assert small.delete(where={}) == 4
        assert len(small) == 0
        assert all(small.search(DOCUMENTS[0], using=using) == [] for using in (*small.legs, "hybrid"))

    def test_delete_needs_to_be_told_what(self, small: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="where=\\{\\}"):
            small.delete()
        assert small.delete([]) == 0

    def test_a_deleted_id_can_be_added_again(self, small: Any) -> None:
        small.add(["김치찌개"], ids=["가"])
        small.delete(["가"])
        small.add(["된장찌개"], ids=["가"])
        assert [hit.text for hit in small.search("찌개", using="bm25")] == ["된장찌개"]

    def test_inputs_are_never_changed(self, small: Any) -> None:
        texts, ids, metadata = list(DOCUMENTS), list(IDS), copy.deepcopy(METADATA)
        where = {"$or": [{"번호": {"$in": [0, 1]}}, {"짝수": True}]}
        weights = {"dense": 2.0}
        before = copy.deepcopy((texts, ids, metadata, where, weights))
        small.add(texts, ids=ids, metadata=metadata)
        small.search("보증금", using="hybrid", where=where, weights=weights)
        small.get(ids, where=where)
        small.delete(ids, where=where)
        assert (texts, ids, metadata, where, weights) == before

    def test_metadata_is_copied_when_added(self, small: Any) -> None:
        metadata = [copy.deepcopy(METADATA[0])]
        small.add(["글"], ids=["가"], metadata=metadata)
        metadata[0]["출처"]["쪽"].append("나중에")
        assert small.get(["가"])[0].metadata == METADATA[0]

    def test_iterables_are_read_once(self, small: Any) -> None:
        assert small.add((text for text in DOCUMENTS[:2]), ids=iter(IDS[:2])) == IDS[:2]
        assert len(small.search_many(text for text in DOCUMENTS[:2])) == 2

    def test_adding_nothing_is_nothing(self, small: Any) -> None:
        assert small.add([]) == []
        assert len(small) == 0

    def test_characters_of_all_kinds_come_back(self, small: Any) -> None:
        jamo = unicodedata.normalize("NFD", "한글")
        texts = ["nul\0 안", "줄\r\n끝\u2028", "이모지 👨‍👩‍👧‍👦 𠮷", jamo, " 앞뒤 ", '"\\/']
        ids = ["줄\n바꿈", "🎉", "'; DROP TABLE documents; --", unicodedata.normalize("NFD", "가"), "가", " "]
        metadata = [{text.replace("\0", ""): [id_]} for text, id_ in zip(texts, ids, strict=True)]
        small.add(texts, ids=ids, metadata=metadata)
        assert [(d.text, d.id, d.metadata) for d in small.get(ids)] == list(zip(texts, ids, metadata, strict=True))
        assert small.delete(ids) == len(ids)

    # -- searching ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("using", [*LEGS, "hybrid", None])
    def test_every_leg_finds_a_document_by_its_own_text(self, filled: Any, using: str | None) -> None:
        for index, hits in enumerate(filled.search_many(DOCUMENTS, k=3, using=using)):
            assert (hits[0].id, hits[0].text, hits[0].metadata) == (IDS[index], DOCUMENTS[index], METADATA[index])

    @pytest.mark.parametrize("using", LEGS)
    def test_one_leg_reports_its_ranks_and_scores(self, filled: Any, using: str) -> None:
        hits = filled.search(DOCUMENTS[0], using=using)
        assert [dict(hit.legs) for hit in hits] == [{using: (rank, hit.score)} for rank, hit in enumerate(hits, 1)]
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(isinstance(score, float) and math.isfinite(score) for score in scores)

    def test_hybrid_is_the_reciprocal_rank_fusion_of_the_legs(self, filled: Any) -> None:
        query = "보증금을 돌려받는 법"
        alone = {leg: filled.search(query, k=100, using=leg) for leg in LEGS}
        hits = filled.search(query, k=100, using="hybrid")
        assert {hit.id for hit in hits} == {hit.id for run in alone.values() for hit in run}
        for hit in hits:
            legs = {leg: found.legs[leg] for leg, run in alone.items() for found in run if found.id == hit.id}
            assert dict(hit.legs) == {leg: (rank, pytest.approx(score)) for leg, (rank, score) in legs.items()}
            assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank, _ in legs.values()), abs=1e-12)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_weights_and_the_other_fusion(self, filled: Any) -> None:
        query = "환불 신청"
        only = dict.fromkeys(LEGS, 0.0) | {"bm25": 1.0}
        bm25 = ids_of(filled.search(query, using="bm25"))
        for fusion in ("rrf", "weighted"):
            hits = filled.search(query, using="hybrid", fusion=fusion, weights=only)
            assert ids_of(hits)[0] == bm25[0]
        doubled = filled.search(query, using="hybrid", weights=dict.fromkeys(LEGS, 2.0))
        for hit, plain in zip(doubled, filled.search(query, using="hybrid"), strict=True):
            assert (hit.id, hit.score) == (plain.id, pytest.approx(2 * plain.score))
        top = filled.search(DOCUMENTS[2], using="hybrid", fusion="weighted")[0]
        assert (top.id, top.score) == (IDS[2], pytest.approx(len(LEGS)))  # the best of every leg

    def test_fetch_k_limits_what_each_leg_gives(self, filled: Any) -> None:
        hits = filled.search("규정", k=2, using="hybrid", fetch_k=2)
        assert len(hits) == 2
        assert all(rank <= 2 for hit in filled.search("규정", k=2, fetch_k=1) for rank, _ in hit.legs.values())

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_filters_come_before_the_best_k(self, filled: Any, using: str) -> None:
        query = " ".join(DOCUMENTS[:3])  # shares terms with documents 0, 1, 2
        best = ids_of(filled.search(query, k=3, using=using))
        others = {"번호": {"$nin": [IDS.index(id_) for id_ in best]}}
        hits = filled.search(query, k=3, using=using, where=others)
        everything = [id_ for id_ in ids_of(filled.search(query, k=100, using=using)) if id_ not in best]
        assert ids_of(hits) == everything[:3]
        if using != "hybrid":
            assert [hit.legs[using][0] for hit in hits] == [1, 2, 3]  # ranks among those the filter lets through
        assert filled.search(query, using=using, where={"번호": -1}) == []
        assert ids_of(filled.search(query, using=using, where={})) == ids_of(filled.search(query, using=using))

    @pytest.mark.parametrize("using", ["dense", "bm25"])
    def test_k_results_although_the_best_k_are_all_filtered_out(self, small: Any, using: str) -> None:
        small.add(["환불 규정"] * 30, metadata=[{"비밀": True}] * 30)
        open_ = small.add([f"환불 규정 {topic}" for topic in ("도서관", "김치찌개", "연차 휴가")], metadata=[{}] * 3)
        assert not set(ids_of(small.search("환불 규정", k=3, using=using))) & set(open_)
        hits = small.search("환불 규정", k=3, using=using, where={"비밀": {"$ne": True}})
        assert sorted(ids_of(hits)) == sorted(open_)

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_equal_documents_keep_their_insertion_order(
        self, make: Make, colbert: Any, splade: Any, dense: Any, using: str
    ) -> None:
        encoder = {"colbert": [colbert], "sparse": [splade], "dense": [dense], "bm25": []}.get(using, [dense])
        collection = make(encoders=encoder, bm25=using in ("bm25", "hybrid"))
        texts = [DOCUMENTS[index % 3] for index in range(21)]
        ids = collection.add(texts)
        hits = collection.search(DOCUMENTS[1], k=7, using=using)
        assert ids_of(hits) == ids[1::3]
        if using != "hybrid":
            assert len({hit.score for hit in hits}) == 1
        assert ids_of(collection.search(DOCUMENTS[1], k=3, using=using)) == ids[1::3][:3]
        collection.add([texts[1]], ids=[ids[1]])  # as newly inserted: now the last of its equals
        assert ids_of(collection.search(DOCUMENTS[1], k=7, using=using, where={})) == [*ids[4::3], ids[1]]

    def test_k(self, filled: Any) -> None:
        for using in (*LEGS, "hybrid"):
            assert filled.search("보증금", k=0, using=using) == []
            everything = ids_of(filled.search("보증금", k=10**6, using=using))
            assert len(everything) == len(set(everything)) <= len(DOCUMENTS)
            assert ids_of(filled.search("보증금", k=1, using=using)) == everything[:1]
        assert len(filled.search("보증금", k=10**6, using="dense")) == len(DOCUMENTS)
        assert len(filled.search("보증금", k=10**6, using="colbert")) == len(DOCUMENTS)

    def test_word_legs_find_only_documents_that_share_a_word(self, filled: Any) -> None:
        assert ids_of(filled.search("묵은지", using="bm25")) == [IDS[2]]
        assert filled.search("쾳쾳쾳", using="bm25") == []
        assert {hit.id for hit in filled.search("제6조의2", using="bm25")} == {IDS[6]}

    def test_an_empty_collection_finds_nothing(self, make: Make, colbert: Any, splade: Any, dense: Any) -> None:
        collection = make(encoders=[colbert, splade, dense], bm25=True)
        assert len(collection) == 0
        assert collection.get() == []
        for using in (*LEGS, "hybrid", None):
            assert collection.search("보증금", using=using) == []
        assert collection.search("보증금", where={"번호": 1}) == []
        assert collection.search_many([]) == []
        assert collection.delete(["없는 것"]) == 0

    def test_empty_documents_are_kept_and_never_found(self, small: Any) -> None:
        empty = ["", "   ", "\n\t\u3000\u200b", "\0"]
        ids = small.add([empty[0], DOCUMENTS[0], *empty[1:]], ids=["a", "b", "c", "d", "e"])
        assert [document.text for document in small.get(ids)] == [empty[0], DOCUMENTS[0], *empty[1:]]
        assert len(small) == 5
        for using in (*small.legs, "hybrid"):
            assert ids_of(small.search(DOCUMENTS[0], using=using)) == ["b"]
            assert ids_of(small.search(DOCUMENTS[0], using=using, where={"없음": None})) == ["b"]
        small.add(empty[:2], ids=["x", "b"])  # only empty ones, one of which replaces a filled one
        assert all(small.search(DOCUMENTS[0], using=using) == [] for using in (*small.legs, "hybrid"))
        assert small.delete(["a", "x"]) == 2

    def test_an_empty_document_is_not_even_tokenized(self, make: Make) -> None:
        collection = make(encoders=[], bm25=True, tokenizer=ends_with_a_mark)
        collection.add(["", "도서관", " "], ids=["a", "b", "c"])
        assert ids_of(collection.search("보증금", using="bm25")) == ["b"]

    @pytest.mark.parametrize("query", ["", " ", "\u3000\n", "\u200b", "\0"])
    def test_an_empty_query_finds_nothing(self, filled: Any, query: str) -> None:
        assert all(filled.search(query, using=using) == [] for using in (*LEGS, "hybrid", None))
        assert filled.search_many([query, query]) == [[], []]

    @pytest.mark.parametrize("stored", ["NFC", "NFD"])
    @pytest.mark.parametrize("asked", ["NFC", "NFD"])
    def test_unicode_forms_find_the_same(
        self, make: Make, colbert: Any, splade: Any, filled: Any, stored: Any, asked: Any
    ) -> None:
        collection = make(encoders=[colbert, splade], bm25=True)
        texts = [unicodedata.normalize(stored, text) for text in DOCUMENTS]
        collection.add(texts, ids=IDS)
        for using in collection.legs:
            query = "보증금 돌려받기"
            expected = filled.search(query, k=5, using=using)
            hits = collection.search(unicodedata.normalize(asked, query), k=5, using=using)
            assert ids_of(hits) == ids_of(expected)
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], rel=1e-5)
            assert [hit.text for hit in hits] == [texts[IDS.index(hit.id)] for hit in hits]

    def test_many_queries_are_many_searches(self, filled: Any) -> None:
        queries = ["보증금", "", DOCUMENTS[5], "도서관 휴관일"]
        for using in (*LEGS, "hybrid"):
            many = filled.search_many(queries, k=4, using=using, where={"번호": {"$lt": 6}})
            alone = [filled.search(query, k=4, using=using, where={"번호": {"$lt": 6}}) for query in queries]
            assert len(many) == len(queries)
            for hits, expected in zip(many, alone, strict=True):
                assert ids_of(hits) == ids_of(expected)
                assert [h.score for h in hits] == pytest.approx([h.score for h in expected], rel=1e-5)
                assert [h.legs.keys() for h in hits] == [h.legs.keys() for h in expected]

    def test_hits_are_copies(self, filled: Any) -> None:
        first, again = filled.search_many(["보증금", "보증금"], k=1)
        first[0].metadata["출처"]["파일"] = "고침"
        first[0].metadata.clear()
        assert again[0].metadata == METADATA[IDS.index(again[0].id)]
        assert filled.search("보증금", k=1)[0].metadata == METADATA[IDS.index(again[0].id)]

    def test_a_collection_names_its_legs(self, filled: Any, small: Any) -> None:
        assert sorted(filled.legs) == sorted(LEGS)
        assert sorted(small.legs) == ["bm25", "dense"]
        assert str(len(filled)) in repr(filled)

    def test_one_leg_alone_is_what_is_searched_by_default(self, make: Make) -> None:
        collection = make(encoders=[], bm25=True)
        collection.add(["도서관"], ids=["가"])
        (hit,) = collection.search("도서관")
        assert list(hit.legs) == ["bm25"]

    def test_a_document_of_a_megabyte(self, make: Make) -> None:
        collection = make(encoders=[], bm25=True)  # encoders cut it, which costs seconds and shows nothing
        text = "도서관은 월요일에 쉰다. " * 45_000 + "특이한낱말"
        assert len(text.encode()) > 1_000_000
        collection.add([text, "환불"], ids=["긴", "짧은"])
        assert collection.get(["긴"])[0].text == text
        assert ids_of(collection.search("특이한낱말", using="bm25")) == ["긴"]
        assert collection.search(text, k=1)[0].id == "긴"

    # -- mistakes -----------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("texts", "arguments", "place"),
        [
            ("한 문자열", {}, "texts"),
            (None, {}, "texts"),
            (["가", None], {}, r"texts\[1\]"),
            (["가", b"x"], {}, r"texts\[1\]"),
            (["가", "\ud83d"], {}, r"texts\[1\]"),
            (["가", "나"], {"ids": "가나"}, "ids"),
            (["가", "나"], {"ids": ["a", 2]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", ""]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", "b\0"]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", "\udc00"]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", "a"]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a"]}, "ids"),
            (["가", "나"], {"ids": ["a", "b", "c"]}, "ids"),
            (["가", "나"], {"metadata": [{}]}, "metadata"),
            (["가", "나"], {"metadata": {"a": 1, "b": 2}}, "metadata"),
            (["가", "나"], {"metadata": 5}, "metadata"),
        ],
    )
    def test_bad_documents_change_nothing(self, small: Any, texts: Any, arguments: dict[str, Any], place: str) -> None:
        small.add(["있던 것"], ids=["a"])
        before = state(small)
        with pytest.raises(KoragError, match=place):
            small.add(texts, **arguments)
        assert state(small) == before

    @pytest.mark.parametrize("fields", BAD_METADATA.values(), ids=BAD_METADATA)
    def test_bad_metadata_changes_nothing(self, small: Any, fields: Any) -> None:
        small.add(["있던 것"], ids=["a"])
        before = state(small)
        with pytest.raises(InvalidArgumentError, match=r"metadata\[1\]") as caught:
            small.add(["새것", "가"], ids=["a", "b"], metadata=[{}, fields])
        assert len(str(caught.value)) < 1_500
        assert state(small) == before

    def test_good_metadata_of_all_kinds(self, small: Any) -> None:
        fields = {
            "": "빈 이름", "a.b": [], "$x": {}, "큰 수": 2**80, "작은 수": -(2**70), "실수": 1e308, "참": True,
            "없음": None, "깊이": [[[[{"a": [1]}]]]], "가": "\u2028\n",
        }  # fmt: skip
        small.add(["글"], ids=["a"], metadata=[fields])
        assert small.get(["a"])[0].metadata == fields

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"query": None}, InvalidTextError),
            ({"query": ["보증금"]}, InvalidTextError),
            ({"query": "\ud83d"}, InvalidTextError),
            ({"k": -1}, InvalidArgumentError),
            ({"k": 1.5}, InvalidArgumentError),
            ({"k": True}, InvalidArgumentError),
            ({"k": None}, InvalidArgumentError),
            ({"fetch_k": -5}, InvalidArgumentError),
            ({"fetch_k": "10"}, InvalidArgumentError),
            ({"using": "bm52"}, InvalidArgumentError),
            ({"using": ["bm25"]}, InvalidArgumentError),
            ({"fusion": "RRF"}, InvalidArgumentError),
            ({"weights": {"dense": -1.0}}, InvalidArgumentError),
            ({"weights": {"dense": math.nan}}, InvalidArgumentError),
            ({"weights": {"dense": math.inf}}, InvalidArgumentError),
            ({"weights": {"dense": "1"}}, InvalidArgumentError),
            ({"weights": {"colbret": 1.0}}, InvalidArgumentError),
            ({"weights": [0.5, 0.5]}, InvalidArgumentError),
            ({"using": "bm25", "weights": {"dense": 1.0}}, InvalidArgumentError),
            ({"where": {"a": {"$regex": "x"}}}, FilterError),
            ({"where": {"$nor": []}}, FilterError),
            ({"where": []}, FilterError),
            ({"where": "a = 1"}, FilterError),
            ({"where": ""}, FilterError),
        ],
    )
    def test_bad_searches_are_errors_before_any_work(
        self, make: Make, dense: Any, monkeypatch: Any, arguments: dict[str, Any], error: type[Exception]
    ) -> None:
        collection, arguments = make(encoders=[dense], bm25=True), dict(arguments)
        monkeypatch.setattr(type(dense), "encode_queries", lambda *_, **__: pytest.fail("encoded a query"))
        with pytest.raises(error):
            collection.search(**({"query": "보증금"} | arguments))
        queries = [arguments.pop("query", "보증금")]
        with pytest.raises(error):
            collection.search_many(queries, **arguments)

    def test_bad_filters_delete_and_get_nothing(self, small: Any) -> None:
        small.add(["가"], ids=["a"], metadata=[{"n": 1}])
        for where in ([], "", {"n": {"$gtt": 1}}, {"$and": []}):
            with pytest.raises(FilterError):
                small.delete(where=where)
            with pytest.raises(FilterError):
                small.get(where=where)
        for ids in ("a", [None], [""], 5):
            with pytest.raises(KoragError):
                small.delete(ids)
            with pytest.raises(KoragError):
                small.get(ids)
        assert len(small) == 1

    def test_a_new_collection_needs_something_to_search_by(self, make: Make, dense: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="bm25=True"):
            make(encoders=[])
        with pytest.raises(InvalidArgumentError, match="add bm25=True"):
            make(encoders=[dense], tokenizer=str.split)
        with pytest.raises(InvalidArgumentError, match="dense"):
            make(encoders=[dense, dense])
        with pytest.raises(InvalidArgumentError, match="encoders="):
            make(encoders="mini-dense")

    def test_an_encoder_that_fails_loses_nothing(self, small: Any, dense: Any, monkeypatch: Any) -> None:
        small.add(["있던 것"], ids=["a"])
        before = state(small)
        with monkeypatch.context() as patch:
            patch.setattr(type(dense), "encode_documents", failing)
            with pytest.raises(RuntimeError, match="GPU"):
                small.add(["새것"], ids=["a"])
        assert state(small) == before
        small.add(["새것"], ids=["a"])
        assert [hit.text for hit in small.search("새것")] == ["새것"]

    # -- relevance ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_relevance_is_between_0_and_1_and_falls_with_the_score(self, filled: Any, using: str) -> None:
        for query in (DOCUMENTS[2], "보증금은 언제 돌려받나요?", "제6조의2"):
            relevances = [hit.relevance for hit in filled.search(query, using=using)]
            assert all(0 <= relevance <= 1 for relevance in relevances)
            assert relevances == sorted(relevances, reverse=True)

    def test_relevance_of_each_leg(self, filled: Any, dense: DenseEncoder, colbert: LateInteractionEncoder) -> None:
        query = "보증금은 언제 돌려받나요?"
        first = filled.search(query, using="dense", k=1)[0]
        assert first.relevance == pytest.approx(first.score, abs=1e-6)
        first = filled.search(query, using="colbert", k=1)[0]
        assert first.relevance == pytest.approx(first.score / len(colbert.encode_queries([query])[0]), abs=1e-6)
        first = filled.search(query, using="hybrid", k=1)[0]
        assert first.relevance == pytest.approx(first.score / (4 / 61), abs=1e-6)
        weighted = filled.search(query, using="hybrid", k=1, fusion="weighted", weights={"dense": 3, "bm25": 0})[0]
        assert weighted.relevance == pytest.approx(weighted.score / 5, abs=1e-6)

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_min_relevance_leaves_out_what_is_below(self, filled: Any, using: str) -> None:
        query = "보증금은 언제 돌려받나요?"
        hits = filled.search(query, using=using)
        assert len(hits) > 1
        least = hits[1].relevance
        assert filled.search(query, using=using, min_relevance=least) == [h for h in hits if h.relevance >= least]
        assert len(filled.search(query, using=using, min_relevance=least)) < len(hits) or hits[-1].relevance == least

    @pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, "0.5", True, [0.5]])
    def test_min_relevance_out_of_range(self, filled: Any, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="min_relevance"):
            filled.search("질의", min_relevance=value)

    # -- by vector, and results that differ ---------------------------------------------------------------

    def test_search_by_vector_is_the_dense_search(self, filled: Any, dense: DenseEncoder) -> None:
        query = "보증금은 언제 돌려받나요?"
        vector = dense.encode_queries([query])[0]
        expected = filled.search(query, using="dense", k=3, where={"짝수": True})
        for given in (vector, (vector * 7).tolist()):  # cosine: the length does not matter
            found = filled.search_by_vector(given, k=3, where={"짝수": True})
            assert ids_of(found) == ids_of(expected)
            assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-6)
        assert filled.search_by_vector(vector, k=0) == []
        assert filled.search_by_vector(vector, min_relevance=expected[0].relevance - 1e-4)[0].id == expected[0].id

    @pytest.mark.parametrize("vector", [[], [1.0], [[0.0] * 192], ["가"] * 192, [math.nan] * 192])
    def test_a_vector_of_another_model(self, filled: Any, vector: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            filled.search_by_vector(vector)

    def test_no_vector_search_without_a_dense_leg(self, make: Make) -> None:
        with pytest.raises(InvalidArgumentError, match="dense"):
            make(bm25=True).search_by_vector([0.0])

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_diversify_passes_over_copies(
        self, make: Make, colbert: LateInteractionEncoder, splade: SparseEncoder, dense: DenseEncoder, using: str
    ) -> None:
        collection = make(encoders=[colbert, splade, dense], bm25=True)
        same = "보증금은 계약이 끝나면 돌려받는다."
        collection.add([same, same, same, "보증금을 낸 날부터 이자가 붙는다."], ids=["a", "b", "c", "d"])
        hits = collection.search("보증금은 언제 돌려받나요?", using=using, k=4)
        assert sorted(ids_of(hits)) == ["a", "b", "c", "d"]
        chosen = collection.diversify(hits, k=2, using=using)
        assert [hit.text for hit in chosen] == [hits[0].text, next(h.text for h in hits if h.text != hits[0].text)]
        assert collection.diversify(hits, k=4, lambda_mult=1.0, using=using) == hits
        assert collection.diversify([], k=4, using=using) == []
        assert collection.diversify(hits, k=0, using=using) == []
        collection.delete(["d"])
        assert "d" not in ids_of(collection.diversify(hits, k=4, using=using))

    @pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.5", None, True])
    def test_lambda_out_of_range(self, filled: Any, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="lambda_mult"):
            filled.diversify(filled.search("보증금"), lambda_mult=value)

    # -- copies -------------------------------------------------------------------------------------------

    def test_a_saved_copy_is_the_same_collection(self, filled: Any, tmp_path: Path) -> None:
        folder = filled.save(tmp_path / "깊은 곳" / "사본")
        with Collection.open(folder) as copied:
            assert state(copied) == state(filled)
            for using in (*LEGS, "hybrid"):
                query = "보증금은 언제 돌려받나요?"
                assert copied.search(query, using=using) == filled.search(query, using=using)
            copied.add(["더한 문서"], ids=["새"])
            assert len(copied) == len(filled) + 1
        assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]

    def test_a_copy_of_a_changed_collection(self, small: Any, tmp_path: Path) -> None:
        small.add(DOCUMENTS, ids=IDS)
        small.delete(IDS[:3])
        small.add(["바뀐 문서"], ids=[IDS[4]])
        with Collection.open(small.save(tmp_path / "사본")) as copied:
            assert state(copied) == state(small)
            assert copied.search("바뀐 문서") == small.search("바뀐 문서")

    def test_saving_over_a_collection_takes_a_word(self, small: Any, tmp_path: Path) -> None:
        small.add(["첫째"], ids=["1"])
        folder = small.save(tmp_path / "사본")
        small.add(["둘째"], ids=["2"])
        with pytest.raises(InvalidArgumentError, match="overwrite=True"):
            small.save(folder)
        with Collection.open(folder) as copied:
            assert len(copied) == 1
        assert small.save(folder, overwrite=True) == folder
        with Collection.open(folder) as copied:
            assert state(copied) == state(small)
        assert [path.name for path in tmp_path.iterdir()] == ["사본"]

    def test_saving_never_replaces_anything_else(self, small: Any, tmp_path: Path) -> None:
        (tmp_path / "일기.txt").write_text("내 것", encoding="utf-8")
        for target in (tmp_path, tmp_path / "일기.txt"):
            with pytest.raises(ForeignFolderError):
                small.save(target, overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["일기.txt"]

    def test_an_empty_folder_is_free(self, small: Any, tmp_path: Path) -> None:
        small.add(["하나"])
        with Collection.open(small.save(tmp_path)) as copied:
            assert len(copied) == 1


def failing(*_: object, **__: object) -> Any:
    raise RuntimeError("GPU")


def ends_with_a_mark(text: str) -> list[str]:
    """A tokenizer that gives every text a token, even an empty one."""
    return [*text.split(), "<끝>"]
