"""Load on `korag serve`, on this machine: queries a second, and how long each takes, while documents are added.

    python benchmarks/serving.py
    python benchmarks/serving.py --legs bm25 --documents 20000 --seconds 30

Every document has a number of its own, and every query asks for one by it, so each answer can be checked: the document
asked for must come first. Another process than the server's adds documents meanwhile, and those are asked for from the
moment on that `add` has returned. In the end, all that were added are asked for once more. Clients share the cores with
the server, so figures are those of a machine that does both.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from _common import machine_facts, publish, results

from korag import Collection

THINGS = ("우산", "장갑", "지갑", "열쇠", "안경", "목도리", "수첩", "가방", "시계", "모자")
PLACES = ("도서관 일층", "강당 입구", "체육관 앞", "식당 창가", "주차장 옆", "회의실 책상", "복도 끝", "매점 계산대")
BATCH = 16
"""Documents that are added together."""


def text_of(number: int) -> str:
    """A document: something found, somewhere, with a number."""
    thing, place = THINGS[number % len(THINGS)], PLACES[number // len(THINGS) % len(PLACES)]
    return f"분실물 제{number}호. {place}에서 발견한 {thing}이다. 주인은 신분증을 가지고 관리실로 오기 바란다."


@dataclass
class Load:
    """The requests of clients, and what came of them.

    Attributes:
        seconds: Of each request.
        wrong: Answers without the document asked for in the first place.
        failed: Requests without an answer.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    failed: int = 0


class Client:
    """A connection that asks for documents by their numbers."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def asks(self, number: int, load: Load) -> None:
        """Asks for a document, and records what came of it."""
        body = json.dumps({"query": f"분실물 제{number}호", "k": 5, "text": False})
        began = time.perf_counter()
        self._connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        found = json.loads(answer.read())
        load.seconds.append(time.perf_counter() - began)
        if answer.status != 200:
            load.failed += 1
        elif not found["hits"] or found["hits"][0]["id"] != str(number):
            load.wrong += 1


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """Runs the command; gives its port."""
    command = [sys.executable, "-m", "korag", "serve", str(folder), "--port", "0", "--max-rate", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline() if process.stdout is not None else ""
        if (match := re.search(r":(\d+) ", said)) is None:
            raise SystemExit("korag serve has not started")
        yield int(match[1])
    finally:
        process.terminate()
        process.wait()


class Writer:
    """Adds documents until it is told to stop.

    Args:
        collection: The folder, opened in this process.
        documents: Documents in it.
    """

    def __init__(self, collection: Collection, documents: int) -> None:
        self._collection, self._stop = collection, Event()
        self.known = self._first = documents
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            numbers = range(self.known, self.known + BATCH)
            self._collection.add(map(text_of, numbers), ids=list(map(str, numbers)), show_progress=False)
            self.known += BATCH
            time.sleep(0.2)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Adds documents inside the ``with`` block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    @property
    def added(self) -> range:
        """The numbers of what was added."""
        return range(self._first, self.known)


def run_clients(port: int, clients: int, seconds: float, writer: Writer) -> Load:
    """Asks for documents with so many clients at a time."""
    loads = [Load() for _ in range(clients)]
    until = time.monotonic() + seconds

    def run(load: Load, seed: int) -> None:
        client, choice = Client(port), random.Random(seed)  # noqa: S311 (not a secret)
        while time.monotonic() < until:
            client.asks(choice.randrange(writer.known), load)

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(run, load, seed) for seed, load in enumerate(loads)]:
            done.result()
    return Load(
        [each for load in loads for each in load.seconds],
        sum(load.wrong for load in loads),
        sum(load.failed for load in loads),
    )


def percentile(seconds: list[float], share: float) -> float:
    """Milliseconds that this share of requests takes at most."""
    return 1_000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2_000, help="in the beginning")
    parser.add_argument("--legs", nargs="+", default=["mini-dense", "bm25"])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=15, help="per number of clients")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    machine = machine_facts("fastapi", "uvicorn")
    models = [leg for leg in options.legs if leg != "bm25"]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        with Collection.open(folder, encoders=models or None, bm25="bm25" in options.legs) as collection:
            numbers = range(options.documents)
            collection.add(map(text_of, numbers), ids=list(map(str, numbers)))
            alone = []
            for number in random.Random(0).sample(numbers, 50):  # noqa: S311
                began = time.perf_counter()
                collection.search(f"분실물 제{number}호", k=5)
                alone.append(time.perf_counter() - began)
            writer = Writer(collection, options.documents)
            with served(folder) as port:
                run_clients(port, 1, 1.0, writer)  # warm-up
                with writer.writing():
                    for clients in options.clients:
                        load = run_clients(port, clients, options.seconds, writer)
                        rows.append(
                            {
                                "clients": clients,
                                "queries/s": round(len(load.seconds) / options.seconds, 1),
                                "p50 ms": round(percentile(load.seconds, 0.5), 1),
                                "p95 ms": round(percentile(load.seconds, 0.95), 1),
                                "requests": len(load.seconds),
                                "wrong": load.wrong,
                                "failed": load.failed,
                                "documents": writer.known,
                            }
                        )
                last = Load()
                client = Client(port)
                for number in writer.added:
                    client.asks(number, last)
    notes = (
        f"Without a server, one search took {1_000 * statistics.median(alone):.1f} ms (median of 50).",
        f"{len(writer.added):,} documents were added meanwhile; afterwards {last.wrong + last.failed} of them were "
        "not found by their numbers.",
    )
    publish(results(machine, {"korag serve": rows}, notes=notes), options.json)


if __name__ == "__main__":
    main()
