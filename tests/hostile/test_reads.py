"""A read returns documents of one moment, while threads and other processes replace the same documents for ever."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.errors import IndexStateError
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder

IDS = [f"조항 {number}" for number in range(12)]


def legs() -> dict[str, Any]:
    return {"encoders": [FakeDenseEncoder(), FakeMultiVectorEncoder(dim=8)], "bm25": True}


def replace(collection: Collection, version: int) -> None:
    """All documents in one commit. A third of them is in each 칸, and moves to the next with every version."""
    collection.add(
        [f"{id_}은 {version}번째로 고친 규정이다." for id_ in IDS],
        ids=IDS,
        metadata=[{"판": version, "칸": (number + version) % 3} for number in range(len(IDS))],
    )
    if version % 5 == 0:
        collection.compact()


def replace_for_ever(folder: str) -> None:
    """In a process of its own, until it is killed."""
    with Collection.open(folder, **legs()) as collection:
        for version in itertools.count(1):
            replace(collection, version)
            if version == 1:
                sys.stdout.write("ready\n")
                sys.stdout.flush()


# -- one read each ----------------------------------------------------------------------------------------


def _searched(**settings: Any) -> Callable[[Collection], list[Any]]:
    return lambda collection: collection.search("고친 규정이다", k=50, **settings)


def _diverse(collection: Collection) -> list[Any]:
    return collection.diversify(_searched()(collection), k=50, using="dense")


READS: dict[str, tuple[Callable[[Collection], list[Any]], int]] = {
    "dense": (_searched(using="dense"), 12),
    "colbert": (_searched(using="colbert"), 12),
    "bm25": (_searched(using="bm25"), 12),
    "hybrid": (_searched(), 12),
    "filter": (_searched(where={"칸": 1}), 4),
    "filter that moves": (_searched(using="dense", where={"칸": {"$in": [0, 2]}}), 8),
    "ids": (lambda collection: collection.get(IDS), 12),
    "all": (lambda collection: collection.get(), 12),
    "get with a filter": (lambda collection: collection.get(IDS, where={"칸": 2}), 4),
    "similarities": (_diverse, 12),
}


def problem(name: str, collection: Collection) -> str | None:
    """Reads once. Returns what is wrong with the answer."""
    read, expected = READS[name]
    found = read(collection)
    if len({document.id for document in found}) != len(found) or len(found) != expected:
        return f"{name}: {len(found)} documents instead of {expected}"
    versions = {document.metadata["판"] for document in found}
    if len(versions) > 1:
        return f"{name}: documents of the versions {sorted(versions)}"
    (version,) = versions
    if wrong := [found.text for found in found if found.text != f"{found.id}은 {version}번째로 고친 규정이다."]:
        return f"{name}: {wrong[0]!r} with the metadata of version {version}"
    if len(collection) != len(IDS):
        return f"len is {len(collection)}"
    return None


@contextmanager
def replacing_thread(collection: Collection) -> Iterator[None]:
    """Two of them: one replaces, one compacts."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for version in itertools.count(2):
                if stop.is_set():
                    return
                replace(collection, version)
        except BaseException as error:
            errors.append(error)

    def compact() -> None:
        try:
            while not stop.wait(0.02):
                collection.compact()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work), threading.Thread(target=compact)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive()
        assert errors == []


@contextmanager
def replacing_process(folder: Path) -> Iterator[None]:
    code = "import sys; sys.path[:0] = sys.argv[2:]; from test_reads import *; replace_for_ever(sys.argv[1])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder, str(Path(__file__).parent), *sys.path],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["memory", "folder"])
def test_while_a_thread_replaces_the_documents(hostile: Any, tmp_path: Path, place: str) -> None:
    made = Collection.open(tmp_path / "가", **legs()) if place == "folder" else Collection.in_memory(**legs())
    with made as collection:
        replace(collection, 1)
        with replacing_thread(collection):
            names = itertools.cycle(READS)
            for seed in hostile.tries(f"reads: a thread replaces, {place}", short=150, long=18_000):
                if what := problem(next(names), collection):
                    hostile.failed(seed, what)


@pytest.mark.slow
def test_while_another_process_replaces_the_documents(hostile: Any, tmp_path: Path) -> None:
    with replacing_process(tmp_path / "가"), Collection.open(tmp_path / "가", **legs()) as collection:
        names = itertools.cycle(READS)
        for seed in hostile.tries("reads: a process replaces", short=150, long=18_000):
            if what := problem(next(names), collection):
                hostile.failed(seed, what)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["memory", "folder"])
def test_many_threads_that_read_while_one_writes(hostile: Any, tmp_path: Path, place: str) -> None:
    made = Collection.open(tmp_path / "가", **legs()) if place == "folder" else Collection.in_memory(**legs())
    with made as collection:
        replace(collection, 1)
        seeds = hostile.tries(f"reads: 8 threads, {place}", short=160, long=6_400)
        names, turn = itertools.cycle(READS), threading.Lock()
        problems: list[tuple[int, str]] = []

        def work() -> None:
            while True:
                with turn:
                    seed, name = next(seeds, None), next(names)
                if seed is None:
                    return
                try:
                    what = problem(name, collection)
                except Exception as error:
                    what = repr(error)
                if what:
                    problems.append((seed, what))

        threads = [threading.Thread(target=work) for _ in range(8)]
        with replacing_thread(collection):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for seed, what in problems:
            hostile.failed(seed, what)


@pytest.mark.slow
def test_closing_at_any_moment(hostile: Any, tmp_path: Path) -> None:
    with Collection.open(tmp_path / "가", **legs()) as collection:
        replace(collection, 1)
    for seed in hostile.tries("reads: closed meanwhile", short=10, long=1_000):
        rng, collection = random.Random(seed), Collection.open(tmp_path / "가", **legs())
        problems: list[str] = []

        def work(collection: Collection = collection, problems: list[str] = problems) -> None:
            try:
                for name in itertools.cycle(READS):
                    if what := problem(name, collection):
                        problems.append(what)
            except IndexStateError as error:
                if "closed" not in str(error):
                    problems.append(str(error))
            except Exception as error:
                problems.append(repr(error))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0, 0.03))
        collection.close()
        for thread in threads:
            thread.join(timeout=60)
        for what in problems:
            hostile.failed(seed, what)


def held() -> tuple[int, int, int]:
    """Open files and mapped files of this process, and its memory in MB."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    handles = len(list(Path("/proc/self/fd").iterdir()))
    return handles, sum("/" in entry for entry in maps), pages * os.sysconf("SC_PAGE_SIZE") // 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_searches_leak_nothing(hostile: Any, tmp_path: Path) -> None:
    with Collection.open(tmp_path / "가", **legs()) as collection:
        seed, names, before = 0, itertools.cycle(READS), (0, 0, 0)
        for seed in hostile.tries("reads: leaks", short=400, long=20_000):
            if seed % 50 == 0:
                replace(collection, 1 + seed // 50)
            problem(next(names), collection)
            if seed == 300:  # by now, everything that is made once has been made
                collection.compact()
                before = held()
        collection.compact()
        after = held()
    if after[:2] != before[:2] or after[2] > before[2] + 32:
        hostile.failed(seed, f"{before} open files, mapped files and MB have become {after}")
