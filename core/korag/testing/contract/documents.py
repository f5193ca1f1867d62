"""Adding, reading, replacing and deleting documents."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
import pytest

from korag.breadcrumbs import BREADCRUMB
from korag.collection.base import Collection
from korag.errors import InvalidArgumentError, KoragError
from korag.testing.contract.fixtures import ContractFixtures, Encoders, Make
from korag.testing.contract.samples import DOCUMENTS, IDS, METADATA, ids_of

Form: TypeAlias = Literal["NFC", "NFD"]
FORMS = [
    "보고서/각서.pdf",
    unicodedata.normalize("NFD", "보고서/각서.pdf"),
    "보고서/" + unicodedata.normalize("NFD", "각서.pdf"),
]
"""A file's name from a PC, from a Mac, and from a Mac in a folder named otherwise."""


class DocumentTests(ContractFixtures):
    """Adding, replacing, deleting and reading documents."""

    def test_documents_are_kept_as_given_and_in_order(self, filled: Collection) -> None:
        assert len(filled) == len(DOCUMENTS)
        stored = filled.get()
        assert [document.id for document in stored] == IDS
        assert [document.text for document in stored] == DOCUMENTS
        assert [document.metadata for document in stored] == METADATA

    def test_get_by_id_keeps_the_order_given_and_ignores_unknown(self, filled: Collection) -> None:
        assert [d.id for d in filled.get([IDS[5], "없는 것", IDS[0]])] == [IDS[5], IDS[0]]
        assert filled.get([]) == []

    def test_get_by_filter(self, filled: Collection) -> None:
        assert [d.id for d in filled.get(where={"짝수": True})] == IDS[::2]
        assert [d.id for d in filled.get(IDS[:3], where={"짝수": True})] == [IDS[0], IDS[2]]
        assert [d.id for d in filled.get(where={"출처.파일": "3.pdf"})] == [IDS[3]]

    def test_what_get_returns_is_a_copy(self, filled: Collection) -> None:
        first, again = filled.get([IDS[0], IDS[0]])
        first.metadata["출처"]["파일"] = "고침"
        assert again.metadata == METADATA[0]
        assert filled.get([IDS[0]])[0].metadata == METADATA[0]

    def test_generated_ids_are_new_and_different(self, small: Collection) -> None:
        ids = small.add(["같은 글", "같은 글"]) + small.add(["같은 글"])
        assert len(set(ids)) == len(small) == 3
        assert [document.id for document in small.get()] == ids

    def test_adding_a_known_id_replaces_it(self, small: Collection) -> None:
        small.add(["옛날 임대차 계약", "시립 도서관"], ids=["가", "나"], metadata=[{"판": 1}, {"판": 1}])
        small.add(["새로운 환불 규정"], ids=["가"], metadata=[{"판": 2}])
        assert len(small) == 2
        (document,) = small.get(["가"])
        assert (document.text, document.metadata) == ("새로운 환불 규정", {"판": 2})
        assert [d.id for d in small.get()] == ["나", "가"]  # with another text, it counts as newly inserted
        assert small.search("임대차 계약", using="bm25") == []
        assert ids_of(small.search("환불 규정", using="bm25")) == ["가"]
        assert sorted(ids_of(small.search("환불", using="dense"))) == ["가", "나"]
        assert {hit.text for hit in small.search("환불", using="dense")} == {"새로운 환불 규정", "시립 도서관"}

    @pytest.mark.parametrize("using", ["bm25", "dense"])
    def test_a_breadcrumb_is_searched_and_not_returned(self, small: Collection, using: str) -> None:
        under = {BREADCRUMB: "주택 임대차 > 보증금"}
        small.add(["이 기간은 두 해로 본다.", "이 기간은 사흘로 본다."], ids=["가", "나"], metadata=[under, {}])
        hit = small.search("임대차 보증금", using=using)[0]
        assert (hit.id, hit.text, hit.passage, hit.metadata) == ("가", "이 기간은 두 해로 본다.", hit.text, under)
        assert small.get(["가"])[0].text == hit.text

    def test_another_breadcrumb_is_another_text(self, small: Collection) -> None:
        small.add(["이 기간은 사흘로 본다."], ids=["가"], metadata=[{BREADCRUMB: "주택 임대차"}])
        small.add(["이 기간은 사흘로 본다."], ids=["가"], metadata=[{BREADCRUMB: "도서관 휴관"}])
        assert small.search("임대차", using="bm25") == []
        assert ids_of(small.search("휴관", using="bm25")) == ["가"]
        with pytest.raises(InvalidArgumentError, match="searched with its text"):
            small.update_metadata(["가"], {BREADCRUMB: "환불"})
        with pytest.raises(InvalidArgumentError, match="one line"):
            small.add(["글"], metadata=[{BREADCRUMB: ["환불"]}])
        small.update_metadata(["가"], {"판": 2})
        assert ids_of(small.search("휴관", using="bm25")) == ["가"]

    @pytest.mark.parametrize("stored", FORMS)
    @pytest.mark.parametrize("asked", FORMS)
    def test_ids_are_the_same_in_every_unicode_form(self, small: Collection, stored: str, asked: str) -> None:
        small.add(["옛 계약", "도서관"], ids=[stored, "나"])
        assert [document.id for document in small.get([asked])] == [stored]
        small.add(["새 계약"], ids=[asked])
        assert [(document.id, document.text) for document in small.get([stored])] == [(asked, "새 계약")]
        assert [hit.id for hit in small.search("계약", using="bm25")] == [asked]
        assert small.add_stream([(stored, "새 계약")]) == 0
        with pytest.raises(InvalidArgumentError):
            small.add(["하나", "둘"], ids=[unicodedata.normalize("NFC", stored), unicodedata.normalize("NFD", asked)])
        assert small.delete([stored]) == 1
        assert [document.id for document in small.get()] == ["나"]

    @pytest.mark.parametrize("stored", ["NFC", "NFD"])
    @pytest.mark.parametrize("asked", ["NFC", "NFD"])
    def test_filters_find_every_unicode_form(self, small: Collection, stored: Form, asked: Form) -> None:
        name, value = (unicodedata.normalize(stored, text) for text in ("부서", "법무팀"))
        small.add(["보증금 반환", "도서관"], ids=["가", "나"], metadata=[{name: value, "상위": {name: [value]}}, {}])
        name, value, part = (unicodedata.normalize(asked, text) for text in ("부서", "법무팀", "무팀"))
        wheres: list[dict[str, Any]] = [
            {name: value}, {name: {"$in": [value]}}, {name: {"$gte": value}}, {name: {"$exists": True}},
            {name: {"$contains": part}}, {name: {"$icontains": part}},
            {unicodedata.normalize(asked, "상위.부서"): {"$contains": value}},
        ]  # fmt: skip
        for where in wheres:
            assert [document.id for document in small.get(where=where)] == ["가"]
            assert [hit.id for hit in small.search("보증금", where=where, using="bm25")] == ["가"]
        assert small.get(where={name: {"$contains": unicodedata.normalize(asked, "버")}}) == []
        assert small.get()[0].metadata.keys() == {unicodedata.normalize(stored, "부서"), "상위"}

    def test_deleted_documents_are_found_by_no_leg(self, small: Collection) -> None:
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

    def test_a_deleted_id_can_be_added_again(self, small: Collection) -> None:
        small.add(["김치찌개"], ids=["가"])
        small.delete(["가"])
        small.add(["된장찌개"], ids=["가"])
        assert [hit.text for hit in small.search("찌개", using="bm25")] == ["된장찌개"]

    def test_inputs_are_never_changed(self, small: Collection) -> None:
        texts, ids, metadata = list(DOCUMENTS), list(IDS), copy.deepcopy(METADATA)
        where = {"$or": [{"번호": {"$in": [0, 1]}}, {"짝수": True}]}
        weights = {"dense": 2.0}
        before = copy.deepcopy((texts, ids, metadata, where, weights))
        small.add(texts, ids=ids, metadata=metadata)
        small.search("보증금", using="hybrid", where=where, weights=weights)
        small.get(ids, where=where)
        small.delete(ids, where=where)
        assert (texts, ids, metadata, where, weights) == before

    def test_metadata_is_copied_when_added(self, small: Collection) -> None:
        metadata = [copy.deepcopy(METADATA[0])]
        small.add(["글"], ids=["가"], metadata=metadata)
        metadata[0]["출처"]["쪽"].append("나중에")
        assert small.get(["가"])[0].metadata == METADATA[0]

    def test_iterables_are_read_once(self, small: Collection) -> None:
        ids: Any = iter(IDS[:2])
        assert small.add((text for text in DOCUMENTS[:2]), ids=ids) == IDS[:2]
        assert len(small.search_many(text for text in DOCUMENTS[:2])) == 2

    def test_adding_nothing_is_nothing(self, small: Collection) -> None:
        assert small.add([]) == []
        assert len(small) == 0

    def test_characters_of_all_kinds_come_back(self, small: Collection) -> None:
        jamo = unicodedata.normalize("NFD", "한글")
        texts = ["nul\0 안", "줄\r\n끝\u2028", "이모지 👨‍👩‍👧‍👦 𠮷", jamo, " 앞뒤 ", '"\\/']
        ids = ["줄\n바꿈", "🎉", "'; DROP TABLE documents; --", unicodedata.normalize("NFD", "가"), "나", " "]
        metadata = [{text.replace("\0", ""): [id_]} for text, id_ in zip(texts, ids, strict=True)]
        small.add(texts, ids=ids, metadata=metadata)
        assert [(d.text, d.id, d.metadata) for d in small.get(ids)] == list(zip(texts, ids, metadata, strict=True))
        assert small.delete(ids) == len(ids)

    def test_good_metadata_of_all_kinds(self, small: Collection) -> None:
        fields = {
            "": "빈 이름", "a.b": [], "$x": {}, "큰 수": 2**80, "작은 수": -(2**70), "실수": 1e308, "참": True,
            "없음": None, "깊이": [[[[{"a": [1]}]]]], "가": "\u2028\n",
        }  # fmt: skip
        small.add(["글"], ids=["a"], metadata=[fields])
        assert small.get(["a"])[0].metadata == fields

    def test_scalars_of_numpy_are_stored_as_numbers(self, small: Collection) -> None:
        fields = {
            "쪽": np.int64(3),
            "비율": np.float32(0.5),
            "공개": np.bool_(1),
            "값": np.array(7),
            "부서": np.str_("법무"),
        }
        small.add(["글"], ids=["a"], metadata=[fields])
        expected = {"쪽": 3, "비율": 0.5, "공개": True, "값": 7, "부서": "법무"}
        (document,) = small.get(where={"쪽": 3, "공개": True, "비율": {"$lt": 1}})
        assert {name: (type(value), value) for name, value in document.metadata.items()} == {
            name: (type(value), value) for name, value in expected.items()
        }

    def test_empty_documents_are_kept_and_never_found(self, small: Collection) -> None:
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

    def test_what_models_do_not_read_is_reported(self, filled: Collection) -> None:
        """Of every model, in ids of this collection."""
        found = filled.truncated()
        assert [one.leg for one in found] == list(filled.encoders)
        for one in found:
            assert one.model == filled.encoders[one.leg].model_name
            assert set(one.ids) <= set(filled.ids())
            assert 0 <= one.lost < 1

    def test_a_stream_adds_what_is_new_or_changed(self, small: Collection) -> None:
        rows = [(id_, text, fields) for id_, text, fields in zip(IDS, DOCUMENTS, METADATA, strict=True)]
        assert small.add_stream(row for row in rows) == len(rows)
        assert [(d.id, d.text, d.metadata) for d in small.get()] == rows
        assert small.add_stream(rows) == 0
        rows[2] = (rows[2][0], "새 글", rows[2][2])
        rows[4] = (rows[4][0], rows[4][1], {"번호": "넷"})
        assert small.add_stream(rows) == 2
        assert [d.id for d in small.get()] == [id_ for id_ in IDS if id_ != IDS[2]] + [IDS[2]]
        assert small.get([IDS[2]])[0].text == "새 글"
        assert small.get([IDS[4]])[0].metadata == {"번호": "넷"}

    def test_a_stream_resumes_where_it_stopped(self, make: Make, encoders: Encoders) -> None:
        collection = make(encoders=[encoders["dense"]], bm25=True)
        number = 2_050  # more than a batch

        def rows(*, broken: bool) -> Iterator[tuple[str, str]]:
            for index in range(number):
                if broken and index == number - 1:
                    raise ConnectionError
                yield f"{index}", f"공고 {index % 7}"

        with pytest.raises(ConnectionError):
            collection.add_stream(rows(broken=True), show_progress=False)
        stored = len(collection)
        assert 0 < stored < number
        assert collection.add_stream(rows(broken=False), show_progress=False) == number - stored
        assert len(collection) == number
        assert collection.add_stream(rows(broken=False), show_progress=False) == 0
        assert [document.id for document in collection.get()] == [str(index) for index in range(number)]

    @pytest.mark.parametrize(
        ("wrong", "place"),
        [(("", "글"), "ids[70]"), (("69", "글"), "ids[70]"), (("a", "글", {"x": {1}}), "metadata[70]"), ("a", "[70]")],
    )
    def test_an_error_in_a_stream_says_where_and_that_the_rest_is_stored(
        self, make: Make, encoders: Encoders, wrong: Any, place: str
    ) -> None:
        collection = make(encoders=[encoders["dense"]], bm25=True)
        rows: list[Any] = [(f"{index}", f"공고 {index}") for index in range(70)]
        with pytest.raises(KoragError) as error:
            collection.add_stream([*rows, wrong], show_progress=False)
        assert place in str(error.value)
        assert "are stored" in str(error.value)
        assert 0 < len(collection) < 70
        assert collection.add_stream([*rows, ("a", "글")], show_progress=False) == 71 - len(rows[:64])

    def test_a_stream_takes_documents_without_metadata(self, small: Collection) -> None:
        assert small.add_stream([("가", "본문"), ("나", "", None), ("다", "본문", {"x": 1})]) == 3
        assert [document.metadata for document in small.get()] == [{}, {}, {"x": 1}]
        assert small.add_stream([("나", "")]) == 0
        assert small.add_stream([]) == 0
