"""Lets the disk become full at random in the middle of an operation, then frees it and repeats the operation.

    python tests/full_disk_cases.py DIR --first 0 --count 20           # files can only grow so far (EFBIG)
    unshare -m python tests/full_disk_cases.py DIR --count 20 --mount  # a file system of 6 MB (ENOSPC)

Prints what was wrong, a line each, with the seed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "core")]
os.environ["HF_HUB_OFFLINE"] = "1"

from korag import Collection  # noqa: E402 (the path above lets this run as a script)
from korag.errors import StorageFullError  # noqa: E402
from korag.storage import atomic_folder, write_text  # noqa: E402
from korag.testing import FakeDenseEncoder  # noqa: E402

ENCODERS = [FakeDenseEncoder()]
Documents = dict[str, str]


def opened(folder: Path) -> Collection:
    return Collection.open(folder, encoders=ENCODERS, bm25=True)


def content(folder: Path) -> Documents:
    with opened(folder) as collection:
        found = {document.id: document.text + document.metadata.get("덧글", "") for document in collection.get()}
        collection.search("글", k=3)
        return found


def leftovers(place: Path) -> list[str]:
    """Files that an operation leaves behind, other than SQLite's own."""
    found = [path.name for path in place.rglob("*") if ".tmp" in path.name or path.name.endswith(".old")]
    for database in place.rglob("korag.sqlite3"):
        with opened(database.parent) as collection:
            named = {info.name for info in collection._database.segments()}
        segments = database.parent / "segments"
        found += [path.name for path in segments.iterdir() if path.name not in named] if segments.exists() else []
    return found


@contextlib.contextmanager
def limited_files(place: Path, rng: random.Random) -> Iterator[None]:
    """No file can grow beyond some size."""
    largest = max((path.stat().st_size for path in place.rglob("*") if path.is_file()), default=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest * rng.random() * 1.2), resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextlib.contextmanager
def full_disk(place: Path, rng: random.Random) -> Iterator[None]:
    """The file system has some space left, and no more."""
    ballast = place / "ballast"
    free = shutil.disk_usage(place).free
    left = int(free * rng.random() ** 3)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - left))
    try:
        yield
    finally:
        ballast.unlink()


def attempt(
    seed: int, place: Path, limit: Callable[[Path, random.Random], contextlib.AbstractContextManager[None]]
) -> str:
    """Returns what was wrong."""
    rng = random.Random(seed)
    folder, copy, other = place / "글", place / "사본", place / "다른 것"
    texts = {f"{i}": f"글 {i} " * rng.randint(1, 60) for i in range(rng.randint(1, 60))}
    with opened(folder) as collection:
        for start in range(0, len(texts), 20):
            ids = list(texts)[start : start + 20]
            collection.add([texts[id_] for id_ in ids], ids=ids)
    new = {f"{i}": f"새 글 {i} " * rng.randint(1, 200) for i in range(rng.randint(0, 30), rng.randint(40, 200))}
    with opened(other) as collection:
        collection.add(["다른 글"], ids=["다른"])
    operation = rng.choice(["add", "metadata", "delete", "compact", "save", "save over", "new", "text", "folder"])

    note = "덧글" * rng.randint(1, 2_000)

    def run() -> None:
        if operation == "add":
            with opened(folder) as collection:
                collection.add(list(new.values()), ids=list(new))
        elif operation == "metadata":
            with opened(folder) as collection:
                collection.update_metadata(list(texts), {"덧글": note})
        elif operation == "delete":
            with opened(folder) as collection:
                collection.delete(list(texts)[::2])
        elif operation == "compact":
            with opened(folder) as collection:
                collection.compact()
        elif operation == "save":
            with opened(folder) as collection:
                collection.save(copy)
        elif operation == "save over":
            with opened(folder) as collection:
                collection.save(other, overwrite=True)
        elif operation == "new":
            with Collection.in_memory(encoders=ENCODERS, bm25=True) as collection:
                collection.add(list(new.values()), ids=list(new))
                collection.save(copy)
        elif operation == "text":
            write_text(place / "보고.json", "글" * 100_000)
        else:
            with atomic_folder(copy) as unfinished:
                (unfinished / "가중치").write_bytes(bytes(300_000))

    changed = {
        "add": texts | new,
        "metadata": {id_: text + note for id_, text in texts.items()},
        "delete": {id_: texts[id_] for id_ in list(texts)[1::2]},
    }
    after = changed.get(operation, texts)
    failed = False
    try:
        with limit(place, rng):
            try:
                run()
            except StorageFullError as error:
                failed = len(error.args) == 2
    except Exception as error:
        return f"{operation}: {type(error).__name__}: {error}"
    if failed:
        if (found := content(folder)) != texts:
            return f"{operation}: the collection has changed ({len(found)} documents, {len(texts)} before)"
        if content(other) != {"다른": "다른 글"}:
            return f"{operation}: the other collection has changed"
        if copy.exists() or (place / "보고.json").exists():
            return f"{operation}: half a result"
        if left := leftovers(place):
            return f"{operation}: left behind: {left}"
        run()
    if content(folder) != after:
        return f"{operation}: wrong afterwards"
    if left := leftovers(place):
        return f"{operation}: left behind after success: {left}"
    COUNTS[failed] += 1
    return ""


COUNTS = {True: 0, False: 0}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--mount", action="store_true")
    options = parser.parse_args()
    if options.mount:
        mount = shutil.which("mount") or "mount"
        subprocess.run([mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", options.folder], check=True)
    for seed in range(options.first, options.first + options.count):
        place = options.folder / str(seed)
        place.mkdir()
        problem = attempt(seed, place, full_disk if options.mount else limited_files)
        shutil.rmtree(place, ignore_errors=True)
        if problem:
            sys.stdout.write(f"seed {seed}: {' '.join(problem.split())}\n")
    sys.stderr.write(f"{COUNTS[True]} failed as they must, {COUNTS[False]} had space enough\n")


if __name__ == "__main__":
    main()
