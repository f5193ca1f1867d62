"""A collection that is only readable here, such as on a read-only mount, while another process writes to it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pytest

from korag import Collection
from korag.collection.local import merging
from korag.testing import FakeDenseEncoder

if TYPE_CHECKING:
    from conftest import Hostile

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions as of POSIX")

READER = """
import os, sys
sys.path[:0] = sys.argv[2:]
from korag import Collection
from korag.errors import KoragError
from korag.testing import FakeDenseEncoder
warm = Collection.in_memory(encoders=[FakeDenseEncoder()])  # imports all there is, while it can be read
warm.add(["글"]); warm.search("글"); warm.get()
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)  # nobody
print("ready", flush=True)

def state(collection):
    hits = [hit.text for hit in collection.search("글", k=99)]
    stored = [document.text for document in collection.get()]
    by_id = collection.get([document.id for document in collection.get()])
    return sorted(hits), sorted(stored), sorted(document.text for document in by_id), len(collection)

for line in sys.stdin:
    command = line.strip()
    try:
        if command == "open":
            collection = Collection.open(sys.argv[1], encoders=[FakeDenseEncoder()])
            print("opened", flush=True)
        elif command == "state":
            print(*state(collection), sep="|", flush=True)
        elif command == "write":
            collection.add(["글"])
            print("written", flush=True)
        elif command.startswith("watch"):
            # Documents are only replaced meanwhile: their number stays.
            want, rounds = map(int, command.split()[1:])
            seen = set()
            for _ in range(rounds):
                hits = collection.search("글", k=99)
                stored = collection.get()
                assert len(hits) == len(stored) == len(collection) == want, (len(hits), len(stored))
                for hit in hits:
                    assert hit.text.split()[1] == hit.id, hit
                seen |= {document.text for document in stored}
            print("watched", len(seen), flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\\n", " / "), flush=True)
"""


class Reader:
    """A process that has the collection open and may only read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, folder, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.hear() == "ready"
        if os.getuid() != 0:  # whose folder it is, cannot be another user
            folder.chmod(0o555)
        assert self.ask("open") == "opened"
        folder.chmod(0o755)

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate(timeout=60)


def opened(folder: Path) -> Collection:
    return Collection.open(folder, encoders=[FakeDenseEncoder()])


def state(collection: Collection) -> str:
    stored = sorted(document.text for document in collection.get())
    return "|".join(map(str, (stored, stored, stored, len(stored))))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can read; pytest's own are closed to them."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    with opened(place / "규정") as collection:
        collection.add([f"글 {n} 판0" for n in range(5)], ids=[str(n) for n in range(5)])
    yield place / "규정"
    shutil.rmtree(place)


@pytest.fixture(autouse=True)
def merges_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "TIER", 3)


def test_a_view_sees_every_commit_of_a_writer_elsewhere(folder: Path, hostile: Hostile) -> None:
    """The writer comes and goes; SQLite has a log to read only while one is there."""
    with Reader(folder) as reader:
        writer: Collection | None = None
        for seed in hostile.tries("views of a folder written to elsewhere", short=40, long=1_500):
            rng = random.Random(seed)
            if writer is None:
                writer = opened(folder)
            ids = [document.id for document in writer.get()]
            match rng.choice(["add", "add", "replace", "delete", "compact", "checkpoint"]):
                case "add":
                    writer.add([f"글 {seed} 판0"], ids=[str(seed + 10)])
                case "replace" if ids:
                    id_ = rng.choice(ids)
                    writer.add([f"글 {id_} 판{seed}"], ids=[id_])
                case "delete" if len(ids) > 20:
                    writer.delete(rng.sample(ids, 10))
                case "compact":
                    writer.compact()
                case "checkpoint":
                    writer._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            expected = state(writer)
            if rng.random() < 0.4:
                writer.close()
                writer = None
            if (found := reader.ask("state")) != expected:
                hostile.failed(seed, f"{found[:300]} instead of {expected[:300]}")
        if writer is not None:
            writer.close()
        assert reader.ask("write").startswith("ReadOnlyError")


def test_a_view_read_while_documents_are_replaced(folder: Path, hostile: Hostile) -> None:
    with Reader(folder) as reader:
        for seed in hostile.tries("views read while they change", short=2, long=60):
            reader.tell("watch 5 40")
            rng = random.Random(seed)
            for n in range(30):
                with opened(folder) as writer:
                    for _ in range(rng.randint(1, 3)):
                        id_ = str(rng.randrange(5))
                        writer.add([f"글 {id_} 판{seed}.{n}"], ids=[id_])
            if not (answer := reader.hear()).startswith("watched"):
                hostile.failed(seed, answer[:300])
