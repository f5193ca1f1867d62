"""For any filter and metadata, the SQL agrees with `matches`."""

import json
import sqlite3

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from korag.filters import add_functions, matches, parse, to_sql

# a name that begins with $ is an operator: such a field can be stored, but not asked for
NAMES = [
    "a",
    "b",
    "a.b",
    "b.a",
    "연도",
    "기관.이름",
    "",
    ".",
    ".$",
    'q"',
    'q".a',
    "\\",
    "\\.a",
    "'",
    "[0]",
    "줄\n",
    "\u1100\u1161",  # 가 in NFD
    "\u110b\u1167\u11ab도",  # 연도, half of it in NFD
    "\n\u0301",  # a mark on what JSON escapes
]
texts = st.sampled_from(
    [
        "",
        "a",
        "A",
        "ß",
        "SS",
        "İ",
        "가",
        "각",
        "가나",
        "힣",
        "\ue000",
        "\U0001f600",
        "1",
        "true",
        '["a"]',
        "{}",
        '"',
        "\u1100\u1161",
        "가\u1102\u1161",
        "\uf914",
        "樂",
        "\n\u0301",
        "=\u0338",
        "≠",
    ]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
numbers = st.sampled_from([0, 1, -1, 2, 0.0, -0.0, 1.0, 0.1, 0.5, 1e16, 10**16, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1])
integers = st.integers(-(2**63), 2**63 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | integers | finite | texts
names = st.sampled_from(NAMES) | texts.filter(lambda x: not x.startswith("$"))
keys = st.sampled_from([*NAMES, "$", "$.a", "이름", "기관"]) | texts
large = st.integers(2**63, 2**80) | st.just(10**400)
metadata = st.dictionaries(
    keys,
    st.recursive(
        scalars | large,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=6,
)
bounds = numbers | integers | finite | texts | st.sampled_from([float("inf"), float("-inf")])
conditions = (
    scalars
    | st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), bounds, min_size=1)
    | st.fixed_dictionaries(
        {},
        optional={
            "$eq": scalars,
            "$ne": scalars,
            "$in": st.lists(scalars, max_size=4),
            "$nin": st.lists(scalars, max_size=4),
            "$exists": st.booleans(),
            "$contains": scalars.filter(lambda x: x is not None),
            "$icontains": texts,
            "$empty": st.booleans(),
        },
    ).filter(bool)
)
filters = st.recursive(
    st.dictionaries(names, conditions, min_size=1, max_size=2),
    lambda inner: (
        st.fixed_dictionaries({"$not": inner})
        | st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def database():
    connection = sqlite3.connect(":memory:")
    add_functions(connection)
    connection.execute("CREATE TABLE documents (id INTEGER PRIMARY KEY, metadata TEXT NOT NULL)")
    yield connection
    connection.close()


def paths(value, prefix=()):
    """The fields of a document and their values."""
    for key, inner in value.items():
        yield ".".join((*prefix, key)), inner
        if isinstance(inner, dict):
            yield from paths(inner, (*prefix, key))


def check(database, documents, where):
    tree = parse(where)
    sql, params = to_sql(tree)
    database.execute("DELETE FROM documents")
    database.executemany(
        "INSERT INTO documents VALUES (?, ?)",
        [(i, json.dumps(x, ensure_ascii=False, allow_nan=False)) for i, x in enumerate(documents)],
    )
    found = database.execute(f"SELECT id, {sql} FROM documents ORDER BY id", params).fetchall()  # noqa: S608
    assert found == [(i, int(matches(tree, x))) for i, x in enumerate(documents)]


@pytest.mark.slow
@settings(deadline=None)
@given(documents=st.lists(metadata, min_size=1, max_size=5), where=filters)
@example(documents=[{"a": 10**400}, {"a": 2**63}], where={"a": {"$gt": 2**63 - 1, "$lt": float("inf")}})
@example(documents=[{"a": 2.2250738585072014e-308}], where={"a": {"$gt": 2.225073858507201e-308}})
def test_sql_means_what_matches_means(database, documents, where):
    check(database, documents, where)


@pytest.mark.slow
@settings(deadline=None)
@given(documents=st.lists(metadata, min_size=1, max_size=5), data=st.data())
def test_sql_finds_the_values_there_are(database, documents, data):
    """Filters with fields and operands from the documents, so that matches are likely."""
    there = [
        (name, inner)
        for document in documents
        for name, value in paths(document)
        if not name.startswith("$")
        for inner in (value if isinstance(value, list) else [value])
        if inner is None or isinstance(inner, (str, bool, float)) or (isinstance(inner, int) and abs(inner) < 2**63)
    ]
    if not there:
        return
    name, value = data.draw(st.sampled_from(there))
    operators = ["$eq", "$ne", "$in", "$nin"]
    if value is not None and not isinstance(value, bool):
        operators += ["$gt", "$gte", "$lt", "$lte"]
    if value is not None:
        operators.append("$contains")
    if isinstance(value, str):
        operators.append("$icontains")
        value = value[data.draw(st.integers(0, len(value))) :]
    op = data.draw(st.sampled_from(operators))
    others = data.draw(st.lists(st.sampled_from([x for _, x in there]), max_size=3))
    check(database, documents, {name: {op: [value, *others] if op in ("$in", "$nin") else value}})
