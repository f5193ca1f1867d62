r"""The teacher's table: for every training query, candidate documents with the teacher's scores.

    PYTHONPATH=core:. python -m training.minis.table --data ../shared/data --work /tmp/teacher/work

Writes ``documents.parquet`` (id, text, source) and ``candidates.parquet`` (query, source, kind, documents, scores; the
first document is the positive). The same seed gives the same tables; vectors are cached, and an interrupted run
continues.
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from korag import load_encoder
from korag.encoders.base import Encoder
from training.minis.acts import held_out_acts, is_article_of
from training.minis.config import CANDIDATES, MADE_QUERIES, TABLE_SHARES
from training.minis.questions import cloze, first_sentence, title_query
from training.minis.taught import TEACHER_TOKENS
from training.minis.teacher import find_weights, write_teacher
from training.minis.vectors import encode_cached

logger = logging.getLogger(__name__)

TEACHER = "e5-small"
_UNIT = 0.01
"""The temperature that E5 was trained with (https://arxiv.org/abs/2402.05672): the difference in cosine that makes a
document e times as likely."""
_NEIGHBOURS, _NEAREST = 50, 10
_BLOCK = 256


@dataclass(frozen=True)
class Texts:
    """Documents and queries, before the teacher has seen them.

    Attributes:
        documents: Text of each document.
        sources: Source of each.
        origins: The document that each was cut from; itself, if it is whole.
        queries: A row per query: text, source, kind, positive and the documents near it by BM25.
    """

    documents: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)

    def add(self, text: str, source: str, origin: int | None = None) -> int:
        """Adds a document and returns its number."""
        self.documents.append(text)
        self.sources.append(source)
        self.origins.append(len(self.origins) if origin is None else origin)
        return len(self.documents) - 1


@dataclass(frozen=True)
class Query:
    """A training query.

    Attributes:
        query: Its text.
        source: Where it is from.
        kind: ``"asked"`` for a query of the data; ``"title"``, ``"sentence"`` or ``"cloze"`` for one made of a passage.
        positive: Number of its document.
        near: Documents that BM25 ranks high, and that do not answer it.
    """

    query: str
    source: str
    kind: str
    positive: int
    near: tuple[int, ...] = ()


def gather_texts(data: Path, seed: int = 0) -> Texts:
    """Chooses the pairs of ``train_mix``, and makes more queries of their passages.

    Articles of the acts in ``eval/statute-title`` are left out.

    Args:
        data: The data folder.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng(seed)
    acts = held_out_acts(data)
    texts = {row["id"]: row["text"] for row in pq.read_table(data / "train_mix/docs.parquet").to_pylist()}
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(data / "train_mix/pairs.parquet").to_pylist():
        if row["source"] in TABLE_SHARES and not is_article_of(texts[row["pos_id"]], acts):
            rows[row["source"]].append(row)
    chosen = [
        row
        for source, count in TABLE_SHARES.items()
        for row in (rows[source][i] for i in sorted(rng.permutation(len(rows[source]))[:count].tolist()))
    ]
    gathered = Texts()
    numbers: dict[int, int] = {}
    for row in chosen:
        if row["pos_id"] not in numbers:
            numbers[row["pos_id"]] = gathered.add(texts[row["pos_id"]], row["source"])
    for row in chosen:
        near = tuple(numbers[other] for other in row["neg_ids"] if other in numbers)
        gathered.queries.append(Query(row["query"], row["source"], "asked", numbers[row["pos_id"]], near))
    _make_queries(gathered, rng)
    return gathered


def _make_queries(gathered: Texts, rng: np.random.Generator) -> None:
    whole: dict[str, list[int]] = defaultdict(list)
    for number, source in enumerate(gathered.sources):
        whole[source].append(number)
    for source, count in MADE_QUERIES.items():
        passages = whole[source]
        for turn in range(-(-count // len(passages))):
            left = count - turn * len(passages)
            for number in rng.permutation(passages)[:left].tolist():
                passage = gathered.documents[number]
                if turn == 0 and (title := title_query(passage)) is not None:
                    gathered.queries.append(Query(title, source, "title", number))
                    continue
                kind = "sentence" if turn == 0 and (made := first_sentence(passage)) is not None else "cloze"
                if kind == "cloze" and (made := cloze(passage, rng)) is None:
                    continue
                assert made is not None  # noqa: S101 (for the type checker)
                query, document = made
                positive = number if document == passage else gathered.add(document, source, number)
                gathered.queries.append(Query(query, source, kind, positive))


def choose_candidates(
    texts: Texts, queries: NDArray[np.float16], documents: NDArray[np.float16], seed: int = 0
) -> list[tuple[list[int], list[float]]]:
    """Chooses each query's candidates: its positive, documents near it by BM25, and documents near it by the teacher.

    A document that the teacher scores above the positive, or at most one unit (0.01) below it, may answer the query
    too, and is no candidate; nor is another positive of the same query, or one cut from the same passage. Of the
    teacher's 50 best others, half come from the best ten.

    Args:
        texts: The texts.
        queries: The teacher's unit vectors. Shape: (n_queries, dim).
        documents: The same of the documents. Shape: (n_documents, dim).
        seed: Seed of the choice.

    Returns:
        Documents and scores per query, the positive first.
    """
    rng = np.random.default_rng(seed)
    vectors = documents.astype(np.float32)
    origins = np.array(texts.origins)
    whole = np.flatnonzero(origins == np.arange(len(origins)))
    pool = vectors[whole]
    answers: dict[str, set[int]] = defaultdict(set)
    for row in texts.queries:
        answers[row.query].add(int(origins[row.positive]))
    chosen = []
    for start in range(0, len(texts.queries), _BLOCK):
        block = queries[start : start + _BLOCK].astype(np.float32)
        scores = block @ pool.T
        for query, row, row_scores in zip(block, texts.queries[start : start + _BLOCK], scores, strict=False):
            limit = float(query @ vectors[row.positive]) - _UNIT
            row_scores[row_scores >= limit] = -1
            count = min(_NEIGHBOURS, len(whole))
            nearest = np.argpartition(-row_scores, count - 1)[:count]
            ranked = whole[nearest[np.argsort(-row_scores[nearest], kind="stable")]].tolist()
            near, ranked = (
                [n for n in numbers if origins[n] not in answers[row.query] and query @ vectors[n] < limit]
                for numbers in (row.near, ranked)
            )
            taken = [row.positive, *_few(near, CANDIDATES["bm25"], rng)]
            for numbers, times in ((ranked[:_NEAREST], CANDIDATES["nearest"]), (ranked, CANDIDATES["neighbours"])):
                taken += _few([n for n in numbers if n not in taken], times, rng)
            chosen.append((taken, (vectors[taken] @ query).tolist()))
    return chosen


def _few(numbers: list[int], count: int, rng: np.random.Generator) -> list[int]:
    if len(numbers) <= count:
        return numbers
    return [numbers[i] for i in sorted(rng.choice(len(numbers), count, replace=False).tolist())]


def write_table(data: Path, work: Path, teacher: Encoder[Any], seed: int = 0) -> None:
    """Writes ``documents.parquet``, ``candidates.parquet`` and the teacher's vectors, ``taught-*.npy``.

    Args:
        data: The data folder.
        work: Folder to write to; also of the cached vectors.
        teacher: The teacher.
        seed: Seed of every choice.
    """
    texts = gather_texts(data, seed)
    kinds: dict[str, int] = defaultdict(int)
    for row in texts.queries:
        kinds[f"{row.source}, {row.kind}"] += 1
    logger.info("%d documents, %d queries: %s", len(texts.documents), len(texts.queries), dict(kinds))
    vectors = work / "vectors"
    documents = encode_cached(teacher, texts.documents, "document", vectors, "documents")
    queries = encode_cached(teacher, [row.query for row in texts.queries], "query", vectors, "queries")
    candidates = choose_candidates(texts, queries, documents, seed)
    np.save(work / "taught-documents.npy", documents)
    np.save(work / "taught-queries.npy", queries)
    _write(work / "documents.parquet", {
        "id": list(range(len(texts.documents))), "text": texts.documents, "source": texts.sources,
        "origin": texts.origins,
    })  # fmt: skip
    _write(work / "candidates.parquet", {
        **{name: [getattr(row, name) for row in texts.queries] for name in ("query", "source", "kind")},
        "documents": [numbers for numbers, _ in candidates], "scores": [scores for _, scores in candidates],
    })  # fmt: skip


def _write(path: Path, columns: dict[str, list[Any]]) -> None:
    unfinished = path.with_suffix(".tmp")
    pq.write_table(pa.table(columns), unfinished)
    unfinished.replace(path)


def load_teacher(work: Path) -> Encoder[Any]:
    """Loads the teacher, after making its folder if there is none."""
    folder = work / TEACHER
    if not folder.exists():
        write_teacher(find_weights(), folder)
    return load_encoder(folder, device="cpu", max_length=TEACHER_TOKENS)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train_mix, text and eval")
    parser.add_argument("--work", type=Path, required=True, help="folder for the tables and cached vectors")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("korag").setLevel(logging.ERROR)  # truncation is intended
    arguments.work.mkdir(parents=True, exist_ok=True)
    write_table(arguments.data, arguments.work, load_teacher(arguments.work), arguments.seed)


if __name__ == "__main__":
    main()
