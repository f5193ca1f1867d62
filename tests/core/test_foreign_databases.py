"""Databases from elsewhere: what SQLite would run when a table is read or written is refused before it runs."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from korag import Collection
from korag.collection.local import schema
from korag.errors import IndexStateError

FILE = "korag.sqlite3"
TEXTS = ["첫눈이 온 날에는 귤을 먹는다.", "장마에는 제습기를 켠다.", "단풍은 시월 말이 한창이다."]
IDS = ["겨울", "여름", "가을"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        collection.add(TEXTS, ids=IDS, metadata=[{"달": number} for number in (12, 7, 10)])
    return tmp_path / "색인"


def run(folder: Path, script: str) -> None:
    connection = sqlite3.connect(folder / FILE)
    connection.executescript(script)
    connection.close()


def refused(folder: Path, reason: str) -> None:
    """Opening and upgrading fail, by an error in two languages that names the file; nothing changes."""
    before = (folder / FILE).read_bytes()
    for call in (lambda: Collection.open(folder, bm25=True), lambda: Collection.upgrade(folder)):
        with pytest.raises(IndexStateError, match=reason) as caught:
            call()
        assert len(caught.value.args) == 2
        assert all(str(folder) in message for message in caught.value.args)
    assert (folder / FILE).read_bytes() == before


ENDLESS = "CREATE VIEW {} AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x FROM n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM documents; END", "trigger t"),
        ("CREATE TRIGGER t AFTER UPDATE ON settings BEGIN DELETE FROM segments; END", "trigger t"),
        ("CREATE VIEW v AS SELECT 1", "view v"),
        ("CREATE INDEX i ON documents (text)", "index i"),
        ("CREATE INDEX i ON documents (json_extract(metadata, '$.달'))", r"\(i\)"),
        ("CREATE TABLE theirs (x)", "table theirs"),
        ("ALTER TABLE documents ADD COLUMN upper TEXT AS (upper(text))", "table documents"),
        ("ALTER TABLE documents ADD COLUMN checked TEXT CHECK (length(checked) > 0)", "table documents"),
        ("ALTER TABLE segments ADD COLUMN more", "table segments"),
        ("DROP TABLE segments", "table segments"),
        ("ALTER TABLE settings RENAME TO s; " + ENDLESS.format("settings"), "view settings"),
        ("ALTER TABLE documents RENAME TO d; " + ENDLESS.format("documents"), "view documents"),
        ("CREATE VIRTUAL TABLE f USING fts5(text)", "table f"),
        ("PRAGMA user_version = 0", "table documents"),
        ("PRAGMA user_version = 3", "table documents"),
    ],
)
def test_a_schema_that_is_not_ours(folder: Path, script: str, reason: str) -> None:
    run(folder, script)
    started = time.monotonic()
    refused(folder, reason)
    assert time.monotonic() - started < 60  # an endless query would never end


def test_a_schema_changed_while_the_collection_is_open(folder: Path) -> None:
    """Whatever another program adds is found by the next write, before it would run."""
    with Collection.open(folder, bm25=True) as collection:
        run(folder, "CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM documents; END")
        with pytest.raises(IndexStateError, match="trigger t"):
            collection.add(["새 글"])
        run(folder, "DROP TRIGGER t")
        assert [document.id for document in collection.get()] == IDS
        collection.add(["새 글"], ids=["새것"])
        assert len(collection) == 4


def test_connections_distrust_the_file(folder: Path) -> None:
    with Collection.open(folder, bm25=True) as collection, collection._database.reading() as connection:
        (trusted,) = connection.execute("PRAGMA trusted_schema").fetchone()
        (checked,) = connection.execute("PRAGMA cell_size_check").fetchone()
        assert (trusted, checked) == (0, 1)
        with pytest.raises(sqlite3.OperationalError, match="too many attached"):
            connection.execute("ATTACH ':memory:' AS other")


def flip(path: Path, text: str, *, at: int = 0) -> None:
    """Flips the lowest bit of a byte in the only place where a text is."""
    content = bytearray(path.read_bytes())
    place = content.index(text.encode())
    assert content.count(text.encode()) == 1
    content[place + at] ^= 1
    path.write_bytes(content)


def test_an_index_that_contradicts_its_table_is_found_when_opened(folder: Path) -> None:
    """The id would not be found, though the document is there."""
    content = bytearray((folder / FILE).read_bytes())
    places = [at for at in range(len(content)) if content.startswith("겨울".encode(), at)]
    assert len(places) == 2  # in the table and in the index
    content[max(places)] ^= 1
    (folder / FILE).write_bytes(content)
    refused(folder, "index")


def test_pages_are_checked_once_while_the_file_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Collection.open(folder, bm25=True).close()
    checks: list[str] = []
    find = schema.find_damage

    def counted(connection: sqlite3.Connection, path: Path) -> str | None:
        connection.set_trace_callback(lambda sql: checks.append(sql) if "_check(" in sql else None)
        try:
            return find(connection, path)
        finally:
            connection.set_trace_callback(None)

    monkeypatch.setattr(schema, "find_damage", counted)
    Collection.open(folder, bm25=True).close()
    assert checks == []
    with Collection.open(folder, bm25=True) as collection:
        collection.delete(["가을"])
    Collection.open(folder, bm25=True).close()
    assert checks == ["PRAGMA integrity_check(1)"]
    monkeypatch.setattr(schema, "WHOLE_UP_TO", 0)
    monkeypatch.setattr(schema, "_checked", set())
    Collection.open(folder, bm25=True).close()
    assert checks[1:] == ["PRAGMA quick_check(1)"]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any database counts as a large one."""
    monkeypatch.setattr(schema, "WHOLE_UP_TO", -1)
    monkeypatch.setattr(schema, "PAGES_UP_TO", -1)
    monkeypatch.setattr(schema, "_checked", set())


@pytest.mark.usefixtures("large")
def test_of_a_large_database_the_small_tables_are_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []
    find = schema.find_damage

    def counted(connection: sqlite3.Connection, path: Path) -> str | None:
        connection.set_trace_callback(lambda sql: checks.append(sql) if "_check(" in sql else None)
        return find(connection, path)

    monkeypatch.setattr(schema, "find_damage", counted)
    Collection.open(folder, bm25=True).close()
    tables = ("changes", "segments", "settings", "sqlite_sequence")
    assert sorted(checks) == [f"PRAGMA quick_check({name})" for name in tables]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection with pages of every kind."""
    folder = tmp_path_factory.mktemp("many") / "색인"
    with Collection.open(folder, bm25=True) as collection:
        subjects = ("세금", "회비", "벌금")
        texts = [f"제{number}조 {subject}은 {number}일 안에 낸다." for number in range(80) for subject in subjects]
        collection.add(texts, ids=[f"{text} {number}" for number, text in enumerate(texts)])
        collection.delete([f"{texts[7]} 7"])
    return folder


QUERIES = ["제7조 세금", "제79조 벌금은 79일", "회비", "없는 말"]


@pytest.mark.usefixtures("large")
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_search_of_a_large_database_is_right_or_an_error(many: Path, place: float, bit: int) -> None:
    """Wherever a bit of it has flipped."""
    with Collection.open(many, bm25=True) as collection:
        right = collection.search_many(QUERIES, k=300)
    whole = (many / FILE).read_bytes()
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 1 << bit
    (many / FILE).write_bytes(damaged)
    try:
        with contextlib.suppress(IndexStateError), Collection.open(many, bm25=True) as collection:
            assert collection.search_many(QUERIES, k=300) == right
    finally:
        (many / FILE).write_bytes(whole)


def test_a_damaged_name_in_the_schema_is_an_error(folder: Path) -> None:
    """SQLite's message repeats it, and it is no text."""
    whole = (folder / FILE).read_bytes()
    page = whole[:4096]
    names = [found.start() for found in re.finditer(rb"(table|index)(?=[a-z_]{4,})", page)]
    assert len(names) > 5
    for start in names:
        damaged = bytearray(whole)
        damaged[start + 5] ^= 1 << 7
        (folder / FILE).write_bytes(damaged)
        with pytest.raises(IndexStateError) as error:
            Collection.open(folder, bm25=True)
        assert len(error.value.args) == 2


# -- documents --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("using", [None, "bm25"])
@pytest.mark.parametrize(
    ("text", "at"),
    [("장마에는", 2), ('{"달": 7}', 2), ('{"달": 7}', 8), ('{"달": 7}', 0)],
    ids=["text", "key of metadata", "value of metadata", "no JSON"],
)
def test_a_flipped_bit_is_an_error_that_names_the_document(folder: Path, text: str, at: int, using: str | None) -> None:
    flip(folder / FILE, text, at=at)
    with Collection.open(folder, bm25=True) as collection:
        reads: list[Callable[[], Any]] = [
            collection.get,
            lambda: collection.get(["여름"]),
            lambda: collection.search("제습기"),
            lambda: collection.search_many(["제습기", "제습기를 켠다"]),
        ]
        for read in reads:
            with pytest.raises(IndexStateError, match="여름") as caught:
                read()
            assert len(caught.value.args) == 2
            assert all(str(folder / FILE) in message for message in caught.value.args)
        assert [document.id for document in collection.get(["겨울", "가을"])] == ["겨울", "가을"]
        assert collection.search("단풍")[0].id == "가을"
        collection.add([TEXTS[1]], ids=["여름"], metadata=[{"달": 7}])  # the remedy
        assert collection.search("제습기")[0].text == TEXTS[1]
        assert len(collection.get()) == 3


def test_bytes_that_are_no_text(folder: Path) -> None:
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content.replace("장마".encode(), b"\xff" * 6))
    with Collection.open(folder, bm25=True) as collection, pytest.raises(IndexStateError, match="여름"):
        collection.get(["여름"])


def test_a_document_under_the_key_of_another(folder: Path) -> None:
    """Rows that were exchanged: each is whole, and neither is in its place."""
    run(folder, "UPDATE documents SET key = -key; UPDATE documents SET key = (3 + key) % 3 + 1")
    with Collection.open(folder, bm25=True) as collection, pytest.raises(IndexStateError, match="가을"):
        collection.search("귤")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("legs", "{"),
        ("legs", "[" * 100_000),
        ("legs", json.dumps([])),
        ("legs", json.dumps({"bm25": {}})),
        ("legs", json.dumps({"bm25": {"codec": {"name": "postings", "version": "1"}, "settings": {}}})),
        ("legs", json.dumps({})),
        ("legs", b"\xff\xfe"),
        ("generation", '"7"'),
        ("generation", "7.5"),
        ("generation", "-1"),
        ("generation", b"\x07"),
        ("collection_id", "null"),
        ("collection_id", '"../../x"'),
    ],
)
def test_settings_that_are_not_ours(folder: Path, name: str, value: str | bytes) -> None:
    connection = sqlite3.connect(folder / FILE)
    with connection:
        connection.execute("UPDATE settings SET value = ? WHERE name = ?", (value, name))
    connection.close()
    refused(folder, f"{name}|is not complete")


@pytest.mark.parametrize(
    "settings",
    [
        None,
        3,
        {},
        {"tokenizer": 5},
        {"tokenizer": "bigram", "more": 1},
        {"tokenizer": "bigram", "codec": 1},
        {"tokenizer": "없는 것"},
    ],
)
def test_settings_of_a_leg_that_are_not_ours(folder: Path, settings: Any) -> None:
    entry = {"codec": {"name": "postings", "version": 1}, "settings": settings}
    connection = sqlite3.connect(folder / FILE)
    with connection:
        connection.execute("UPDATE settings SET value = ? WHERE name = 'legs'", (json.dumps({"bm25": entry}),))
    connection.close()
    with pytest.raises(IndexStateError, match="bm25") as caught:
        Collection.open(folder)
    assert len(caught.value.args) == 2


@pytest.mark.parametrize("name", ["legs", "generation", "collection_id"])
def test_settings_that_are_missing(folder: Path, name: str) -> None:
    run(folder, f"DELETE FROM settings WHERE name = '{name}'")  # noqa: S608
    refused(folder, f"{name}|is not complete")
