"""The tables of a collection's database, and checks of a file that may come from anywhere.

A database can hold views, triggers and expressions, which SQLite would run when a table is read or written. So a file
is used only if its schema is, statement by statement, one that KoRAG makes.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from functools import cache
from pathlib import Path

_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,  -- insertion order; never used twice
    id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL
);
CREATE TABLE segments (name TEXT PRIMARY KEY, size INTEGER, checksum INTEGER, rows INTEGER) WITHOUT ROWID;
"""
"""Of formats 2 and 3."""
_FORMAT_4 = (
    "ALTER TABLE documents ADD COLUMN checksum INTEGER",  # NULL where an older format stored the document
    "CREATE TABLE changes (generation INTEGER PRIMARY KEY, deleted TEXT NOT NULL)",
)
"""Makes of it the schema of format 4."""
_FORMAT_5 = (
    "DROP TABLE changes",
    "CREATE TABLE changes (generation INTEGER PRIMARY KEY, deleted BLOB NOT NULL, changed BLOB NOT NULL)",
)
"""Makes of that the schema of format 5."""
WITH_CHECKSUMS = 4
WITH_CHANGES = 5
WHOLE_UP_TO = 32 * 2**20
"""Size of a file whose indexes are compared with its tables, too, when it is opened."""
PAGES_UP_TO = 128 * 2**20
"""Size of a file whose pages are all checked when it is opened, in half a second. Of a larger one, those of the small
tables are. SQLite finds a damaged page when it reads it, and each document has a checksum."""

_LIMITS = {sqlite3.SQLITE_LIMIT_ATTACHED: 0, sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1}
_checked: set[tuple[int, ...]] = set()
"""Files checked by this process, as they were."""


def harden(connection: sqlite3.Connection) -> None:
    """Makes a connection distrust what the file says: its schema, and its pages."""
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # noqa: FBT003 (positional only)
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    # A text that is no UTF-8 is found by its checksum, with the document's id; sqlite3 would name neither.
    connection.text_factory = _decode


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables, inside a transaction."""
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    raise_format(connection, 0)


def raise_format(connection: sqlite3.Connection, version: int) -> None:
    """Makes of the tables of an older format those of the current one, inside a transaction."""
    for statement in (*(_FORMAT_4 if version < WITH_CHECKSUMS else ()), *(_FORMAT_5 if version < WITH_CHANGES else ())):
        connection.execute(statement)


def find_foreign(connection: sqlite3.Connection, version: int) -> str | None:
    """Compares the schema with that of a format.

    Args:
        connection: To the file.
        version: Its format.

    Returns:
        What is not as KoRAG makes it, in a few words; None if all is.
    """
    found, expected = _read(connection), _expected(version)
    if found == expected:
        return None
    return ", ".join(sorted({f"{kind} {name:.40}" for kind, name, *_ in found ^ expected}))


def find_damage(connection: sqlite3.Connection, path: Path) -> str | None:
    """Checks the pages of a file, once as long as it stays as it is; those of documents only up to `PAGES_UP_TO`.

    Returns:
        The first thing found, in SQLite's words; None if there is nothing.
    """
    status = path.stat()
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if state in _checked:
        return None
    checks = ["integrity_check(1)" if status.st_size <= WHOLE_UP_TO else "quick_check(1)"]
    if status.st_size > PAGES_UP_TO:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'documents'")
        checks = [f"quick_check({name})" for (name,) in tables.fetchall()]  # of names that are ours
    for check in checks:
        result = connection.execute(f"PRAGMA {check}").fetchone()[0]
        if result != "ok":
            return str(result)
    _checked.add(state)
    return None


def _read(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return {(str(kind), str(name), str(table), _normalized(str(sql))) for kind, name, table, sql in rows}


@cache
def _expected(version: int) -> set[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        for since, statements in ((WITH_CHECKSUMS, _FORMAT_4), (WITH_CHANGES, _FORMAT_5)):
            for statement in statements if version >= since else ():
                connection.execute(statement)
        return _read(connection)


def _normalized(sql: str) -> str:
    """A statement without its comments and layout."""
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(re.sub(r"--.*", "", sql).split()))
