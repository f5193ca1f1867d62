"""Forks a process while its threads write to a collection and search it; the children do both too.

    python tests/fork_cases.py threads --seed 3 --folder DIR    # a collection in a folder
    python tests/fork_cases.py memory --seed 3                  # one in memory: each child has a copy
    python tests/fork_cases.py models                           # torch in the children
    python tests/fork_cases.py pool                             # multiprocessing, started by fork
    python tests/fork_cases.py inside                           # a fork in the middle of a read
    python tests/fork_cases.py readers                          # many threads read at once after a fork
    python tests/fork_cases.py killed                           # a child is killed while it makes a progress bar

Prints what was wrong, a line each; nothing if all is well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "core")]
os.environ["HF_HUB_OFFLINE"] = "1"

from korag import Collection, load_encoder  # noqa: E402 (the path above lets this run as a script)
from korag.errors import IndexStateError  # noqa: E402
from korag.testing import FakeDenseEncoder  # noqa: E402

PATIENCE = 60
"""Seconds after which a child hangs."""
problems: list[str] = []


def fork(run: Callable[[], object]) -> tuple[int, int]:
    """Runs a function in a child. Returns its id and a pipe with what it returns, or what went wrong, as JSON."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            answer = {"value": run()}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    return pid, reading


def result(child: tuple[int, int]) -> object:
    """Waits for a child."""
    pid, reading = child
    end = time.monotonic() + PATIENCE
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            problems.append("a child hangs")
            break
        time.sleep(0.01)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    answer = json.loads(text) if text else {}
    if "error" in answer:
        problems.append(f"in a child: {answer['error']}")
    return answer.get("value")


@contextlib.contextmanager
def threads(collection: Collection, acknowledged: list[str], seed: int) -> Iterator[None]:
    """Two threads add, delete and compact, two search, until the end."""
    stop = threading.Event()

    def repeat(step: Callable[[random.Random, int], None], number: int) -> None:
        rng = random.Random(seed * 10 + number)
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                step(rng, turn)
            except Exception as error:
                problems.append(f"in the parent: {type(error).__name__}: {error}")
                return

    def write(rng: random.Random, turn: int) -> None:
        ids = [f"부모{threading.get_ident()}-{turn}-{i}" for i in range(rng.randint(1, 30))]
        collection.add([f"글 {id_}" for id_ in ids], ids=ids)
        acknowledged.extend(ids)
        if rng.random() < 0.05:
            collection.compact()

    def search(rng: random.Random, turn: int) -> None:
        collection.search(f"글 {turn}", k=5, where={} if rng.random() < 0.5 else {"없음": None})
        collection.get(["처음"])

    running = [threading.Thread(target=repeat, args=(step, n)) for n, step in enumerate((write, write, search, search))]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join(PATIENCE)
            if thread.is_alive():
                problems.append("a thread of the parent hangs")


def use(collection: Collection, name: str, rng: random.Random) -> list[str]:
    """A child's own work. Returns the ids it has added."""
    added = []
    for turn in range(rng.randint(1, 4)):
        ids = [f"{name}-{turn}-{i}" for i in range(rng.randint(1, 40))]
        collection.add([f"글 {id_}" for id_ in ids], ids=ids)
        added += ids
        found = collection.search(f"글 {ids[0]}", k=3)
        if not found:
            raise AssertionError("a search finds nothing")
    if missing := set(added) - {document.id for document in collection.get(added)}:
        raise AssertionError(f"{len(missing)} documents are missing")
    return added


def with_threads(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    encoders = [FakeDenseEncoder()]
    acknowledged = ["처음"]
    with Collection.open(folder / "글", encoders=encoders, bm25=True) as collection:
        collection.add(["처음 글"], ids=["처음"])
        with threads(collection, acknowledged, seed):
            for number in range(4):
                children = []
                for other in range(rng.randint(1, 3)):
                    time.sleep(rng.random() * 0.05)
                    name, own = f"아이{number}-{other}", random.Random(rng.random())
                    children.append(fork(lambda name=name, own=own: use(collection, name, own)))
                for child in children:
                    acknowledged += result(child) or []
        here = {document.id for document in collection.get()}
    with Collection.open(folder / "글", encoders=encoders) as collection:
        there = {document.id for document in collection.get()}
        collection.search("글", k=len(acknowledged) + 1)
    for name, found in (("the parent", here), ("a new process", there)):
        if lost := set(acknowledged) - found:
            problems.append(f"{len(lost)} of {len(acknowledged)} documents are lost in {name}: {sorted(lost)[:3]}")


def in_memory(seed: int) -> None:
    rng = random.Random(seed)
    acknowledged = ["처음"]
    with Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True) as collection:
        collection.add(["처음 글"], ids=["처음"])
        with threads(collection, acknowledged, seed):
            for number in range(4):
                time.sleep(rng.random() * 0.05)
                before, own = list(acknowledged), random.Random(rng.random())

                def child(number: int = number, before: list[str] = before, own: random.Random = own) -> bool:
                    use(collection, f"아이{number}", own)
                    return set(before) <= {document.id for document in collection.get()}

                if result(fork(child)) is False:
                    problems.append("a child's copy lacks documents")
        found = {document.id for document in collection.get()}
    if found != set(acknowledged):
        problems.append(f"the parent's collection differs: {sorted(found ^ set(acknowledged))[:3]}")


def models() -> None:
    """Searches and adds in children, as in a web server that loads an application and then forks its workers."""
    encoders = [load_encoder(name, device="cpu") for name in ("mini-dense", "mini-splade", "mini-colbert")]
    texts = [f"{number}번 창구에서 전입 신고를 받습니다. " * (1 + number % 5) for number in range(60)]
    with tempfile.TemporaryDirectory() as folder, Collection.open(folder, encoders=encoders, bm25=True) as collection:
        collection.add(texts, ids=[str(number) for number in range(60)])
        expected = [hit.id for hit in collection.search("전입 신고", k=5)]

        def child(number: int) -> list[str]:
            found = [hit.id for hit in collection.search("전입 신고", k=5)]
            collection.add(texts[:30], ids=[f"{number}-{i}" for i in range(30)])
            return found

        children = [fork(lambda number=number: child(number)) for number in range(2)]
        problems.extend("a child finds other documents" for found in map(result, children) if found != expected)
        if len(collection) != 120:
            problems.append(f"{len(collection)} documents instead of 120")


_shared: Collection


def _in_pool(number: int) -> int:
    return len(use(_shared, f"일꾼{number}", random.Random(number)))


def pool() -> None:
    global _shared
    with tempfile.TemporaryDirectory() as folder:
        _shared = Collection.open(folder, encoders=[FakeDenseEncoder()], bm25=True)
        _shared.add(["처음 글"])
        with multiprocessing.get_context("fork").Pool(3) as processes:
            added = processes.map_async(_in_pool, range(9)).get(PATIENCE)
        if len(_shared) != 1 + sum(added):
            problems.append(f"{len(_shared)} documents instead of {1 + sum(added)}")
        _shared.close()


def inside() -> None:
    """Nothing else could be right here than an error: the child has the connection that the parent reads by."""
    with tempfile.TemporaryDirectory() as folder, Collection.open(folder, bm25=True) as collection:
        collection.add(["처음 글"], ids=["처음"])

        def child() -> str:
            try:
                collection.add(["글"])
            except IndexStateError as error:
                return str(error)
            return "added"

        with collection._database.reading():
            answer = str(result(fork(child)))
        if "fork" not in answer:
            problems.append(answer)
        collection.add(["글"], ids=["둘"])
        if len(collection) != 2:
            problems.append("the parent's collection is not as before")


def readers() -> None:
    """All of them find the collection's connections closed by the fork."""
    with tempfile.TemporaryDirectory() as folder, Collection.open(folder, bm25=True) as collection:
        collection.add(["처음 글"], ids=["처음"])
        for _ in range(5):
            result(fork(lambda: None))
            together = threading.Barrier(40)

            def read(together: threading.Barrier = together) -> None:
                together.wait()
                collection.get(["처음"])

            running = [threading.Thread(target=read, daemon=True) for _ in range(40)]
            for thread in running:
                thread.start()
            end = time.monotonic() + PATIENCE
            for thread in running:
                thread.join(max(0, end - time.monotonic()))
            if hanging := sum(thread.is_alive() for thread in running):
                sys.stdout.write(f"{hanging} readers hang\n")
                sys.stdout.flush()
                os._exit(0)  # nothing could be closed


def killed() -> None:
    """tqdm's lock is the child's for ever."""
    from tqdm.auto import tqdm

    lock = tqdm.get_lock()

    def child() -> None:
        lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    pid, reading = fork(child)
    os.close(reading)
    os.waitpid(pid, 0)

    def work() -> None:
        encoder = load_encoder("mini-dense")
        with Collection.in_memory(encoders=[encoder], bm25=True) as collection:
            collection.add(["처음 글", "둘째 글"])
            collection.add_stream([("셋째", "셋째 글")])
            done.append(len(collection.search("글")))

    done: list[int] = []
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    sys.stdout.write("" if done == [3] else f"hangs or failed: {done}\n")
    sys.stdout.flush()
    os._exit(0)  # it would wait for the lock at the end


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=("threads", "memory", "models", "pool", "inside", "readers", "killed"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        {
            "threads": lambda: with_threads(options.seed, folder),
            "memory": lambda: in_memory(options.seed),
            "models": models,
            "pool": pool,
            "inside": inside,
            "readers": readers,
            "killed": killed,
        }[options.case]()
    sys.stdout.writelines(f"{problem}\n" for problem in problems)


if __name__ == "__main__":
    main()
