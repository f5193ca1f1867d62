import enum
import json
import math
import sqlite3
from typing import Any

import pytest

from korag.collection import Collection
from korag.errors import FilterError
from korag.filters import (
    And,
    AnyOf,
    Compare,
    Contains,
    Empty,
    Exists,
    Not,
    Or,
    add_functions,
    matches,
    parse,
    to_sql,
)

INF = math.inf
DOC: dict[str, Any] = {
    "제목": "민법 제750조",
    "연도": 2024,
    "점수": 0.1,
    "공개": True,
    "비고": None,
    "태그": ["손해배상", "불법행위", 3, None],
    "빈목록": [],
    "기관": {"이름": "대법원", "부": {"번호": 2}},
    "a.b": "literal",
    "a": {"b": "nested", "c": "only nested"},
    "c.d": None,
    "c": {"d": 1},
    "목록의목록": [[1], {"x": 1}],
    "큰수": 2**63,
    "": "empty key",
    'q"uote': 1,
    "back\\slash": "v",
    "줄\n바꿈": {"k": [1, "둘"]},
    "[0]": "bracket",
    "$": "dollar",
    "json": '["손해배상"]',
    "zero": -0.0,
    "로마자": "STRASSE école",
    "영문": ["Gpu", "서버"],
    "빈글": "",
    "빈글의목록": [""],
    "빈목록처럼": "[]",
}

CASES = [
    ({"연도": 2024}, True),
    ({"연도": 2024.0}, True),
    ({"연도": "2024"}, False),
    ({"점수": 0.1}, True),
    ({"점수": 0.1 + 1e-16}, False),
    ({"zero": 0}, True),
    ({"제목": "민법 제750조"}, True),
    ({"제목": "민법 제750조 "}, False),
    ({"제목": "민법"}, False),
    # booleans are no numbers
    ({"공개": True}, True),
    ({"공개": 1}, False),
    ({"공개": False}, False),
    ({"공개": {"$ne": 1}}, True),
    ({"공개": {"$gte": 0}}, False),
    ({"공개": {"$in": [1, "true"]}}, False),
    ({"태그": True}, False),
    # null and missing
    ({"비고": None}, True),
    ({"없음": None}, True),
    ({"연도": None}, False),
    ({"비고": {"$ne": None}}, False),
    ({"연도": {"$ne": None}}, True),
    ({"없음": {"$in": [1, None]}}, True),
    ({"없음": {"$nin": [1, None]}}, False),
    ({"없음": {"$ne": 1}}, True),
    ({"없음": {"$nin": [1, 2]}}, True),
    ({"없음": {"$lt": 1}}, False),
    ({"$not": {"없음": {"$lt": 1}}}, True),
    ({"비고": {"$lte": ""}}, False),
    ({"비고": {"$exists": True}}, True),
    ({"비고": {"$exists": False}}, False),
    ({"없음": {"$exists": False}}, True),
    ({"기관": {"$exists": True}}, True),
    # order
    ({"연도": {"$gt": 2023.5, "$lte": 2024}}, True),
    ({"연도": {"$gt": 2024}}, False),
    ({"연도": {"$lt": "3"}}, False),
    ({"연도": {"$gte": "1"}}, False),
    ({"연도": {"$lt": INF, "$gt": -INF}}, True),
    ({"연도": {"$in": [INF, 2024]}}, True),
    ({"연도": INF}, False),
    ({"제목": {"$gte": "민법", "$lt": "민법 제751조"}}, True),
    ({"제목": {"$gt": 0}}, False),
    ({"제목": {"$gt": "힣"}}, False),
    (
        {"제목": {"$lt": "\U00010000"}},
        True,
    ),  # by code point, where UTF-16 order would differ for U+E000 and above
    ({"큰수": {"$gt": 2**63 - 1}}, True),
    ({"큰수": 2.0**63}, True),
    ({"큰수": {"$lt": 1e30}}, True),
    # sets
    ({"연도": {"$in": [2023, 2024]}}, True),
    ({"연도": {"$in": []}}, False),
    ({"연도": {"$nin": []}}, True),
    ({"점수": {"$in": [0.1, "민법"]}}, True),
    ({"제목": {"$in": ("상법", "민법 제750조")}}, True),
    ({"연도": {"$nin": {2023, 2024}}}, False),
    # lists: any element
    ({"태그": "불법행위"}, True),
    ({"태그": "없는 태그"}, False),
    ({"태그": {"$ne": "불법행위"}}, False),
    ({"태그": {"$in": ["x", "손해배상"]}}, True),
    ({"태그": {"$nin": ["x", "손해배상"]}}, False),
    ({"태그": {"$gt": 2}}, True),
    ({"태그": {"$gt": 3}}, False),
    (
        {"태그": {"$gt": "불법행위", "$lt": "손해배상"}},
        True,
    ),  # each operator on its own, by different elements
    ({"태그": None}, True),
    ({"빈목록": None}, False),
    ({"빈목록": {"$ne": "x"}}, True),
    ({"빈목록": {"$exists": True}}, True),
    ({"목록의목록": 1}, False),
    ({"json": "손해배상"}, False),  # a string that looks like a list is a string
    ({"json": '["손해배상"]'}, True),
    # containing
    ({"태그": {"$contains": "불법행위"}}, True),
    ({"태그": {"$contains": "불법"}}, False),  # an element, not a part of one
    ({"태그": {"$contains": 3}}, True),
    ({"태그": {"$contains": 3.0}}, True),
    ({"태그": {"$contains": "3"}}, False),
    ({"태그": {"$contains": True}}, False),
    ({"제목": {"$contains": "제750조"}}, True),
    ({"제목": {"$contains": "제751조"}}, False),
    ({"제목": {"$contains": ""}}, True),
    ({"제목": {"$contains": 750}}, False),
    ({"연도": {"$contains": 2024}}, False),
    ({"연도": {"$contains": "20"}}, False),
    ({"없음": {"$contains": "x"}}, False),
    ({"비고": {"$contains": ""}}, False),
    ({"기관": {"$contains": "이름"}}, False),
    ({"목록의목록": {"$contains": "x"}}, False),
    ({"a.b": {"$contains": "LITER"}}, False),
    ({"a.b": {"$icontains": "LITER"}}, True),
    ({"로마자": {"$icontains": "straße ÉCOLE"}}, True),
    ({"로마자": {"$contains": "straße"}}, False),
    ({"영문": {"$icontains": "GPU"}}, True),
    ({"영문": {"$icontains": "gp"}}, False),
    ({"영문": {"$contains": "GPU"}}, False),
    ({"연도": {"$icontains": "20"}}, False),
    ({"없음": {"$icontains": ""}}, False),
    # emptiness
    ({"없음": {"$empty": True}}, True),
    ({"비고": {"$empty": True}}, True),
    ({"빈목록": {"$empty": True}}, True),
    ({"빈글": {"$empty": True}}, True),
    ({"태그": {"$empty": True}}, False),  # a null among its elements is an element
    ({"빈글의목록": {"$empty": True}}, False),
    ({"zero": {"$empty": True}}, False),
    ({"공개": {"$empty": True}}, False),
    ({"기관": {"$empty": True}}, False),
    ({"json": {"$empty": False}}, True),
    ({"빈목록처럼": {"$empty": True}}, False),
    # names with dots
    ({"기관.이름": "대법원"}, True),
    ({"기관.부.번호": {"$gte": 2}}, True),
    ({"기관.부.없음": {"$exists": False}}, True),
    ({"기관.이름.더": None}, True),
    ({"기관": "대법원"}, False),
    ({"기관": {"$ne": "대법원"}}, True),
    ({"태그.0": "손해배상"}, False),
    ({"a.b": "literal"}, True),
    ({"a.b": "nested"}, False),
    ({"a.c": "only nested"}, True),
    ({"c.d": None}, True),  # the literal key is there, if null
    ({"c.d": 1}, False),
    # awkward names
    ({"": "empty key"}, True),
    ({'q"uote': 1}, True),
    ({'q"uote': {"$ne": 1}}, False),
    ({'no"ne': None}, True),
    ({"back\\slash": "v"}, True),
    ({"줄\n바꿈.k": "둘"}, True),
    ({"줄\n바꿈.k": {"$gt": 0}}, True),
    ({"[0]": "bracket"}, True),
    ({"a[0]": {"$exists": False}}, True),
    # logic
    ({"연도": 2024, "공개": True}, True),
    ({"연도": 2024, "공개": False}, False),
    ({"$or": [{"연도": 1}, {"공개": True}]}, True),
    ({"$and": [{"연도": 2024}, {"공개": False}]}, False),
    ({"연도": 2024, "$or": [{"a": 1}, {"b": 2}]}, False),
    ({"$not": {"연도": 2024, "공개": False}}, True),
    ({"$not": {"$not": {"연도": 2024}}}, True),
]


@pytest.fixture(scope="module")
def database():
    connection = sqlite3.connect(":memory:")
    add_functions(connection)
    connection.execute("CREATE TABLE documents (metadata TEXT NOT NULL)")
    connection.execute("INSERT INTO documents VALUES (?)", (json.dumps(DOC, ensure_ascii=False),))
    yield connection
    connection.close()


def in_sql(database, where):
    sql, params = to_sql(parse(where), "documents.metadata")
    ((result,),) = database.execute(f"SELECT {sql} FROM documents", params)  # noqa: S608 — the subject of the test
    assert result in (0, 1)  # and not NULL
    return bool(result)


@pytest.mark.parametrize(("where", "expected"), CASES, ids=[str(where) for where, _ in CASES])
def test_meaning(database, where, expected):
    assert matches(parse(where), DOC) is expected
    assert in_sql(database, where) is expected
    assert in_sql(database, {"$not": where}) is not expected


@pytest.mark.parametrize("where", [None, {}])
def test_no_filter(where):
    assert parse(where) is None
    assert matches(None, DOC)
    assert to_sql(None) == ("1", [])


def test_tree():
    assert parse({"a": 1}) == AnyOf("a", (1,))
    assert parse({"$and": [{"a": 1}]}) == AnyOf("a", (1,))
    assert parse({"a": {"$gte": 3, "$nin": ["x"]}, "$or": [{"b": None}, {"c": {"$exists": False}}]}) == And(
        (
            Compare("a", "$gte", 3),
            Not(AnyOf("a", ("x",))),
            Or((AnyOf("b", (None,)), Not(Exists("c")))),
        )
    )


def test_tree_of_what_is_contained_and_what_is_empty():
    assert parse({"a": {"$contains": 1, "$icontains": "x"}}) == And((Contains("a", 1), Contains("a", "x", True)))
    assert parse({"a": {"$empty": False}}) == Not(Empty("a"))


def test_a_collection_filters_by_what_is_contained():
    with Collection.in_memory(bm25=True) as collection:
        collection.add(["가", "나"], ids=["가", "나"], metadata=[{"태그": ["GPU"], "빈": []}, {"태그": "gpu 서버"}])
        for where, ids in [
            ({"태그": {"$contains": "gpu"}}, ["나"]),
            ({"태그": {"$icontains": "gpu"}}, ["가", "나"]),
            ({"빈": {"$empty": True}, "태그": {"$empty": False}}, ["가", "나"]),
        ]:
            assert [document.id for document in collection.get(where=where)] == ids


def test_subclasses_become_plain_values():
    class Court(enum.StrEnum):
        SUPREME = "대법원"

    class Level(enum.IntEnum):
        HIGH = 2

    tree = parse({"$and": [{"기관.이름": Court.SUPREME}, {"기관.부.번호": Level.HIGH}]})
    assert matches(tree, DOC)
    assert {type(x) for x in to_sql(tree)[1]} == {str, int}


def test_the_filter_may_change_afterwards():
    values = [1, 2]
    tree = parse({"a": {"$in": values}})
    values.clear()
    assert matches(tree, {"a": 2})


INJECTIONS = [
    "'); DROP TABLE documents; --",
    "' OR 1=1 --",
    '" OR "1"="1',
    '") OR 1=1 --',
    '.$."제목"',
    '제목"."x',
    "제목' IS NOT NULL OR '1",
    "?",
    "{}",
    "{0}",
    "%s",
    '\\"',
    "a'.b\"",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection(database, text):
    for where in (
        {text: 1},
        {text: "민법"},
        {"제목": text},
        {"제목": {"$in": [text, "상법"]}},
        {text: {"$gt": 0}},
    ):
        assert in_sql(database, where) is matches(parse(where), DOC) is False
    if len(text) > 3:  # the shorter ones are part of any SQL
        assert text not in to_sql(parse({text: 1, "제목": text}))[0]
    stored = {text: text, "a": {text: [text]}}
    row = sqlite3.connect(":memory:")
    add_functions(row)
    for where in ({text: text}, {"a." + text: text}):
        if matches(parse(where), stored):  # a dot in the text makes another path of it
            sql, params = to_sql(parse(where), "m")
            document = json.dumps(stored, ensure_ascii=False)
            found = row.execute(f"SELECT {sql} FROM (SELECT ? AS m)", [*params, document])  # noqa: S608
            assert found.fetchone() == (1,)
    row.close()
    assert database.execute("SELECT count(*) FROM documents").fetchone() == (1,)


def test_large_filters(database):
    numbers = [*range(40_000), 0.5, INF]
    assert in_sql(database, {"연도": {"$in": numbers}})
    assert in_sql(database, {"태그": {"$in": [f"{i}" for i in range(40_000)] + ["손해배상"]}})
    assert in_sql(database, {"$or": [{"연도": i} for i in range(1000, 2025)]})
    assert not in_sql(database, {"$and": [{"줄\n바꿈.k": {"$ne": i}} for i in range(200)]})


def test_alternatives_for_one_field_are_one_condition():
    assert parse({"$or": [{"a": 1}, {"b": 2}, {"a": {"$in": [None, "x"]}}]}) == Or(
        (AnyOf("a", (1, None, "x")), AnyOf("b", (2,)))
    )
    assert parse({"$or": [{"a": 1}, {"$or": [{"a": True}, {"a": 2}]}]}) == AnyOf("a", (1, True, 2))
    assert parse({"a": {"$ne": 1, "$nin": [2, 3]}}) == Not(AnyOf("a", (1, 2, 3)))
    assert parse({"$and": [{"a": 1}, {"a": 2}]}) == And((AnyOf("a", (1,)), AnyOf("a", (2,))))  # of a list, both


def test_many_conditions():
    """Any number of values, whatever the way to say it; 1,000 conditions."""
    with Collection.in_memory(bm25=True) as collection:
        collection.add(["가", "나"], ids=["가", "나"], metadata=[{"번호": 99_999}, {"번호": -1}])
        for where in (
            {"번호": {"$in": list(range(100_000))}},
            {"$or": [{"번호": number} for number in range(100_000)]},
            {"$and": [{"번호": {"$ne": -number}} for number in range(3_000)]},
        ):
            assert [document.id for document in collection.get(where=where)] == ["가"]
        assert len(collection.get(where={"$or": [{"번호": {"$gt": number}} for number in range(-2, 998)]})) == 2
        assert len(collection.get(where={"$or": [{f'"{i}.번호': {"$empty": True}} for i in range(1000)]})) == 2


def test_too_many_conditions():
    with pytest.raises(FilterError, match=r"1,001 conditions; 1,000 are allowed.*\$in"):
        parse({"$and": [{"a": {"$gt": number}} for number in range(1001)]})
    where: dict[str, Any] = {"a": {"$gt": 1}}
    for _ in range(8):
        where = {"$or": [{"$and": [where] * 10}, {"b": 1}]}  # 100 million, in 100 entries
    with pytest.raises(FilterError, match="conditions"):
        parse(where)


def test_wide_filters_may_be_deep(database):
    """SQLite's parser holds what stands before a nested expression, and an expression may be 1,000 levels deep."""
    for levels, width in ((16, 30), (8, 60), (2, 240)):
        where: dict[str, Any] = {"연도": 2024}
        for level in range(levels):
            before = [{"기관.없음": {"$gt": number}} for number in range(width)]
            after = [{'"': {"$lt": number}} for number in range(width)]
            where = {"$or" if level % 2 else "$and": [*before, where, *after]}
        assert in_sql(database, where) is matches(parse(where), DOC)
    assert not in_sql(database, {".".join(['"'] * 200): 1})


def nested(depth):
    where = {"줄\n바꿈.k": {"$gt": 0.5, "$in": [1, None, True, "a", "b"]}}
    for i in range(depth):
        where = [{"$not": where}, {"$or": [where, {"a": 1}]}, {"$and": [{"연도": 2024}, where]}][i % 3]
    return where


def test_deep_filters(database):
    assert in_sql(database, nested(16)) is matches(parse(nested(16)), DOC)
    with pytest.raises(FilterError, match="16"):
        parse(nested(17))
    circular: dict[str, Any] = {}
    circular["$not"] = circular
    with pytest.raises(FilterError, match="16"):
        parse(circular)


ERRORS = [
    ({"연도": {"$gt3": 3}}, "$gt3", "did you mean $gt?"),
    ({"연도": {"gte": 3}}, "'gte'", "did you mean $gte?"),
    ({"연도": {"$GTE": 3}}, "$GTE", "did you mean $gte?"),
    ({"연도": {">=": 3}}, "'>='", "did you mean $gte?"),
    ({"연도": {"$exist": True}}, "$exist", "did you mean $exists?"),
    ({"$nad": [{"a": 1}]}, "$nad", "did you mean $and?"),
    ({"$gte": 3}, "$gte", "go inside it"),
    ({"기관": {"이름": "대법원"}}, "'이름'", '"a.b"'),
    ({"기관": {"$not": {"$gt": 1}}}, "$not", "goes outside"),
    ({"연도": {3: 4}}, "3", "operators of a field"),
    ({"연도": {}}, "{}", "$eq"),
    ({"연도": [2023, 2024]}, "[2023, 2024]", "$in"),
    ({"연도": {"$eq": {"$gt": 1}}}, "{'$gt': 1}", "ISO 8601"),
    ({"연도": {"$in": 2024}}, "2024", "list of values"),
    ({"연도": {"$in": "2024"}}, "'2024'", "list of values"),
    ({"연도": {"$in": [[1]]}}, "[1]", "$in"),
    ({"연도": {"$in": [object]}}, "object", "ISO 8601"),
    ({"연도": {"$exists": 1}}, "1", "True or False"),
    ({"연도": {"$empty": "yes"}}, "'yes'", "True or False"),
    ({"연도": {"$contains": None}}, "None", "$empty"),
    ({"연도": {"$contains": ["x"]}}, "['x']", "$in"),
    ({"연도": {"$icontains": 3}}, "3", "the string"),
    ({"연도": {"$contain": "x"}}, "$contain", "did you mean $contains?"),
    ({"연도": {"$gt": None}}, "None", "$eq"),
    ({"연도": {"$gt": True}}, "True", "$eq"),
    ({"연도": {"$gt": [1]}}, "[1]", "$in"),
    ({"연도": b"2024"}, "b'2024'", "a str, int"),
    ({"연도": math.nan}, "nan", "None"),
    ({"연도": {"$in": [1, math.nan]}}, "nan", "None"),
    ({"연도": 2**63}, "9223372036854775808", "strings"),
    ({"연도": 10**5000}, "16610-bit int", "strings"),  # which Python does not write
    ({"연도": [10**5000]}, "[16610-bit int]", "$in"),
    ({"연도": {10**5000: 1}}, "16610-bit int", "operators of a field"),
    ({10**5000: 1}, "16610-bit int", "quote it"),
    ({"연도": {"$lt": -(2**63) - 1}}, "-9223372036854775809", "strings"),
    ({"제목": "a\0b"}, "a\\x00b", "remove"),
    ({"제목": "\ud800"}, "\\ud800", "remove"),
    ({"\ud800": 1}, "\\ud800", "remove"),
    ({3: 4}, "3", "quote it"),
    ({None: 4}, "None", "quote it"),
    ({"$and": []}, "[]", "non-empty list"),
    ({"$or": {"a": 1}}, "{'a': 1}", "non-empty list"),
    ({"$or": [{}]}, "{}", "non-empty dict"),
    ({"$or": [{"a": 1}, 3]}, "3", "non-empty dict"),
    ({"$not": {}}, "{}", "non-empty dict"),
    ({"$not": [{"a": 1}]}, "[{'a': 1}]", "non-empty dict"),
    ([("a", 1)], "[('a', 1)]", "non-empty dict"),
    ("a = 1", "'a = 1'", "non-empty dict"),
    ([], "[]", "non-empty dict"),
]


@pytest.mark.parametrize(("where", "value", "fix"), ERRORS, ids=[f"{value!a} {fix}" for _, value, fix in ERRORS])
def test_errors(where, value, fix):
    with pytest.raises(FilterError) as caught:
        parse(where)
    korean, english = str(caught.value).split("\n")
    assert any("가" <= x <= "힣" for x in korean.partition(value)[2])  # Hangul beyond the user's own
    assert value in korean
    assert value in english
    assert fix in english
    str(caught.value).encode()  # printable


def test_long_values_are_shortened():
    with pytest.raises(FilterError) as caught:
        parse({"id": list(range(100_000))})
    assert len(str(caught.value)) < 500


def test_errors_are_value_errors():
    with pytest.raises(ValueError, match="Metadata filter"):
        parse({"a": {"$like": "x"}})
