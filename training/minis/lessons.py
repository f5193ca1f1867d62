"""The teacher's table as batches: queries, documents, and the teacher's score of every query with every document."""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.minis.augment import augment
from training.minis.config import Phase
from training.minis.data import Batch, Ragged, choose, tokenize
from training.minis.taught import DOCUMENT_TOKENS, LESSON_SHARES, TAUGHT_SHARES, TEACHER_TEMPERATURE


@dataclass(frozen=True)
class Lessons:
    """The table, with tokenized documents.

    Attributes:
        tokenizer: The minis' tokenizer.
        documents: Token ids of the documents.
        origins: The document that each was cut from; itself, if it is whole. Shape: (n_documents,).
        queries: Text of each query.
        candidates: Documents of each query, the positive first.
        answers: Origins of the positives of each distinct query.
        by_source: Indices of the queries of each source.
        taught_documents: The teacher's unit vectors. Shape: (n_documents, dim).
        taught_queries: The same of the queries. Shape: (n_queries, dim).
    """

    tokenizer: Tokenizer
    documents: Ragged
    origins: NDArray[np.int64]
    queries: list[str]
    candidates: list[list[int]]
    answers: dict[str, set[int]]
    by_source: dict[str, NDArray[np.int64]]
    taught_documents: NDArray[np.float16]
    taught_queries: NDArray[np.float16]


def prepare_lessons(work: Path, path: Path) -> None:
    """Tokenizes the table's documents into a file for `read_lessons`.

    Args:
        work: Folder with ``tokenizer.json`` and ``documents.parquet``.
        path: The ``.npz`` to write.
    """
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    texts = pq.read_table(work / "documents.parquet", columns=["text"])["text"].to_pylist()
    documents = tokenize(tokenizer, texts, DOCUMENT_TOKENS)
    np.savez(path, values=documents.values, offsets=documents.offsets)


def read_documents(work: Path) -> Ragged:
    """Reads the token ids of the table's documents, without special tokens."""
    arrays = np.load(work / "lessons.npz")
    return Ragged(arrays["values"], arrays["offsets"])


def read_lessons(work: Path) -> Lessons:
    """Reads what `prepare_lessons` and `training.minis.table` have written."""
    origins = pq.read_table(work / "documents.parquet", columns=["origin"])["origin"].to_numpy()
    table = pq.read_table(work / "candidates.parquet", columns=["query", "source", "documents"])
    queries, candidates = table["query"].to_pylist(), table["documents"].to_pylist()
    answers: dict[str, set[int]] = defaultdict(set)
    for query, documents in zip(queries, candidates, strict=True):
        answers[query].add(int(origins[documents[0]]))
    sources = np.array(table["source"].to_pylist())
    return Lessons(
        tokenizer=Tokenizer.from_file(str(work / "tokenizer.json")),
        documents=read_documents(work),
        origins=origins,
        queries=queries,
        candidates=candidates,
        answers=dict(answers),
        by_source={str(name): np.flatnonzero(sources == name) for name in np.unique(sources)},
        taught_documents=np.load(work / "taught-documents.npy", mmap_mode="r"),
        taught_queries=np.load(work / "taught-queries.npy", mmap_mode="r"),
    )


class LessonSampler:
    """Samples the batches of a phase; a batch depends only on the phase and the step."""

    def __init__(self, lessons: Lessons, phase: Phase) -> None:
        self._lessons = lessons
        self._phase = phase

    def batch(self, step: int) -> Batch:
        """Samples queries of one source, their positives, and some of the candidates of each.

        The documents are the positives in the order of the queries, then the other candidates. The teacher's scores are
        those of the queries as they were, also of augmented ones.
        """
        lessons, phase = self._lessons, self._phase
        rng = np.random.default_rng((phase.seed, zlib.crc32(phase.name.encode()), step))
        source = choose(LESSON_SHARES, rng)
        rows = rng.choice(lessons.by_source[source], phase.batch_size, replace=False).tolist()
        positives = [lessons.candidates[row][0] for row in rows]
        others: dict[int, None] = {}
        for row in rows:
            left = [number for number in lessons.candidates[row][1:] if number not in positives]
            others.update(dict.fromkeys(rng.permutation(left)[: phase.candidates].tolist()))
        numbers = np.array([*positives, *others], dtype=np.int64)
        origins = lessons.origins[numbers]
        same = np.stack([np.isin(origins, list(lessons.answers[lessons.queries[row]])) for row in rows])
        same[np.arange(len(rows)), np.arange(len(rows))] = False
        texts = [lessons.queries[row] for row in rows]
        texts = [augment(text, rng) if rng.random() < phase.augmented else text for text in texts]
        encoded = lessons.tokenizer.encode_batch(texts, add_special_tokens=False)
        order = np.sort(numbers)  # a mapped file is read in order
        vectors = lessons.taught_documents[order][np.searchsorted(order, numbers)].astype(np.float32)
        query_vectors = lessons.taught_queries[np.array(rows)].astype(np.float32)
        return Batch(
            source=source,
            queries=[encoding.ids for encoding in encoded],
            documents=[lessons.documents[number] for number in numbers.tolist()],
            same=same,
            taught=query_vectors @ vectors.T / TEACHER_TEMPERATURE,
            taught_share=TAUGHT_SHARES[source],
        )
