"""BM25 engines on the same tokens: SQLite FTS5, bm25s, and KoRAG's postings.

    python benchmarks/bm25_engines.py --corpus path/to/statute_articles.parquet
    python benchmarks/bm25_engines.py --eval path/to/tydiqa-goldp-ko    # quality

The corpus is a parquet file with the columns ``law``, ``title`` and ``text``; each query asks for an article by its law
and title. Indexes are on disk in a temporary folder. The time of a change includes writing it and a search that sees
it. Needs ``pip install bm25s`` and ``korag[eval]``.
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

from korag import Collection
from korag.analysis.tokenizers import resolve_tokenizer
from korag.evaluation import load_dataset, score_rankings

K1, B = 1.2, 0.75  # FTS5 has them built in
Tokens = Sequence[Sequence[str]]


class Engine(Protocol):
    """A BM25 engine. Documents are numbered in insertion order."""

    def add(self, documents: Tokens) -> None: ...  # noqa: D102
    def delete(self, rows: Sequence[int]) -> None: ...  # noqa: D102
    def search(self, query: Sequence[str], k: int) -> list[int]: ...  # noqa: D102


class FTS5:
    """Pre-tokenised text in an FTS5 table; the query is an OR of quoted tokens.

    Tokens are escaped so that FTS5's ``ascii`` tokenizer keeps them whole: it treats ASCII letters, digits and all
    non-ASCII characters as token characters, and folds ASCII case. Other ASCII characters are mapped to the private use
    area, and characters of that area are marked with U+E080, so that distinct tokens stay distinct.
    """

    _unsafe = re.compile("[\x00-/:-`{-\x7f\ue000-\ue080]")

    def __init__(self, folder: Path, *, stored: bool = True) -> None:
        self.stored = stored
        self.rows = 0
        self.kept: list[str] = []  # a contentless table needs the text to delete a row
        self.db = sqlite3.connect(folder / "fts5.sqlite", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        content = "" if stored else ", content=''"
        self.db.execute(f"CREATE VIRTUAL TABLE bm25 USING fts5(tokens, tokenize='ascii'{content})")

    def _safe(self, token: str) -> str:
        if token.isalnum() and (token.islower() or not token.isascii() or token.isdigit()):
            return token  # the fast path, for almost every token
        return self._unsafe.sub(self._move, token)

    @staticmethod
    def _move(match: re.Match[str]) -> str:
        code = ord(match.group())
        return chr(0xE000 + code) if code < 0x80 else "\ue080" + match.group()

    def add(self, documents: Tokens) -> None:
        """In a transaction."""
        texts = [" ".join(map(self._safe, tokens)) for tokens in documents]
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("INSERT INTO bm25(rowid, tokens) VALUES (?, ?)", enumerate(texts, self.rows + 1))
        self.db.execute("COMMIT")
        self.rows += len(texts)
        if not self.stored:
            self.kept += texts

    def delete(self, rows: Sequence[int]) -> None:
        """In a transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        if self.stored:
            self.db.executemany("DELETE FROM bm25 WHERE rowid = ?", [(row + 1,) for row in rows])
        else:
            old = [(row + 1, self.kept[row]) for row in rows]
            self.db.executemany("INSERT INTO bm25(bm25, rowid, tokens) VALUES ('delete', ?, ?)", old)
        self.db.execute("COMMIT")

    def search(self, query: Sequence[str], k: int) -> list[int]:
        """Returns the best rows, best first."""
        match = " OR ".join(f'"{self._safe(token)}"' for token in dict.fromkeys(query))
        if not match:
            return []
        found = self.db.execute("SELECT rowid FROM bm25 WHERE bm25 MATCH ? ORDER BY rank LIMIT ?", (match, k))
        return [row - 1 for (row,) in found]


class BM25S:
    """The bm25s package: scores are precomputed, so each change rebuilds the index."""

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
        """Returns the best rows, best first."""
        tokens = [token for token in dict.fromkeys(query) if token in self.vocabulary]
        if not tokens:
            return []
        found = self.index.retrieve([tokens], k=min(k, len(self.live)), show_progress=False)
        return [self.live[row] for row, score in zip(found.documents[0], found.scores[0], strict=True) if score > 0]


class KoRAG:
    """A KoRAG collection with a BM25 leg; also stores the texts, and syncs every change to disk."""

    def __init__(self, folder: Path) -> None:
        self.collection = Collection.open(folder / "korag", bm25=True, tokenizer=split)
        self.rows = 0

    def add(self, documents: Tokens) -> None:
        """Joins tokens for `split`, the tokenizer."""
        texts = ["\n".join(tokens) for tokens in documents]
        self.collection.add(texts, ids=[str(row) for row in range(self.rows, self.rows + len(texts))])
        self.rows += len(texts)

    def delete(self, rows: Sequence[int]) -> None:
        """By id."""
        self.collection.delete([str(row) for row in rows])

    def search(self, query: Sequence[str], k: int) -> list[int]:
        """Returns the best rows, best first."""
        return [int(hit.id) for hit in self.collection.search("\n".join(query), k=k)]


def split(text: str) -> list[str]:
    """Returns the tokens joined by `KoRAG.add`."""
    return text.split("\n")


def _vocabulary() -> defaultdict[str, int]:
    """Numbers tokens by first occurrence."""
    vocabulary: defaultdict[str, int] = defaultdict()
    vocabulary.default_factory = vocabulary.__len__
    return vocabulary


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "FTS5": FTS5,
    "FTS5, contentless": lambda folder: FTS5(folder, stored=False),
    "bm25s": BM25S,
    "KoRAG": KoRAG,
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
        add = _timed(partial(engine.add, more)) + _timed(partial(engine.search, queries[0], 10))
        delete = _timed(partial(engine.delete, gone)) + _timed(partial(engine.search, queries[0], 10))
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


def _tokenize(tokenizer: Any, texts: Sequence[str]) -> list[list[str]]:
    """Interns equal tokens, to save memory: there are 25 million."""
    known: dict[str, str] = {}
    tokens: Iterable[list[str]] = chain.from_iterable(map(tokenizer, _batches(texts)))
    return [[known.setdefault(token, token) for token in document] for document in tokens]


def main() -> None:
    """Prints a table of speed with ``--corpus``, and of quality with ``--eval``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
        for data in map(load_dataset, arguments.eval):
            ids, documents = list(data.documents), tokenizer(list(data.documents.values()))
            queries = tokenizer(list(data.queries.values()))
            for name in arguments.engines:
                with tempfile.TemporaryDirectory() as scratch:
                    engine = ENGINES[name](Path(scratch))
                    engine.add(documents)
                    found = [engine.search(query, 10) for query in queries]
                rankings = {query: [ids[row] for row in rows] for query, rows in zip(data.queries, found, strict=True)}
                ndcg = score_rankings(rankings, data.relevant, depth=10)["nDCG@10"].mean()
                print(f"| {data.name} | {choice} | {name} | {ndcg:.4f} |", flush=True)
        print()
    if not arguments.corpus:
        return
    table = pq.read_table(arguments.corpus, columns=["law", "title", "text"]).to_pylist()
    random.Random(0).shuffle(table)  # noqa: S311
    table = table[: max(arguments.sizes) + 1000]
    query_texts = [
        f"{row['law']}에서 '{row['title']}'에 대해 규정한 조문은 무엇인가요?" for row in table[: arguments.queries]
    ]
    for choice in arguments.tokenizers:
        tokenizer = resolve_tokenizer(choice)
        tokens, queries = _tokenize(tokenizer, [row["text"] for row in table]), tokenizer(query_texts)
        distinct = np.mean([len(set(query)) for query in queries])
        print(f"{choice}: {np.mean(list(map(len, tokens))):.0f} tokens per document, {distinct:.0f} per query\n")
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
