"""MetadataFilters: every operator, nested, applied before top-k, as in LlamaIndex's simple store."""

import re
from typing import Any

import pytest
from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from korag.errors import FilterError, InvalidTextError
from llamaindex_korag import KoBM25Retriever
from llamaindex_korag.filters import to_where

AND, OR, NOT = FilterCondition.AND, FilterCondition.OR, FilterCondition.NOT
METADATA: dict[str, dict[str, Any]] = {
    "민법": {"종류": "법률", "연도": 1958, "비율": 0.5, "태그": ["계약", "손해배상"], "제목": "Civil Act", "번호": "3"},
    "상법": {"종류": "법률", "연도": 1962, "비율": 1.0, "태그": ["회사"], "제목": "Commercial Act", "비고": ""},
    "규칙": {"종류": "규칙", "연도": 2020, "태그": [], "쪽": [1, 2, 3], "비고": None, "공개": True},
    "메모": {"연도": "2020", "공개": False, "제목": "CIVIL memo"},
}
ALL = list(METADATA)


@pytest.fixture(scope="module")
def laws() -> KoBM25Retriever:
    return KoBM25Retriever.from_defaults(
        [TextNode(id_=name, text=f"{name} 조문", metadata=metadata) for name, metadata in METADATA.items()]
    )


def _filter(key: str, operator: str, value: Any = None) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=FilterOperator(operator))


def _found(laws: KoBM25Retriever, filters: MetadataFilters | None) -> list[str]:
    """The ids found by a search and by a lookup, which must be equal."""
    laws.filters = filters
    found = sorted((node.node.node_id for node in laws.retrieve("조문")), key=ALL.index)
    laws.filters = None
    assert [node.node_id for node in laws.get_nodes(filters=filters)] == found
    return found


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (_filter("종류", "==", "법률"), ["민법", "상법"]),
        (_filter("종류", "!=", "법률"), ["규칙", "메모"]),  # a missing key is not equal
        (_filter("없음", "==", "x"), []),
        (_filter("없음", "!=", "x"), ALL),
        (_filter("종류", "==", None), ["메모"]),
        (_filter("연도", "==", 2020), ["규칙"]),  # a number is no string
        (_filter("연도", "==", "2020"), ["메모"]),
        (_filter("연도", "==", 2020.0), ["규칙"]),
        (_filter("번호", "==", 3), []),
        (_filter("연도", ">", 1958), ["상법", "규칙"]),
        (_filter("연도", ">=", 1958), ["민법", "상법", "규칙"]),
        (_filter("연도", "<", 1962), ["민법"]),
        (_filter("연도", "<=", 1962), ["민법", "상법"]),
        (_filter("연도", ">", "19"), ["메모"]),
        (_filter("없음", "<", 1), []),
        (_filter("제목", ">=", "Civil B"), ["상법"]),
        (_filter("연도", "in", [1958, 1962]), ["민법", "상법"]),
        (_filter("연도", "in", ["1958", "2020"]), ["메모"]),
        (_filter("종류", "in", []), []),
        (_filter("종류", "nin", ["규칙", "없는 것"]), ["민법", "상법", "메모"]),
        (_filter("종류", "nin", []), ALL),
        (_filter("태그", "any", ["회사", "계약"]), ["민법", "상법"]),
        (_filter("태그", "any", []), []),
        (_filter("쪽", "any", [3, 9]), ["규칙"]),
        (_filter("태그", "all", ["손해배상", "계약"]), ["민법"]),
        (_filter("태그", "all", ["계약", "회사"]), []),
        (_filter("태그", "all", []), ["민법", "상법", "규칙"]),
        (_filter("태그", "contains", "회사"), ["상법"]),
        (_filter("태그", "contains", "회"), []),  # an element, not a part of one
        (_filter("쪽", "contains", 2), ["규칙"]),
        (_filter("쪽", "contains", "2"), []),
        (_filter("제목", "contains", "Act"), ["민법", "상법"]),
        (_filter("없음", "contains", "x"), []),
        (_filter("제목", "text_match", "Civil"), ["민법"]),
        (_filter("제목", "text_match", "없는 말"), []),
        (_filter("없음", "text_match", ""), []),
        (_filter("제목", "text_match_insensitive", "civil"), ["민법", "메모"]),
        (_filter("제목", "text_match_insensitive", "ACT"), ["민법", "상법"]),
        (_filter("비고", "is_empty"), ALL),  # missing, null and ""
        (_filter("태그", "is_empty"), ["규칙", "메모"]),
        (_filter("쪽", "is_empty"), ["민법", "상법", "메모"]),
        # LlamaIndex's filters hold no booleans: 1 and 0 stand for them
        (_filter("공개", "==", 1), ["규칙"]),
        (_filter("공개", "==", 0), ["메모"]),
        (_filter("공개", "!=", 1), ["민법", "상법", "메모"]),
        (_filter("공개", "in", [0, 1]), ["규칙", "메모"]),
        (_filter("비율", "==", 1), ["상법"]),
        (_filter("쪽", "contains", 1), ["규칙"]),
    ],
    ids=str,
)
def test_operators(laws: KoBM25Retriever, filter: MetadataFilter, expected: list[str]) -> None:
    assert _found(laws, MetadataFilters(filters=[filter])) == expected
    assert _found(laws, MetadataFilters(filters=[filter], condition=NOT)) == [x for x in ALL if x not in expected]


OPERANDS: dict[FilterOperator, list[Any]] = {
    FilterOperator.EQ: ["법률", 1958, 0.5, "x"],
    FilterOperator.NE: ["법률", 1958, 0.5, "x"],
    FilterOperator.GT: [1958, 0.1],
    FilterOperator.GTE: [1958, 0.1],
    FilterOperator.LT: [1958, 0.7],
    FilterOperator.LTE: [1958, 0.7],
    FilterOperator.IN: [["법률", "x"], [1958, 7], []],
    FilterOperator.NIN: [["법률", "x"], [1958, 7], []],
    FilterOperator.ANY: [["계약", "x"], []],
    FilterOperator.ALL: [["계약", "손해배상"], ["x"], []],
    FilterOperator.CONTAINS: ["계약", "Act"],
    FilterOperator.TEXT_MATCH: ["법", "Act"],
    FilterOperator.TEXT_MATCH_INSENSITIVE: ["법", "ACT"],
    FilterOperator.IS_EMPTY: [None],
}


@pytest.mark.parametrize("operator", FilterOperator)
def test_what_the_simple_store_says(laws: KoBM25Retriever, operator: FilterOperator) -> None:
    """Wherever it says anything, and the value is no list under an operator for single values."""
    compared = 0
    for value in OPERANDS[operator]:
        for key in ("종류", "연도", "비율", "태그", "제목", "비고", "없음"):
            filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
            passes = build_metadata_filter_fn(lambda name: METADATA[name], filters)
            found = _found(laws, filters)
            for name, metadata in METADATA.items():
                there = metadata.get(key)
                whole = operator in (FilterOperator.ANY, FilterOperator.ALL) and isinstance(there, str)
                single = isinstance(there, list) and operator in (FilterOperator.IN, FilterOperator.NIN)
                if whole or single:  # there, parts of a string would do, and a list is never among the values
                    continue
                try:
                    expected = passes(name)
                except TypeError:  # kinds that cannot be compared, where ours just do not match
                    continue
                assert (name in found) is expected, (key, value, name)
                compared += 1
    assert compared >= 10


def test_conditions_nest(laws: KoBM25Retriever) -> None:
    law, old = _filter("종류", "==", "법률"), _filter("연도", "<", 1960)
    rule, company = _filter("종류", "==", "규칙"), _filter("태그", "any", ["회사"])
    for filters, expected in [
        (MetadataFilters(filters=[law, old]), ["민법"]),
        (MetadataFilters(filters=[law, old], condition=AND), ["민법"]),
        (MetadataFilters(filters=[law, old], condition=None), ["민법"]),
        (MetadataFilters(filters=[rule, old], condition=OR), ["민법", "규칙"]),
        (MetadataFilters(filters=[rule, old], condition=NOT), ["상법", "메모"]),
        (
            MetadataFilters(filters=[law, MetadataFilters(filters=[old, company], condition=OR)]),
            ["민법", "상법"],
        ),
        (
            MetadataFilters(
                filters=[rule, MetadataFilters(filters=[law, MetadataFilters(filters=[old], condition=NOT)])],
                condition=OR,
            ),
            ["상법", "규칙"],
        ),
        (
            MetadataFilters(filters=[MetadataFilters(filters=[law, old]), rule], condition=NOT),
            ["상법", "메모"],
        ),
    ]:
        assert _found(laws, filters) == expected


def test_no_filters(laws: KoBM25Retriever) -> None:
    nothing = MetadataFilters(filters=[])
    law = _filter("종류", "==", "법률")
    for filters in (None, nothing, MetadataFilters(filters=[], condition=NOT), MetadataFilters(filters=[nothing])):
        assert to_where(filters) is None
        assert _found(laws, filters) == ALL
    assert _found(laws, MetadataFilters(filters=[nothing, law])) == ["민법", "상법"]
    assert _found(laws, MetadataFilters(filters=[nothing, law], condition=OR)) == ALL
    assert _found(laws, MetadataFilters(filters=[nothing, law], condition=NOT)) == []


def test_deep_nesting(laws: KoBM25Retriever) -> None:
    filters = MetadataFilters(filters=[_filter("종류", "==", "법률")])
    for index in range(6):
        other = _filter("연도", "==", index)
        filters = MetadataFilters(filters=[filters, other], condition=(NOT, OR, AND)[index % 3])
    assert _found(laws, MetadataFilters(filters=[filters], condition=NOT)) == ALL
    for _ in range(16):
        filters = MetadataFilters(filters=[filters, _filter("연도", "==", 1)], condition=NOT)
    with pytest.raises(FilterError, match="16"):
        to_where(filters)


def test_filters_come_before_the_best(laws: KoBM25Retriever) -> None:
    many = [TextNode(text="보증금 반환 안내", metadata={"쪽": index}) for index in range(40)]
    filters = MetadataFilters(filters=[_filter("쪽", "==", 39)])
    retriever = KoBM25Retriever.from_defaults(many, similarity_top_k=1, filters=filters)
    assert [found.node.metadata["쪽"] for found in retriever.retrieve("보증금")] == [39]


def test_ids_of_nodes_and_documents() -> None:
    nodes = [
        TextNode(
            id_=f"{document}-{index}",
            text="조문",
            metadata=metadata,
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)},
        )
        for document, metadata in (("민법", {"쪽": 1}), ("상법", {"doc_id": "민법"}), ("규칙", {}))
        for index in range(2)
    ]
    whole = Document(doc_id="통째", text="조문")

    def found(**options: Any) -> list[str]:
        retriever = KoBM25Retriever.from_defaults([*nodes, whole, TextNode(id_="홀로", text="조문")], **options)
        return [found.node.node_id for found in retriever.retrieve("조문")]

    assert found(node_ids=["상법-1", "민법-0", "없는 것"]) == ["민법-0", "상법-1"]
    assert found(node_ids=[]) == []
    assert found(doc_ids=["민법"]) == ["민법-0", "민법-1"]
    assert found(doc_ids=["통째", "규칙"], node_ids=["규칙-1", "통째", "홀로"]) == ["규칙-1", "통째"]
    # the document's id under the names LlamaIndex's stores give it, unless the metadata has such a key
    for key in ("ref_doc_id", "document_id"):
        assert found(filters=MetadataFilters(filters=[_filter(key, "==", "상법")])) == ["상법-0", "상법-1"]
    doc_id = MetadataFilters(filters=[_filter("doc_id", "==", "민법")])
    assert found(filters=doc_id) == ["민법-0", "민법-1", "상법-0", "상법-1"]
    assert found(filters=MetadataFilters(filters=[_filter("doc_id", "!=", "민법")])) == [
        "규칙-0", "규칙-1", "통째", "홀로",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (_filter("연도", "in", 3), "list of values"),
        (_filter("연도", "in", "2020"), "list of values"),
        (_filter("연도", "all", None), "list of values"),
        (_filter("태그", "==", ["계약"]), "in, any or all"),
        (_filter("태그", ">", ["계약"]), "one number or string"),
        (_filter("태그", "<", None), "one number or string"),
        (_filter("태그", "contains", None), "one number or string"),
        (_filter("제목", "text_match", 3), "a string"),
        (_filter("제목", "text_match_insensitive", None), "a string"),
        (_filter("연도", ">", float("nan")), "NaN"),
        (_filter("연도", "==", 2**64), "64 bits"),
        (_filter("제목", "==", "\0"), "remove it"),
        (_filter("$where", "==", 1), r"\$and"),
    ],
    ids=ascii,
)
def test_bad_filters_are_errors_before_any_work(
    laws: KoBM25Retriever, filter: MetadataFilter, message: str, tmp_path: Any
) -> None:
    filters = MetadataFilters(filters=[filter])
    with pytest.raises(FilterError, match=message) as raised:
        KoBM25Retriever.from_defaults([TextNode(text="x")], filters=filters, path=tmp_path / "폴더")
    rule = re.split(" — |: ", str(raised.value).split("\n")[0])[-1]
    assert any("가" <= character <= "힣" for character in rule)
    assert not (tmp_path / "폴더").exists()
    with pytest.raises(FilterError):
        laws.delete_nodes(filters=filters)
    assert _found(laws, None) == ALL


def test_something_that_is_no_filter(laws: KoBM25Retriever) -> None:
    wrong: Any = {"연도": 2020}
    with pytest.raises(FilterError, match="pass MetadataFilters"):
        laws.get_nodes(filters=wrong)
    for name in ("node_ids", "doc_ids"):
        with pytest.raises(InvalidTextError, match=name):
            KoBM25Retriever(laws.collection, **{name: "하나"})
