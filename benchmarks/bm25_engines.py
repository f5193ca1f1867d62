"""Three BM25 engines on the same tokens: SQLite FTS5, bm25s, and postings in numpy segments.

    python benchmarks/bm25_engines.py --corpus ../shared/data/text/statute_articles.parquet
    python benchmarks/bm25_engines.py --eval ../shared/data/eval/tydiqa-goldp-ko    # quality

The corpus is a parquet file with the columns ``law``, ``title`` and ``text``; each query asks for an article
by the name of its law and its title. Indexes lie on disk in a temporary folder. A change is timed
until it is written (not synced) and one search has answered from it. Needs ``pip install bm25s pyarrow``.
"""

from __future__ import annotations

import argparse
import random
import re
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import bm25s
import numpy as np
import pyarrow.parquet as pq
from bm25_quality import load, ndcg

from korag.lexical import resolve_tokenizer

K1, B = 1.2, 0.75  # FTS5 has them built in
Tokens = Sequence[Sequence[str]]


class Engine(Protocol):
    """What is compared. Documents are numbered in the order they are added."""

    def add(self, documents: Tokens) -> None: ...  # noqa: D102
    def delete(self, rows: Sequence[int]) -> None: ...  # noqa: D102
    def search(self, query: Sequence[str], k: int) -> list[int]: ...  # noqa: D102


class FTS5:
    """Pre-tokenised text in an FTS5 table; the query is an OR of quoted tokens.

    A token is written so that FTS5's ``ascii`` tokenizer keeps it whole: that one takes ASCII letters and
    digits and everything outside ASCII for token characters, and folds ASCII capitals. Other ASCII characters
    move to the private use area, and what was there already is marked with U+E080: no two tokens become one.
    """

    _unsafe = re.compile("[\x00-/:-`{-\x7f\ue000-\ue080]")

    def __init__(self, folder: Path, *, stored: bool = True) -> None:
        self.stored = stored
        self.rows = 0
        self.kept: list[str] = []  # a contentless table needs the old text to delete a row
        self.db = sqlite3.connect(folder / "fts5.sqlite", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        content = "" if stored else ", content=''"
        self.db.execute(f"CREATE VIRTUAL TABLE bm25 USING fts5(tokens, tokenize='ascii'{content})")

    def _safe(self, token: str) -> str:
        if token.isalnum() and (token.islower() or not token.isascii() or token.isdigit()):
            return token  # almost every token, at the cost of two looks at it
        return self._unsafe.sub(self._move, token)

    @staticmethod
    def _move(match: re.Match[str]) -> str:
        code = ord(match.group())
        return chr(0xE000 + code) if code < 0x80 else "\ue080" + match.group()

    def add(self, documents: Tokens) -> None:
        """One transaction."""
        texts = [" ".join(map(self._safe, tokens)) for tokens in documents]
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("INSERT INTO bm25(rowid, tokens) VALUES (?, ?)", enumerate(texts, self.rows + 1))
        self.db.execute("COMMIT")
        self.rows += len(texts)
        if not self.stored:
            self.kept += texts

    def delete(self, rows: Sequence[int]) -> None:
        """One transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        if self.stored:
            self.db.executemany("DELETE FROM bm25 WHERE rowid = ?", [(row + 1,) for row in rows])
        else:
            old = [(row + 1, self.kept[row]) for row in rows]
            self.db.executemany("INSERT INTO bm25(bm25, rowid, tokens) VALUES ('delete', ?, ?)", old)
        self.db.execute("COMMIT")

    def search(self, query: Sequence[str], k: int) -> list[int]:
        """The best rows, best first."""
        match = " OR ".join(f'"{self._safe(token)}"' for token in dict.fromkeys(query))
        if not match:
            return []
        found = self.db.execute("SELECT rowid FROM bm25 WHERE bm25 MATCH ? ORDER BY rank LIMIT ?", (match, k))
        return [row - 1 for (row,) in found]


class BM25S:
    """The bm25s package: scores are computed when the index is built, so each change builds it anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vocabulary = _vocabulary()
        self.documents: list[Any] = []
        self.live: list[int] = []

    def add(self, documents: Tokens) -> None:
        """Rebuilds and saves."""
        self.live += range(len(self.documents), len(self.documents) + len(documents))
        self.documents += [np.array([self.vocabulary[t] for t in tokens], np.int32) for tokens in documents]
        self._build()

    def delete(self, rows: Sequence[int]) -> None:
        """Rebuilds and saves."""
        gone = set(rows)
        self.live = [row for row in self.live if row not in gone]
        self._build()

    def _build(self) -> None:
        corpus = [self.documents[row].tolist() for row in self.live]
        self.index = bm25s.BM25(k1=K1, b=B)
        self.index.index((corpus, dict(self.vocabulary)), show_progress=False)
        self.index.save(str(self.folder / "bm25s"), show_progress=False)

    def search(self, query: Sequence[str], k: int) -> list[int]:
        """The best rows, best first."""
        tokens = [token for token in dict.fromkeys(query) if token in self.vocabulary]
        if not tokens:
            return []
        found = self.index.retrieve([tokens], k=min(k, len(self.live)), show_progress=False)
        return [
            self.live[row]
            for row, score in zip(found.documents[0], found.scores[0], strict=True)
            if score > 0
        ]


class Postings:
    """Immutable segments of term frequencies by term; BM25 at query time over the live documents.

    A change writes one small segment, or marks documents as gone; nothing else is touched. Document
    frequencies and the mean length are those of the live documents: scores are what a fresh build would give.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: list[dict[str, Any]] = []
        self.rows = 0

    def add(self, documents: Tokens) -> None:
        """Writes one segment and opens it memory-mapped."""
        vocabulary = _vocabulary()
        lengths = np.array([len(tokens) for tokens in documents], np.int32)
        terms = np.fromiter(
            map(vocabulary.__getitem__, chain.from_iterable(documents)), np.int64, lengths.sum()
        )
        keys = terms * len(lengths) + np.repeat(np.arange(len(lengths)), lengths)
        keys, counts = np.unique(keys, return_counts=True)
        starts = np.searchsorted(keys, np.arange(len(vocabulary) + 1) * len(lengths))
        path = self.folder / f"postings-{len(self.segments)}"
        path.mkdir()
        arrays = {
            "documents": (keys % len(lengths)).astype(np.int32),
            "counts": counts.clip(max=65535).astype(np.uint16),
            "starts": starts,
            "lengths": lengths,
        }
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
        (path / "terms.txt").write_text("\n".join(vocabulary), encoding="utf-8")
        segment: dict[str, Any] = {
            name: np.asarray(np.load(path / f"{name}.npy", mmap_mode="r")) for name in arrays
        }
        segment |= {"vocabulary": dict(vocabulary), "first": self.rows, "live": None}
        self.segments.append(segment)
        self.rows += len(lengths)

    def delete(self, rows: Sequence[int]) -> None:
        """Writes one bit per document of the segments concerned."""
        for number, segment in enumerate(self.segments):
            inside = np.array(rows) - segment["first"]
            inside = inside[(inside >= 0) & (inside < len(segment["lengths"]))]
            if len(inside):
                live = np.ones(len(segment["lengths"]), bool) if segment["live"] is None else segment["live"]
                live[inside] = False
                segment["live"] = live
                np.save(self.folder / f"postings-{number}" / "live.npy", np.packbits(live))

    def search(self, query: Sequence[str], k: int) -> list[int]:
        """The best rows, best first; ties go to the older document."""
        tokens = list(dict.fromkeys(query))
        if not tokens:
            return []
        lengths = [s["lengths"] if s["live"] is None else s["lengths"][s["live"]] for s in self.segments]
        total = sum(map(len, lengths))
        mean = sum(int(part.sum()) for part in lengths) / max(total, 1)
        found = [self._found(segment, tokens) for segment in self.segments]
        df = np.sum([[len(documents) for documents, _ in part] for part in found], axis=0)
        weights = np.log(1 + (total - df + 0.5) / (df + 0.5)) * (K1 + 1)
        scores = []
        for segment, part in zip(self.segments, found, strict=True):
            documents = np.concatenate([documents for documents, _ in part])
            frequency = np.concatenate([counts for _, counts in part])
            weight = np.repeat(weights, [len(documents) for documents, _ in part])
            norms = K1 * (1 - B + B / mean * segment["lengths"])
            impact = weight * frequency / (frequency + norms[documents])
            scores.append(np.bincount(documents, impact, len(norms)))
        return _top(np.concatenate(scores), k)

    @staticmethod
    def _found(segment: dict[str, Any], tokens: Sequence[str]) -> list[tuple[Any, Any]]:
        """The live documents and the counts of every token."""
        starts, live = segment["starts"], segment["live"]
        found = []
        for token in tokens:
            column = segment["vocabulary"].get(token)
            part = slice(0, 0) if column is None else slice(starts[column], starts[column + 1])
            documents, counts = segment["documents"][part], segment["counts"][part]
            if live is not None:
                alive = live[documents]
                documents, counts = documents[alive], counts[alive]
            found.append((documents, counts))
        return found


def _top(scores: Any, k: int) -> list[int]:
    if len(scores) > k:  # the k-th best score bounds what has to be sorted
        bound = np.partition(scores, -k)[-k]
        rows = np.flatnonzero(scores >= max(bound, np.finfo(np.float32).tiny))
    else:
        rows = np.flatnonzero(scores > 0)
    return [int(row) for row in rows[np.argsort(-scores[rows], kind="stable")][:k]]


def _vocabulary() -> defaultdict[str, int]:
    """Numbers tokens in the order they come."""
    vocabulary: defaultdict[str, int] = defaultdict()
    vocabulary.default_factory = vocabulary.__len__
    return vocabulary


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "FTS5": FTS5,
    "FTS5, contentless": lambda folder: FTS5(folder, stored=False),
    "bm25s": BM25S,
    "postings": Postings,
}


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _speed(name: str, documents: Tokens, more: Tokens, queries: Tokens) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        engine = ENGINES[name](folder)
        build = _timed(lambda: engine.add(documents))
        if isinstance(engine, FTS5):
            engine.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        engine.search(queries[0], 10)
        times = [_timed(partial(engine.search, query, 10)) for query in queries]
        gone = random.Random(0).sample(range(len(documents)), 100)  # noqa: S311
        add = _timed(lambda: (engine.add(more), engine.search(queries[0], 10)))
        delete = _timed(lambda: (engine.delete(gone), engine.search(queries[0], 10)))
        after = [_timed(partial(engine.search, query, 10)) for query in queries]
    cells = [
        f"{len(documents):,}",
        name,
        *(f"{np.percentile(times, share) * 1e3:.1f}" for share in (50, 95)),
        f"{np.median(after) * 1e3:.1f}",
        f"{build:.1f}",
        f"{add * 1e3:,.0f}",
        f"{delete * 1e3:,.0f}",
        f"{size / 2**20:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _batches(texts: Sequence[str], size: int = 2000) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def _tokenised(tokenizer: Any, texts: Sequence[str]) -> list[list[str]]:
    """Equal tokens are one object here: 25 million separate strings would fill the memory."""
    known: dict[str, str] = {}
    tokens: Iterable[list[str]] = chain.from_iterable(map(tokenizer, _batches(texts)))
    return [[known.setdefault(token, token) for token in document] for document in tokens]


def main() -> None:
    """Prints the table of speed and, with ``--eval``, that of quality."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--eval", nargs="+", type=Path, default=[], metavar="FOLDER")
    parser.add_argument("--tokenizers", nargs="+", default=["bigram"], help="bigram, kiwi")
    arguments = parser.parse_args()
    for choice in arguments.tokenizers if arguments.eval else []:
        tokenizer = resolve_tokenizer(choice)
        print("| data | tokenizer | engine | nDCG@10 |\n|---|---|---|---:|")
        for data in map(load, arguments.eval):
            documents, queries = tokenizer(data.documents), tokenizer(data.queries)
            for name in arguments.engines:
                with tempfile.TemporaryDirectory() as scratch:
                    engine = ENGINES[name](Path(scratch))
                    engine.add(documents)
                    found = [engine.search(query, 10) for query in queries]
                scores = [
                    ndcg([data.document_ids[row] for row in rows], data.relevant[query])
                    for rows, query in zip(found, data.query_ids, strict=True)
                ]
                print(f"| {data.name} | {choice} | {name} | {np.mean(scores):.4f} |", flush=True)
        print()
    if not arguments.corpus:
        return
    table = pq.read_table(arguments.corpus, columns=["law", "title", "text"]).to_pylist()
    random.Random(0).shuffle(table)  # noqa: S311
    table = table[: max(arguments.sizes) + 1000]
    asked = [
        f"{row['law']}에서 '{row['title']}'에 대해 규정한 조문은 무엇인가요?"
        for row in table[: arguments.queries]
    ]
    for choice in arguments.tokenizers:
        tokenizer = resolve_tokenizer(choice)
        tokens, queries = _tokenised(tokenizer, [row["text"] for row in table]), tokenizer(asked)
        distinct = np.mean([len(set(query)) for query in queries])
        print(f"{choice}: {np.mean(list(map(len, tokens))):.0f} tokens a document, {distinct:.0f} a query\n")
        print(
            "| documents | engine | search p50 ms | p95 ms | p50 after changes | build s "
            "| add 1,000 ms | delete 100 ms | index MiB |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|"
        )
        for size in arguments.sizes:
            for name in arguments.engines:
                print(_speed(name, tokens[:size], tokens[size : size + 1000], queries), flush=True)
        print()


if __name__ == "__main__":
    main()
