"""Damages a collection's folder in a way drawn from a seed, uses it, and reports what was neither right nor refused.

    python tests/hostile/tampering.py FOLDER SEED...     # prints a line of JSON before and after each seed

Run in a process of its own by ``test_tampered_collections.py``, so that a crash or a hang is a finding.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import random
import shutil
import sqlite3
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "core")]

import numpy as np  # noqa: E402 (the path above lets this run as a script)

from korag import Collection  # noqa: E402
from korag.collection.local.blocks import TABLE, make_table  # noqa: E402
from korag.errors import KoragError  # noqa: E402
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder  # noqa: E402

FILE = "korag.sqlite3"
SUBJECTS = ["감자", "우체국", "자전거", "세탁소", "은행나무", "수영장", "약국", "기차표"]
PLACES = ["시장 골목에서 판다", "아침 아홉 시에 연다", "비가 오면 쉰다", "예약해야 한다"]
DOCUMENTS = [
    (f"{subject} {number}", f"{subject}은 {place}.", {"번호": number, "곳": {"이름": place, "층": [number % 3, None]}})
    for number, (subject, place) in enumerate((subject, place) for subject in SUBJECTS for place in PLACES[:2])
]
NEW = ("새것", "도서관은 예약해야 한다.", {"번호": 99})
GONE = "감자 0"
QUERIES = ["감자 시장", "예약 없이 쉬는 날", "기차표"]
HUGE = [2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -1, -(2**63), 0, 1]
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63 - 1,
    2**70,
    1.5,
    "",
    "글",
    "1",
    "../../x",
    [],
    {},
    [1],
    {"a": 1},
    "\x00",
    "가" * 9_999,
]


def encoders() -> list[Any]:
    return [FakeDenseEncoder(dim=16), FakeMultiVectorEncoder(dim=8), FakeSparseEncoder(dim=512)]


ENCODERS = encoders()


def reopen(folder: Path) -> Collection:
    return Collection.open(folder, encoders=ENCODERS, bm25=True, timeout=2)


def make(folder: Path, *, documents: list[Any] = DOCUMENTS) -> Path:
    """A collection of several segments, with a replaced, a deleted and an empty document."""
    with reopen(folder) as collection:
        for start in range(0, len(documents), 6):
            ids, texts, metadata = zip(*documents[start : start + 6], strict=True)
            collection.add(texts, ids=ids, metadata=metadata)
        collection.add(["", "먼저 적은 글", "지울 글"], ids=["빈 글", "바꿀 글", "지울 글"])
        collection.add(["나중에 적은 글"], ids=["바꿀 글"], metadata=[{"번호": -1}])
        collection.delete(["지울 글"])
    return folder


# -- using a collection -----------------------------------------------------------------------------------


def reads(collection: Collection) -> dict[str, Callable[[], Any]]:
    """Whatever answers questions, by name."""
    found: dict[str, Callable[[], Any]] = {
        "get": collection.get,
        "get ids": lambda: collection.get(["바꿀 글", GONE, "빈 글", "없는 글"]),
        "len": lambda: len(collection),
        "similar": lambda: collection.diversify(collection.search(QUERIES[0], k=9), k=3),
        "vector": lambda: collection.search_by_vector([1.0] * 16, k=2),
    }
    for leg in (*collection.legs, "hybrid"):
        for exact in (True, False):
            found[f"{leg} {exact}"] = lambda leg=leg, exact=exact: collection.search_many(
                QUERIES, k=2, using=leg, exact=exact
            )
    return found


def filtered(collection: Collection) -> Any:
    return collection.search("예약", k=20, where={"번호": {"$gte": 4}}), collection.get(where={"곳.층": 1})


def plain(answer: Any) -> Any:
    """An answer as values that compare."""
    if isinstance(answer, list | tuple):
        return [plain(part) for part in answer]
    return answer if isinstance(answer, int) else sorted(vars(answer).items(), key=lambda item: item[0])


class Expected:
    """The right answers, before and after each of the changes that a try makes."""

    def __init__(self, base: Path, scratch: Path) -> None:
        self._answers: dict[tuple[bool, bool], dict[str, Any]] = {}
        for added in (False, True):
            for deleted in (False, True):
                folder = Path(shutil.copytree(base, scratch / f"expected {added} {deleted}"))
                with reopen(folder) as collection:
                    if added:
                        add(collection)
                    if deleted:
                        collection.delete([GONE])
                    answers = {name: plain(read()) for name, read in reads(collection).items()}
                    self._answers[added, deleted] = answers | {"filtered": plain(filtered(collection))}

    def of(self, name: str, *, added: bool, deleted: bool) -> Any:
        return self._answers[added, deleted][name]


def add(collection: Collection) -> None:
    collection.add([NEW[1]], ids=[NEW[0]], metadata=[NEW[2]])


class Try:
    """Uses one damaged folder. Each step is right, or refused by an error of ours; anything else is a failure."""

    def __init__(self, folder: Path, expected: Expected, *, values: bool, filters: bool) -> None:
        self._folder = folder
        self._expected = expected
        self._compares_values = values
        self._compares_filters = filters
        self.added = self.deleted = False
        self.failures: list[str] = []
        self.refused = 0

    def run(self) -> None:
        self._step("verify", lambda: Collection.verify(self._folder))
        self._use()
        self._use(changes=False)  # what the first use has left is no worse
        self._step("upgrade", lambda: Collection.upgrade(self._folder))

    def _use(self, *, changes: bool = True) -> None:
        collection = self._step("open", lambda: reopen(self._folder))
        if collection is None:
            return
        with collection:
            self._read(collection)
            if changes:
                self.added = self._step("add", lambda: add(collection) or True) is not None
                self._read(collection)
                self.deleted = self._step("delete", lambda: collection.delete([GONE])) is not None
                self._step("compact", lambda: collection.compact() or True)
                self._read(collection)
                self._step("save", lambda: collection.save(self._folder.with_name("copy"), overwrite=True))
                shutil.rmtree(self._folder.with_name("copy"), ignore_errors=True)

    def _read(self, collection: Collection) -> None:
        for name, read in reads(collection).items():
            self._compare(name, self._step(name, read), compares=self._compares_values)
        self._compare("filtered", self._step("filtered", lambda: filtered(collection)), compares=self._compares_filters)

    def _compare(self, name: str, answer: Any, *, compares: bool) -> None:
        if answer is None:
            return
        if compares and plain(answer) != self._expected.of(name, added=self.added, deleted=self.deleted):
            self.failures.append(f"{name}: a wrong answer without an error: {plain(answer)!r:.300}")
        for hits in answer if name.split()[0] in ("hybrid", "dense", "colbert", "sparse", "bm25") else ():
            scores = [hit.score for hit in hits]
            if not all(map(math.isfinite, scores)) or scores != sorted(scores, reverse=True):
                self.failures.append(f"{name}: scores {scores}")

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except KoragError as error:
            self.refused += 1
            if len(error.args) < 2 or not all(isinstance(message, str) and message for message in error.args[:2]):
                self.failures.append(f"{name}: not in two languages: {error.args!r:.200}")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.failures.append(
                f"{name}: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            )
        return None


# -- damaging it ------------------------------------------------------------------------------------------


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").iterdir())


def run(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / FILE)
    with connection:
        connection.execute(statement, values)
    connection.close()


def flip(folder: Path, rng: random.Random) -> None:
    path = rng.choice(files(folder))
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def flip_database(folder: Path, rng: random.Random) -> None:
    content = bytearray((folder / FILE).read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (folder / FILE).write_bytes(content)


def truncate(folder: Path, rng: random.Random) -> None:
    path = rng.choice(files(folder))
    os.truncate(path, rng.choice((0, 1, 7, 8, 100, rng.randrange(path.stat().st_size), path.stat().st_size - 1)))


def overwrite(folder: Path, rng: random.Random) -> None:
    path = rng.choice(files(folder))
    content = bytearray(path.read_bytes())
    length = rng.choice((1, 8, 100, 512, 4096))
    start = rng.randrange(len(content))
    end = min(start + length, len(content))
    content[start:end] = rng.choice((bytes(end - start), b"\xff" * (end - start), rng.randbytes(end - start)))
    path.write_bytes(content)


def append(folder: Path, rng: random.Random) -> None:
    with rng.choice(files(folder)).open("ab") as file:
        file.write(rng.randbytes(rng.choice((1, 8, 4096))))


def remove(folder: Path, rng: random.Random) -> None:
    path = rng.choice([*files(folder), folder / "segments"])
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def exchange_segments(folder: Path, rng: random.Random) -> None:
    one, other = rng.sample(segments(folder), 2)
    shutil.move(one, folder / "x")
    shutil.move(other, one)
    shutil.move(folder / "x", other)


def take_from_another(folder: Path, rng: random.Random) -> None:
    """The database, or a segment, of a collection with the same legs."""
    other = folder.parent / "other"
    if rng.random() < 0.5:
        shutil.copy(other / FILE, folder / FILE)
    else:
        shutil.copy(rng.choice(segments(other)), rng.choice(segments(folder)))


def odd_json(rng: random.Random) -> str:
    deep = rng.choice((200, 2_000, 200_000))
    return rng.choice(
        (
            "",
            "{",
            "nul",
            "NaN",
            "Infinity",
            "[" * deep,
            '{"a":' * deep,
            "9" * 5_000,
            '"\\ud800"',
            json.dumps(rng.choice(ODD)),
        )
    )


def mutate(value: Any, rng: random.Random) -> Any:
    """A JSON value with something in it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {key: own for key, own in value.items() if key != name}
        if rng.random() < 0.1:
            return value | {rng.choice(("more", "", "trust_remote_code", "codec", "가")): rng.choice(ODD)}
        return value | {name: mutate(value[name], rng)}
    if isinstance(value, str) and value and rng.random() < 0.3:
        at = rng.randrange(len(value))
        return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
    return rng.choice(ODD)


def change_setting(folder: Path, rng: random.Random) -> None:
    connection = sqlite3.connect(folder / FILE)
    rows = dict(connection.execute("SELECT name, value FROM settings"))
    connection.close()
    name = rng.choice(sorted(rows))
    drawn = rng.random()
    if drawn < 0.15:
        run(folder, "DELETE FROM settings WHERE name = ?", name)
        return
    if drawn < 0.3:
        value: Any = rng.choice((odd_json(rng), odd_json(rng).encode(), rng.randbytes(9), b"\xff\xfe", 7, -3, 1.5))
    else:
        changed = mutate(json.loads(rows[name]), rng)
        value = json.dumps(changed, ensure_ascii=False)
    run(folder, "UPDATE settings SET value = ? WHERE name = ?", value, name)


def change_generation(folder: Path, rng: random.Random) -> None:
    run(folder, "UPDATE settings SET value = ? WHERE name = 'generation'", json.dumps(rng.choice((*HUGE, 10**30))))


def change_cell(folder: Path, rng: random.Random) -> None:
    """One value of a table, set past its declared type. A key or an id that is another is another document."""
    table, column = rng.choice(
        [("documents", "text"), ("documents", "metadata"), ("documents", "checksum"), ("segments", "name"),
         ("segments", "size"), ("segments", "checksum"), ("segments", "rows"), ("sqlite_sequence", "seq"),
         ("changes", "generation"), ("changes", "deleted"), ("changes", "changed")]
    )  # fmt: skip
    value = rng.choice((*HUGE, 1.5, "", "글", "../x", "{", "[[", b"", b"\xff\xfe", rng.randbytes(20), odd_json(rng)))
    at = rng.randrange(4)
    order = "name" if table in ("segments", "sqlite_sequence") else "key" if table == "documents" else "generation"
    keyed = f"{order} = (SELECT {order} FROM {table} ORDER BY {order} LIMIT 1 OFFSET {at})"  # noqa: S608
    try:
        run(folder, f"UPDATE {table} SET {column} = ? WHERE {keyed}", value)  # noqa: S608
    except (sqlite3.Error, OverflowError):
        run(folder, f"UPDATE {table} SET {column} = 0 WHERE {keyed}")  # noqa: S608


def add_to_schema(folder: Path, rng: random.Random) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x FROM n"
    script = rng.choice(
        [
            "CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM documents; END",
            "CREATE TRIGGER t BEFORE UPDATE ON settings BEGIN DELETE FROM segments; END",
            "CREATE INDEX i ON documents (upper(metadata))",
            f"CREATE VIEW v AS {endless}",
            f"ALTER TABLE settings RENAME TO s; CREATE VIEW settings AS {endless}",
            f"ALTER TABLE segments RENAME TO s; CREATE VIEW segments AS {endless}",
            "ALTER TABLE documents ADD COLUMN more AS (length(text) * 1000)",
            "CREATE TABLE other (x)",
            "DROP TABLE changes",
            "PRAGMA user_version = 3",
            "PRAGMA user_version = 2",
            "PRAGMA application_id = 0",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA auto_vacuum = FULL; VACUUM",
            "PRAGMA page_size = 512; PRAGMA journal_mode = DELETE; VACUUM",
        ]
    )
    connection = sqlite3.connect(folder / FILE)
    connection.executescript(script)
    connection.close()


def rewrite_segment(folder: Path, change: Callable[[bytes], bytes], rng: random.Random) -> None:
    """Changes a segment, and what the database records of it: as older formats do, or the checksums of its blocks."""
    path = rng.choice(segments(folder))
    content = change(path.read_bytes())
    content, checksum = with_checksums(content) if rng.random() < 0.8 else (content, zlib.crc32(content))
    path.write_bytes(content)
    run(folder, "UPDATE segments SET size = ?, checksum = ? WHERE name = ?", len(content), checksum, path.name)


def with_checksums(content: bytes) -> tuple[bytes, int]:
    """Makes the checksums of a segment's blocks fit, as far as its header can be read; and the one to record."""
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:start])
        spans = sorted(entry["data_offsets"] for name, entry in header.items() if name not in ("__metadata__", TABLE))
        table = make_table(np.frombuffer(content, np.uint8)[start + begin : start + end] for begin, end in spans)
        content = content[: -len(table)] + table
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        table = content[-4 * (int.from_bytes(content[-4:], "little") + 1) :]
    return content, zlib.crc32(table, zlib.crc32(content[:start]))


def change_header(folder: Path, rng: random.Random) -> None:
    def change(content: bytes) -> bytes:
        length = int.from_bytes(content[:8], "little")
        if rng.random() < 0.15:
            return rng.choice((*(abs(n) for n in HUGE), length + 8, length - 8)).to_bytes(8, "little") + content[8:]
        header = json.loads(content[8 : 8 + length])
        name = rng.choice(sorted(header))
        entry = header[name]
        drawn = rng.random()
        if name == "__metadata__":
            leg = rng.choice(sorted(entry))
            entry[leg] = rng.choice((odd_json(rng), json.dumps(mutate(json.loads(entry[leg]), rng))))
        elif drawn < 0.3:
            entry["shape"] = rng.choice(
                (
                    [*entry["shape"], 1],
                    entry["shape"][::-1],
                    entry["shape"][:-1],
                    [rng.choice(HUGE)],
                    [2**32, 2**32],
                    [1] * 70,
                )
            )
        elif drawn < 0.5:
            entry["dtype"] = rng.choice(
                ("F32", "I32", "U32", "F16", "BF16", "I8", "U8", "BOOL", "I64", "U64", "F64", "F8_E4M3", "X")
            )
        elif drawn < 0.7:
            entry["data_offsets"] = [rng.choice((*HUGE, own, own + 1, own + 8)) for own in entry["data_offsets"]]
        elif drawn < 0.85:
            header[rng.choice(("keys", "dense.more", "bm25", "dense.", ".x", "other.vectors"))] = header.pop(name)
        else:
            header.pop(name)
        text = json.dumps(header).encode()
        if rng.random() < 0.2:
            text = odd_json(rng).encode("utf-8", "surrogatepass")
        text += b" " * (-len(text) % 8 if rng.random() < 0.8 else 3)
        return len(text).to_bytes(8, "little") + text + content[8 + length :]

    rewrite_segment(folder, change, rng)


def change_arrays(folder: Path, rng: random.Random) -> None:
    def change(content: bytes) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        changed = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 5))):
            entry = header[rng.choice(sorted(name for name in header if name != "__metadata__"))]
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            size = int(entry["dtype"].strip("FUI")) // 8
            if end == start:
                continue
            at = rng.choice((start, end - size, start + size * rng.randrange((end - start) // size)))
            odd = [
                0,
                1,
                -1,
                2,
                7,
                100,
                2**15,
                2**31 - 1,
                2**40,
                2**62,
                2**63 - 1,
                -(2**63),
                0x7FC00000,
                0x7F800000,
                0x7C00,
                0x7E00,
            ]
            own = int.from_bytes(changed[at : at + size], "little")
            value = rng.choice(
                (*odd, own + 1, own - 1, own ^ (1 << rng.randrange(8 * size)), rng.getrandbits(8 * size))
            )
            changed[at : at + size] = (value % (1 << (8 * size))).to_bytes(size, "little")
        return bytes(changed)

    rewrite_segment(folder, change, rng)


def change_kind(folder: Path, rng: random.Random) -> None:
    """A file that is a pipe, a device, a folder, a link, empty, or not readable as what it should be."""
    names = [
        *(str(path.relative_to(folder)) for path in files(folder)),
        f"{FILE}-wal",
        f"{FILE}-shm",
        f"{FILE}-journal",
        "segments",
    ]
    path = folder / rng.choice(names)
    original = folder.with_name("original")
    if path.is_dir():
        shutil.move(path, original)
    elif path.exists():
        shutil.copy(path, original)
        path.unlink()
    else:
        original.write_bytes(rng.randbytes(5_000))
    kind = rng.choice(
        ("pipe", "device", "folder", "link", "dangling link", "link to itself", "empty", "text", "garbage")
    )
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device" and os.geteuid() == 0:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, rng.choice((3, 5, 9))))  # /dev/null, zero, urandom
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(original)
    elif kind == "dangling link":
        path.symlink_to(folder.with_name("nowhere"))
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "text":
        path.write_text("이것은 컬렉션이 아니다.")
    elif kind == "garbage":
        path.write_bytes(rng.randbytes(10_000))
    else:
        path.touch()


def add_logs(folder: Path, rng: random.Random) -> None:
    """A log, journal or index that is none. (SQLite cannot tell a log of another database from its own.)"""
    content = rng.choice((b"", rng.randbytes(100), rng.randbytes(9_000), bytes(4_096)))
    start = rng.choice((b"", bytes.fromhex("377f0682"), bytes.fromhex("d9d505f920a163d7")))  # as a log and a journal do
    (folder / f"{FILE}-{rng.choice(('wal', 'journal', 'shm'))}").write_bytes(start + content)


WAYS: list[tuple[Callable[[Path, random.Random], None], bool, bool]] = [
    # A way, whether answers must then be right, and those of filters. Array values that are as good as others give
    # other scores; and a filter reads metadata without their checksum.
    (flip, True, False),
    (flip_database, True, False),
    (truncate, True, True),
    (overwrite, True, False),
    (append, True, True),
    (remove, True, True),
    (exchange_segments, True, True),
    (take_from_another, True, True),
    (change_setting, True, True),
    (change_generation, True, True),
    (change_cell, True, False),
    (add_to_schema, True, True),
    (change_header, False, False),
    (change_arrays, False, False),
    (change_kind, True, True),
    (add_logs, True, True),
]


def attempt(seed: int, scratch: Path, expected: Expected) -> dict[str, Any]:
    rng = random.Random(seed)
    way, values, filters = WAYS[seed % len(WAYS)]
    place = scratch / "try"
    shutil.rmtree(place, ignore_errors=True)
    folder = Path(shutil.copytree(scratch / "base", place / "색인"))
    shutil.copytree(scratch / "another", place / "other")
    way(folder, rng)
    tried = Try(folder, expected, values=values, filters=filters)
    tried.run()
    return {"done": seed, "way": way.__name__, "refused": tried.refused, "failures": tried.failures}


def main() -> None:
    faulthandler.enable()
    scratch, seeds = Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]]
    shutil.rmtree(scratch, ignore_errors=True)
    make(scratch / "base")
    make(scratch / "another", documents=[(f"다른 {id_}", f"다른 {text}", fields) for id_, text, fields in DOCUMENTS])
    expected = Expected(scratch / "base", scratch)
    for seed in seeds:
        sys.stdout.write(json.dumps({"begun": seed, "way": WAYS[seed % len(WAYS)][0].__name__}) + "\n")
        sys.stdout.flush()
        sys.stdout.write(json.dumps(attempt(seed, scratch, expected), ensure_ascii=False) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
