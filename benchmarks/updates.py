"""Small changes to a large collection, and searching while it is compacted.

    python benchmarks/updates.py --json docs/performance/updates.json
    python benchmarks/updates.py --documents 1000000 --dim 64 --repeats 5

Vectors are random and made beforehand, so that nothing is encoded; BM25 splits at spaces. Searches are by the dense
leg; those with a filter find a tenth of the documents. The longest search while a compaction runs is compared with the
longest one before it, in the same process.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from _common import machine_facts, publish, results
from _vectors import Floats, LookupEncoder

from korag import Collection
from korag.checkpoints.presets import Family
from korag.scoring import unit_rows

SOME = 1_000
"""Documents that are changed together."""
TENTH = {"끝": 3}
"""A filter that finds one in ten."""
WORDS = np.array([a + b for a in "가나다라마바사아자차카타파하" for b in "각난달람맙삿앙잦찾칵탄팔함"])


class Directions(LookupEncoder[Floats]):
    """A random unit vector per text, by the number it begins with.

    Args:
        count: Number of vectors.
        dim: Their size.
    """

    family: ClassVar[Family] = "dense"

    def __init__(self, count: int, dim: int) -> None:
        super().__init__(dim, "cosine")
        self._vectors = unit_rows(np.random.default_rng(0).standard_normal((count, dim), np.float32))

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Floats:
        """Shape: (n, dim)."""
        return self._vectors[[int(text.split()[0]) % len(self._vectors) for text in texts]]

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Floats:
        """Shape: (n, dim)."""
        return self.encode_documents(texts)


def split(text: str) -> list[str]:
    """Splits at spaces: the time of a tokenizer is of no interest here."""
    return text.split()


def add(collection: Collection, numbers: range) -> None:
    """Adds documents."""
    metadata = [{"수": number, "끝": number % 10} for number in numbers]
    collection.add(map(text_of, numbers), ids=list(map(str, numbers)), metadata=metadata, show_progress=False)


def text_of(number: int) -> str:
    """The text of a document: its number and 100 words."""
    return f"{number} " + " ".join(np.random.default_rng(number).choice(WORDS, 100))


def took(function: Callable[..., object], *arguments: Any, **keywords: Any) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    function(*arguments, **keywords)
    return time.perf_counter() - started


class Searching:
    """Searches in a thread until the block ends.

    Attributes:
        seconds: Of each search.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection, self._stop = collection, threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.seconds: list[float] = []

    def _work(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            self.seconds.append(took(self._collection.search, str(number), using="dense"))

    def __enter__(self) -> Searching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> None:
    """Measures changes, then a compaction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    facts = machine_facts("numba")
    vectors = Directions(min(options.documents, 100_000), options.dim)  # more documents share them
    settings: dict[str, Any] = {"encoders": [vectors], "bm25": True}
    with tempfile.TemporaryDirectory() as folder:
        with Collection.open(folder, tokenizer=split, **settings) as collection:
            for first in range(0, options.documents, SOME * 20):
                add(collection, range(first, min(first + SOME * 20, options.documents)))
        started = time.perf_counter()
        with Collection.open(folder, tokenizer=split, **settings) as collection:
            opened = time.perf_counter() - started
            searched = took(collection.search, "0", using="dense")
            filtered = took(collection.search, "0", using="dense", where=TENTH)
            rows = changes(collection, options.repeats) + many(collection, options.repeats)
            ratio, notes = compaction(collection)
    title = f"Changes to {options.documents:,} documents"
    tables = {title: rows, f"Compaction of {options.documents:,} documents": ratio}
    notes += [
        f"Opened in {opened * 1e3:.0f} ms. The first search of a process, which compiles its kernels, reads all keys "
        f"and verifies what it reads: {searched * 1e3:.0f} ms; the first with a filter, which SQLite "
        f"evaluates on every document: {filtered * 1e3:.0f} ms."
    ]
    publish(results(facts, tables, notes=notes), options.json)


def changes(collection: Collection, repeats: int) -> list[dict[str, object]]:
    """Times single changes, and the first search after each."""
    last = len(collection)
    seconds: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[..., object], *arguments: Any, **keywords: Any) -> None:
        seconds.setdefault(name, []).append(took(function, *arguments, **keywords))

    for turn in range(repeats):
        collection.search("7", using="dense")
        timed("search", collection.search, "7", using="dense")
        timed("get of one id", collection.get, [str(turn)])
        timed("get of one id with a filter", collection.get, [str(turn)], where={"수": turn})
        timed("add of one document", collection.add, [text_of(last + turn)], ids=[f"새 {turn}"])
        timed("first search after an add", collection.search, "7", using="dense")
        timed("replacement of one document", collection.add, [text_of(turn)], ids=[str(turn)])
        timed("first search after a replacement", collection.search, "7", using="dense")
        timed("delete of one id", collection.delete, [f"새 {turn}"])
        timed("first search after a delete", collection.search, "7", using="dense")
        timed("len", len, collection)
    return [
        {"call": name, "median, ms": statistics.median(own) * 1e3, "longest, ms": max(own) * 1e3}
        for name, own in seconds.items()
    ]


def many(collection: Collection, repeats: int) -> list[dict[str, object]]:
    """Times changes of `SOME` documents, and the first search after each, with and without a filter."""
    last, draw = len(collection), np.random.default_rng(0)
    seconds: dict[str, list[float]] = {}
    for turn in range(repeats):
        drawn = [str(number) for number in draw.choice(last // 2, SOME, replace=False)]
        new = range(2 * last + turn * SOME, 2 * last + (turn + 1) * SOME)
        for name, change in (
            (f"add of {SOME:,} documents", lambda new=new: add(collection, new)),
            (
                f"update_metadata of {SOME:,}",
                lambda ids=drawn, turn=turn: collection.update_metadata(ids, {"차례": turn}),
            ),
            (f"delete of {SOME:,} ids", lambda new=new: collection.delete([str(number) for number in new])),
        ):
            seconds.setdefault(name, []).append(took(change))
            for after, where in (("first search after it", None), ("first search with a filter after it", TENTH)):
                own = took(collection.search, "7", using="dense", where=where)
                seconds.setdefault(f"{after} ({name})", []).append(own)
    return [
        {"call": name, "median, ms": statistics.median(own) * 1e3, "longest, ms": max(own) * 1e3}
        for name, own in seconds.items()
    ]


def compaction(collection: Collection) -> tuple[list[dict[str, object]], list[str]]:
    """Times searches alone and while all segments are rewritten."""
    with Searching(collection) as alone:
        time.sleep(3)
    collection.delete(where={"수": {"$lt": len(collection) // 20}})
    collection.search("7", using="dense")
    with Searching(collection) as meanwhile:
        whole = took(collection.compact)
        time.sleep(0.2)
    rows: list[dict[str, object]] = [
        {
            "searches": name,
            "number": len(own.seconds),
            "median, ms": statistics.median(own.seconds) * 1e3,
            "longest, ms": max(own.seconds) * 1e3,
        }
        for name, own in (("alone", alone), ("during a compaction", meanwhile))
    ]
    return rows, [f"The compaction took {whole:.1f} s."]


if __name__ == "__main__":
    main()
