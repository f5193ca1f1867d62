"""Self-query: filters that a chat model writes, with LangChain's own retriever and without langchain-community."""

import json
import sys
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery

from korag.errors import FilterError, InvalidArgumentError
from langchain_korag import KoStructuredQueryTranslator, KoVectorStore

DOCUMENTS = [
    Document(
        id="가", page_content="보증금 반환 안내", metadata={"분류": "주거", "날짜": "2024-03-05", "쪽": 3, "공개": True}
    ),
    Document(
        id="나", page_content="보증금 보호 안내", metadata={"분류": "주거", "날짜": "2024-03-05T09:30:00", "쪽": 7}
    ),
    Document(
        id="다", page_content="보증금 대출 안내", metadata={"분류": "금융", "날짜": "2024-03-31T18:00:00", "쪽": 1}
    ),
    Document(
        id="라",
        page_content="보증금 세금 안내",
        metadata={"분류": "세무 Tax", "날짜": "2023-12-01", "태그": ["세금", "연말"]},
    ),
]


@pytest.fixture(scope="module")
def store() -> KoVectorStore:
    return KoVectorStore.from_documents(DOCUMENTS, bm25=True)


def day(date: str) -> dict[str, str]:
    return {"date": date, "type": "date"}


def tree(given: Any) -> Any:
    """Makes a query language's tree of nested lists."""
    head, *rest = given
    if head in list(Operator):
        return Operation(Operator(head), [tree(part) for part in rest])
    return Comparison(Comparator(head), *rest)


CASES: list[tuple[list[Any], str]] = [
    (["eq", "분류", "주거"], "가나"),
    (["ne", "분류", "주거"], "다라"),
    (["eq", "공개", True], "가"),
    (["gt", "쪽", 3], "나"),
    (["gte", "쪽", 3], "가나"),
    (["lt", "쪽", 3], "다"),
    (["lte", "쪽", 3.0], "가다"),
    (["in", "분류", ["금융", "주거"]], "가나다"),
    (["in", "분류", "금융"], "다"),
    (["nin", "분류", ["금융", "주거"]], "라"),
    (["contain", "태그", "세금"], "라"),
    (["contain", "분류", "무"], "라"),
    (["like", "분류", "tax"], "라"),
    (["like", "분류", "%TAX%"], "라"),
    (["contain", "날짜", day("2024-03-05")], "가나"),
    (["like", "날짜", day("2024-03-31")], "다"),
    (["eq", "날짜", day("2024-03-05")], "가나"),
    (["ne", "날짜", day("2024-03-05")], "다라"),
    (["gt", "날짜", day("2024-03-05")], "다"),
    (["gte", "날짜", day("2024-03-05")], "가나다"),
    (["lt", "날짜", day("2024-03-05")], "라"),
    (["lte", "날짜", day("2024-03-31")], "가나다라"),
    (["in", "날짜", [day("2024-03-31"), day("2023-12-01")]], "다라"),
    (["nin", "날짜", [day("2024-03-31"), day("2023-12-01")]], "가나"),
    (["gte", "날짜", {"datetime": "2024-03-05T09:00:00", "type": "datetime"}], "나다"),
    (["and", ["eq", "분류", "주거"], ["gt", "쪽", 3]], "나"),
    (["or", ["eq", "분류", "금융"], ["gt", "쪽", 3]], "나다"),
    (["not", ["or", ["eq", "분류", "금융"], ["gt", "쪽", 3]]], "가라"),
    (["and", ["not", ["in", "쪽", [1, 7]]], ["lt", "날짜", day("2025-01-01")]], "가라"),
]


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_each_operator(store: KoVectorStore, given: list[Any], expected: str) -> None:
    query = StructuredQuery(query="보증금 안내", filter=tree(given), limit=None)
    text, keywords = KoStructuredQueryTranslator().visit_structured_query(query)
    assert text == "보증금 안내"
    assert sorted(str(found.id) for found in store.similarity_search(text, k=10, **keywords)) == sorted(expected)


def test_every_operator_is_offered_and_tried() -> None:
    tried = json.dumps([given for given, _ in CASES])
    translator = KoStructuredQueryTranslator()
    for name in (*translator.allowed_comparators, *translator.allowed_operators):
        assert f'"{name.value}"' in tried
    assert set(translator.allowed_comparators) == set(Comparator)
    assert set(translator.allowed_operators) == set(Operator)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (["not", ["eq", "쪽", 1], ["eq", "쪽", 2]], "not has 2 conditions"),
        (["like", "분류", "주%거"], "% may stand at both ends"),
        (["like", "분류", "주거%"], "% may stand at both ends"),
        (["like", "쪽", 3], "it takes the string"),
        (["contain", "분류", None], "to be contained"),
        (["gt", "공개", True], "only numbers and strings are ordered"),
        (["eq", "날짜", day("3월 5일")], "not a date"),
        (["eq", "날짜", {"type": "date"}], "not a date"),
        (["contain", "날짜", day("3월 5일")], "not a date"),
        (["eq", "날짜", {"year": 2024}], "cannot be compared"),
        (["eq", "분류", ["주거"]], r"\$in"),
        (["eq", "$where", 1], r"\$where"),
        (["lte", "날짜", day("9999-12-31")], "not a date"),
    ],
)
def test_what_filters_cannot_express(given: list[Any], match: str) -> None:
    with pytest.raises(FilterError, match=match):
        KoStructuredQueryTranslator().visit_structured_query(StructuredQuery(query="글", filter=tree(given)))


def test_no_filter_and_no_query() -> None:
    translate = KoStructuredQueryTranslator().visit_structured_query
    assert translate(StructuredQuery(query="보증금", filter=None)) == ("보증금", {})
    wanted = tree(["and", ["eq", "분류", "주거"], ["gte", "날짜", day("2024-03-05")], ["eq", "분류", "주거"]])
    assert translate(StructuredQuery(query=" ", filter=wanted))[0] == "분류 주거 날짜 2024-03-05"


def test_a_filter_of_one_s_own() -> None:
    translate = KoStructuredQueryTranslator(filter={"분류": "주거"}).visit_structured_query
    assert translate(StructuredQuery(query="글", filter=None)) == ("글", {"filter": {"분류": "주거"}})
    _, keywords = translate(StructuredQuery(query="글", filter=tree(["eq", "쪽", 1])))
    assert keywords == {"filter": {"$and": [{"분류": "주거"}, {"쪽": {"$eq": 1}}]}}
    with pytest.raises(FilterError, match=r"\$like"):
        KoStructuredQueryTranslator(filter={"분류": {"$like": "주"}})


@pytest.fixture
def without_community(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("langchain_community", *(name for name in sys.modules if name.startswith("langchain_community."))):
        monkeypatch.setitem(sys.modules, name, None)


ANSWER = {"query": "보증금", "filter": ["and", ["eq", "분류", "주거"], ["lte", "날짜", day("2024-03-05")]], "limit": 1}


@pytest.mark.usefixtures("without_community")
@pytest.mark.parametrize("search_type", ["similarity", "mmr"])
async def test_with_langchain_s_retriever(store: KoVectorStore, search_type: str) -> None:
    from langchain_classic.retrievers.self_query.base import SelfQueryRetriever

    with pytest.raises(ImportError, match="langchain-community"):
        SelfQueryRetriever(vectorstore=store, llm_chain=RunnableLambda(str))

    def read(answer: dict[str, Any]) -> StructuredQuery:
        return StructuredQuery(query=answer["query"], filter=tree(answer["filter"]), limit=answer["limit"])

    model = FakeListChatModel(responses=[json.dumps(ANSWER, ensure_ascii=False)])
    retriever = SelfQueryRetriever(
        llm_chain=ChatPromptTemplate.from_template("{query}") | model | JsonOutputParser() | read,
        vectorstore=store,
        structured_query_translator=KoStructuredQueryTranslator(),
        search_type=search_type,
    )
    for found in (retriever.invoke("3월 초까지의 주거 문서"), await retriever.ainvoke("3월 초까지의 주거 문서")):
        assert len(found) == 1
        assert found[0] in DOCUMENTS[:2]


@pytest.mark.usefixtures("without_community")
def test_in_langchain_s_query_language(store: KoVectorStore) -> None:
    """As in its documentation; the language needs ``lark``."""
    pytest.importorskip("lark")
    from langchain_classic.chains.query_constructor.schema import AttributeInfo
    from langchain_classic.retrievers.self_query.base import SelfQueryRetriever

    fields = [
        AttributeInfo(name="분류", description="글의 갈래", type="string"),
        AttributeInfo(name="날짜", description="쓴 날", type="date"),
        AttributeInfo(name="쪽", description="쪽 번호", type="integer"),
    ]
    written = 'and(eq("분류", "주거"), gte("날짜", 2024-03-05), not(in("쪽", [1, 2])))'
    answer = json.dumps({"query": "보증금", "filter": written, "limit": 1}, ensure_ascii=False)
    retriever = SelfQueryRetriever.from_llm(
        FakeListChatModel(responses=[f"```json\n{answer}\n```"]),
        store,
        "계약 안내문",
        fields,
        structured_query_translator=KoStructuredQueryTranslator(),
        enable_limit=True,
    )
    (found,) = retriever.invoke("3월에 나온 주거 안내 하나만")
    assert found in DOCUMENTS[:2]


def test_a_keyword_it_does_not_have() -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean filter"):
        KoStructuredQueryTranslator(where={})  # type: ignore[call-arg]
