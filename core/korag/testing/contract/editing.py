"""Changing documents that are there: equal texts, metadata, and removing the rest."""

from __future__ import annotations

import copy
import unicodedata
from typing import Any

import pytest

from korag.collection.base import Collection
from korag.errors import InvalidArgumentError, InvalidTextError, KoragError
from korag.testing.contract.fixtures import ContractFixtures, Encoders, Make
from korag.testing.contract.samples import BAD_METADATA, DOCUMENTS, IDS, LEGS, METADATA, ids_of
from korag.testing.encoders import FakeDenseEncoder


class EditingTests(ContractFixtures):
    """Equal texts, `update_metadata`, `count`, `ids` and `keep_only`."""

    def test_a_document_with_the_same_text_is_not_encoded_again(self, make: Make) -> None:
        encoder = FakeDenseEncoder()
        collection = make(encoders=[encoder], bm25=True)
        texts = [*DOCUMENTS[:3], "", "겹치는 글", "겹치는 글"]
        ids = [*IDS[:3], "빈 글", "하나", "둘"]
        metadata: list[dict[str, Any]] = [{"판": 1} for _ in ids]
        collection.add(texts, ids=ids, metadata=metadata)
        before, encoded = collection.get(), encoder.documents_encoded
        assert collection.add(texts, ids=ids, metadata=metadata) == ids
        assert collection.get() == before
        metadata = [{"판": 2}, {"판": True}, {}, {"판": [2]}, {"판": 1}, {"판": 1.0}]
        assert collection.add(texts[::-1], ids=ids[::-1], metadata=metadata[::-1]) == ids[::-1]
        assert encoder.documents_encoded == encoded
        stored = collection.get()
        assert [(d.id, d.text) for d in stored] == list(zip(ids, texts, strict=True))  # each in its place
        assert [repr(d.metadata) for d in stored] == [repr(fields) for fields in metadata]

    def test_new_changed_and_equal_documents_in_one_call(self, make: Make) -> None:
        encoder = FakeDenseEncoder()
        collection = make(encoders=[encoder], bm25=True)
        collection.add(DOCUMENTS[:5], ids=IDS[:5], metadata=METADATA[:5])
        encoded = encoder.documents_encoded
        texts = [DOCUMENTS[0], "바뀐 글", DOCUMENTS[2], "", DOCUMENTS[4], DOCUMENTS[5], DOCUMENTS[6] + " "]
        metadata = [METADATA[0], METADATA[1], {"번호": "둘"}, METADATA[3], METADATA[4], METADATA[5], {}]
        assert collection.add(texts, ids=IDS[:7], metadata=metadata) == IDS[:7]
        assert encoder.documents_encoded == encoded + 3  # the changed one and two new ones; the empty one has no vector
        assert [d.id for d in collection.get()] == [IDS[i] for i in (0, 2, 4, 1, 3, 5, 6)]
        assert [(d.text, d.metadata) for d in collection.get(IDS[:7])] == list(zip(texts, metadata, strict=True))
        for index, text in enumerate(texts):
            for using in collection.legs:
                found = ids_of(collection.search(text, k=1, using=using)) if text else []
                assert found == ([IDS[index]] if text else [])
        assert ids_of(collection.search(DOCUMENTS[2], where={"번호": "둘"})) == [IDS[2]]

    def test_a_text_that_looks_the_same_is_another(self, small: Collection) -> None:
        texts = ["보증금 반환", unicodedata.normalize("NFD", "보증금 반환"), "보증금\u3000반환", "보증금 반환\n"]
        for text in texts:
            small.add([text], ids=["가"])
            assert [document.text for document in small.get(["가"])] == [text]
            assert [hit.text for hit in small.search("보증금 반환")] == [text]

    @pytest.mark.parametrize("replace", [False, True])
    def test_metadata_changes_without_encoding(self, make: Make, replace: bool) -> None:  # noqa: FBT001
        encoder = FakeDenseEncoder()
        collection = make(encoders=[encoder], bm25=True)
        collection.add([*DOCUMENTS, ""], ids=[*IDS, "빈 글"], metadata=[*METADATA, {"번호": 8}])
        encoded, before = encoder.documents_encoded, collection.get()
        given = {"부서": "법무팀", "출처": {"쪽": [7]}}
        ids = [IDS[3], "빈 글", IDS[0]]
        assert collection.update_metadata(ids, given, replace=replace) == ids
        assert collection.update_metadata([IDS[5]], [{"번호": None}], replace=replace) == [IDS[5]]
        assert collection.update_metadata(iter([IDS[6], IDS[7]]), ({"층": n} for n in (6, 7))) == IDS[6:]  # type: ignore[arg-type]
        assert encoder.documents_encoded == encoded
        expected = {document.id: document.metadata for document in before}
        for id_ in ids:
            expected[id_] = given if replace else {**expected[id_], **given}
        expected[IDS[5]] = {"번호": None} if replace else {**expected[IDS[5]], "번호": None}
        for floor in (6, 7):
            expected[IDS[floor]] = {**expected[IDS[floor]], "층": floor}
        stored = collection.get()
        assert [(d.id, d.text) for d in stored] == [(d.id, d.text) for d in before]
        assert {document.id: document.metadata for document in stored} == expected
        assert set(ids_of(collection.search(DOCUMENTS[0], where={"부서": "법무팀"}))) == {IDS[0], IDS[3]}
        assert ids_of(collection.search(DOCUMENTS[0], where={"출처.파일": "0.pdf"})) == []
        assert collection.search(DOCUMENTS[0], k=1)[0].metadata == expected[IDS[0]]

    def test_searches_before_and_after_a_change_of_metadata(self, small: Collection) -> None:
        small.add(DOCUMENTS, ids=IDS, metadata=METADATA)
        where = {"공개": True}
        assert small.search(DOCUMENTS[2], where=where) == []
        small.update_metadata([IDS[2]], {"공개": True})
        assert ids_of(small.search(DOCUMENTS[2], where=where)) == [IDS[2]]
        small.update_metadata([IDS[2]], {"공개": False})
        small.update_metadata([IDS[4]], {"공개": True})
        assert ids_of(small.search(DOCUMENTS[2], where=where, using="dense")) == [IDS[4]]
        assert (small.count(where), small.ids(where)) == (1, [IDS[4]])

    def test_metadata_keys_and_ids_in_every_unicode_form(self, small: Collection) -> None:
        id_, name = "각서.pdf", "부서"
        other_id, other_name = (unicodedata.normalize("NFD", text) for text in (id_, name))
        small.add(["글"], ids=[other_id], metadata=[{other_name: "총무팀", "쪽": 1}])
        small.update_metadata([id_], {name: "법무팀"})
        (document,) = small.get([id_])
        assert (document.id, document.metadata) == (other_id, {"쪽": 1, name: "법무팀"})  # one department
        assert small.count({other_name: "법무팀"}) == 1
        with pytest.raises(InvalidArgumentError, match=r"ids\[1\]"):
            small.update_metadata([id_, other_id], {})
        small.add(["글"], ids=[id_], metadata=[{"쪽": 1}])  # the same text: the form of the last addition
        assert [(d.id, d.metadata) for d in small.get([other_id])] == [(id_, {"쪽": 1})]
        assert small.keep_only([other_id]) == 0
        assert small.ids() == [id_]

    @pytest.mark.parametrize(
        ("ids", "metadata", "named"),
        [
            ([IDS[0], "없는 것", "그것도"], {"x": 1}, "'없는 것', '그것도'"),
            ([IDS[0], IDS[1], IDS[0]], {"x": 1}, r"ids\[2\]"),
            (IDS[:2], [{"x": 1}], "metadata"),
            (IDS[:2], [{"x": 1}, {"x": {1, 2}}], r"metadata\[1\]\['x'\]"),
            (IDS[:2], {"x": b"1"}, r"metadata\['x'\]"),
            (IDS[:2], 5, "metadata=5 must be a dict for all"),
            (IDS[:2], None, "metadata=None must be a dict for all"),
            (IDS[0], {"x": 1}, "ids"),
            ([IDS[0], 2], {"x": 1}, r"ids\[1\]"),
        ],
    )
    def test_bad_changes_change_nothing(self, small: Collection, ids: Any, metadata: Any, named: str) -> None:
        small.add(DOCUMENTS[:2], ids=IDS[:2], metadata=METADATA[:2])
        before = small.get()
        with pytest.raises(KoragError, match=named):
            small.update_metadata(ids, metadata)
        with pytest.raises(InvalidArgumentError, match="replace"):
            small.update_metadata(IDS[:1], {}, replace="예")  # type: ignore[arg-type]
        assert small.get() == before

    @pytest.mark.parametrize("fields", BAD_METADATA.values(), ids=BAD_METADATA)
    def test_bad_metadata_is_no_change(self, small: Collection, fields: Any) -> None:
        small.add(DOCUMENTS[:2], ids=IDS[:2])
        with pytest.raises(InvalidArgumentError, match=r"metadata\[1\]"):
            small.update_metadata(IDS[:2], [{"x": 1}, fields])
        assert small.count({"x": 1}) == 0

    def test_what_is_given_to_a_change_is_copied_and_left_as_it_is(self, small: Collection) -> None:
        small.add(DOCUMENTS[:2], ids=IDS[:2], metadata=METADATA[:2])
        ids, given = list(IDS[:2]), {"출처": {"쪽": [1]}}
        before = copy.deepcopy((ids, given))
        small.update_metadata(ids, given)
        small.keep_only(ids)
        assert (ids, given) == before
        given["출처"]["쪽"].append(2)
        first, second = small.get()
        first.metadata["출처"]["쪽"].append(3)
        assert second.metadata["출처"] == small.get()[0].metadata["출처"] == {"쪽": [1]}

    def test_no_ids_and_no_fields(self, small: Collection) -> None:
        small.add(DOCUMENTS[:2], ids=IDS[:2], metadata=METADATA[:2])
        before = small.get()
        assert small.update_metadata([], {"x": 1}) == []
        assert small.update_metadata([], []) == []
        assert small.update_metadata(IDS[:2], {}) == IDS[:2]
        assert small.get() == before
        small.update_metadata(IDS[:1], {}, replace=True)
        assert [document.metadata for document in small.get()] == [{}, METADATA[1]]

    def test_count_and_ids_are_those_of_get(self, filled: Collection) -> None:
        wheres: list[Any] = [
            None, {}, {"짝수": True}, {"짝수": False}, {"번호": {"$gte": 3}}, {"출처.파일": "3.pdf"}, {"없음": None},
            {"번호": -1}, {"$not": {"짝수": True}},
        ]  # fmt: skip
        for where in wheres:
            expected = [document.id for document in filled.get(where=where)]
            assert filled.ids(where) == filled.ids(where=where) == expected
            assert filled.count(where) == filled.count(where=where) == len(expected)
        assert filled.ids() == IDS
        for call in (filled.count, filled.ids):
            with pytest.raises(KoragError, match=r"\$no"):
                call({"번호": {"$no": 1}})

    def test_keep_only_removes_the_rest(self, make: Make, encoders: Encoders) -> None:
        collection = make(encoders=list(encoders.values()), bm25=True)
        collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)
        assert collection.keep_only(id_ for id_ in (IDS[6], IDS[1], "없는 것", IDS[1])) == len(IDS) - 2
        assert collection.ids() == [IDS[1], IDS[6]]
        for using in LEGS:
            found = [id_ for document in DOCUMENTS for id_ in ids_of(collection.search(document, using=using))]
            assert set(found) == {IDS[1], IDS[6]}
        assert collection.keep_only([IDS[1], IDS[6]]) == 0
        for bad in (IDS[1], [IDS[1], None], None):
            with pytest.raises(InvalidTextError, match="ids"):
                collection.keep_only(bad)  # type: ignore[arg-type]
        assert len(collection) == 2
        assert collection.keep_only([]) == 2
        assert collection.ids() == []

    def test_a_folder_that_is_synchronized(self, make: Make) -> None:
        encoder = FakeDenseEncoder()
        collection = make(encoders=[encoder], bm25=True)
        collection.add(DOCUMENTS[:5], ids=IDS[:5])
        encoded = encoder.documents_encoded
        collection.add(DOCUMENTS[2:7], ids=IDS[2:7])
        assert collection.keep_only(IDS[2:7]) == 2
        assert encoder.documents_encoded == encoded + 2
        assert collection.ids() == IDS[2:7]
