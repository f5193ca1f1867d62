"""Tokenized training pairs, and sampling batches of them."""

from __future__ import annotations

import logging
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.minis.acts import held_out_acts, is_article_of
from training.minis.config import (
    CLOZE_SHARES,
    LEFT_OUT_SOURCES,
    SOURCE_SHARES,
    STORED_DOCUMENT_TOKENS,
    STORED_QUERY_TOKENS,
    VOCAB_SIZE,
    Phase,
)

logger = logging.getLogger(__name__)

_CLOZE = "cloze"
_QUERY_DROPOUT_SHARE, _QUERY_DROPOUT = 0.15, 0.2
_CHARACTERS_PER_TOKEN = 5  # upper bound; truncating first saves tokenizing long articles whole


@dataclass(frozen=True)
class Ragged:
    """Token ids of many texts in a single array.

    Attributes:
        values: All tokens. Shape: (n_tokens,).
        offsets: Start of each text, and the end. Shape: (n_texts + 1,).
    """

    values: NDArray[np.int16]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> list[int]:
        tokens: list[int] = self.values[self.offsets[index] : self.offsets[index + 1]].tolist()
        return tokens


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> Ragged:
    """Tokenizes texts without special tokens, truncated at `limit` tokens."""
    rows: list[NDArray[np.int16]] = []
    for start in range(0, len(texts), 4_000):
        batch = [text[: limit * _CHARACTERS_PER_TOKEN] for text in texts[start : start + 4_000]]
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        rows.extend(np.array(encoding.ids[:limit], dtype=np.int16) for encoding in encodings)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    offsets[1:] = np.cumsum([len(row) for row in rows])
    return Ragged(np.concatenate(rows), offsets)


def document_frequencies(documents: Ragged) -> NDArray[np.int64]:
    """Returns the number of documents that each term occurs in. Shape: (vocabulary,)."""
    owner = np.repeat(np.arange(len(documents)), np.diff(documents.offsets))
    distinct = np.unique(owner * VOCAB_SIZE + documents.values)
    frequencies: NDArray[np.int64] = np.bincount(distinct % VOCAB_SIZE, minlength=VOCAB_SIZE)
    return frequencies


@dataclass(frozen=True)
class Pairs:
    """The training pairs.

    Attributes:
        queries: Query of each pair.
        documents: All documents, including those that are only negatives.
        positives: Index of each pair's document. Shape: (n_pairs,).
        query_keys: Equal for equal queries. Shape: (n_pairs,).
        near: Pairs whose documents are BM25 negatives of the query; -1 for none. Shape: (n_pairs, 4).
        by_source: Indices of the pairs of each source.
    """

    queries: Ragged
    documents: Ragged
    positives: NDArray[np.int64]
    query_keys: NDArray[np.int64]
    near: NDArray[np.int64]
    by_source: dict[str, NDArray[np.int64]]


def prepare_pairs(data: Path, tokenizer_path: Path, path: Path) -> None:
    """Tokenizes ``train_mix`` into a file for `read_pairs`.

    Leaves out the sources excluded in the configuration, and all pairs about an act of ``eval/statute-title``.

    Args:
        data: The data folder.
        tokenizer_path: The trained ``tokenizer.json``.
        path: The ``.npz`` to write.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    documents = pq.read_table(data / "train_mix/docs.parquet").to_pylist()
    number = {row["id"]: index for index, row in enumerate(documents)}
    texts = [row["text"] for row in documents]
    acts = held_out_acts(data)
    held_out = {index for index, text in enumerate(texts) if is_article_of(text, acts)}
    rows = [
        row
        for row in pq.read_table(data / "train_mix/pairs.parquet").to_pylist()
        if row["source"] not in LEFT_OUT_SOURCES and number[row["pos_id"]] not in held_out
    ]
    positives = np.array([number[row["pos_id"]] for row in rows])
    pair_of_document = {int(document): pair for pair, document in enumerate(positives)}
    near = np.array([[pair_of_document.get(number[i], -1) for i in row["neg_ids"]] for row in rows])
    keys: dict[str, int] = {}
    query_keys = np.array([keys.setdefault(row["query"], len(keys)) for row in rows])
    queries = tokenize(tokenizer, [row["query"] for row in rows], STORED_QUERY_TOKENS)
    # a held-out article may be a mined negative of another pair, which is never encoded: left empty
    kept = ["" if index in held_out else text for index, text in enumerate(texts)]
    stored = tokenize(tokenizer, kept, STORED_DOCUMENT_TOKENS)
    np.savez(
        path,
        query_values=queries.values,
        query_offsets=queries.offsets,
        document_values=stored.values,
        document_offsets=stored.offsets,
        positives=positives,
        query_keys=query_keys,
        near=near,
        sources=np.array([row["source"] for row in rows]),
    )
    logger.info(
        "pairs: %d, %d documents of %.0f tokens, %d left out as held-out articles, %.0f %% of negatives are positives",
        len(rows), len(stored), len(stored.values) / len(stored), len(held_out), 100 * float((near >= 0).mean()),
    )  # fmt: skip


def read_pairs(path: Path) -> Pairs:
    """Reads a file written by `prepare_pairs`."""
    arrays = np.load(path)
    sources = arrays["sources"]
    return Pairs(
        queries=Ragged(arrays["query_values"], arrays["query_offsets"]),
        documents=Ragged(arrays["document_values"], arrays["document_offsets"]),
        positives=arrays["positives"],
        query_keys=arrays["query_keys"],
        near=arrays["near"],
        by_source={str(name): np.flatnonzero(sources == name) for name in np.unique(sources)},
    )


@dataclass(frozen=True)
class Batch:
    """Queries and documents, of which the first are the positives in the order of the queries.

    Attributes:
        source: Source of the pairs.
        queries: Token ids, without special tokens.
        documents: Token ids of the documents.
        same: True where a document also answers another query, so that it is not a negative of it; False on the
            diagonal. Shape: (queries, documents).
        taught: A teacher's logits; None without one. Shape: (queries, documents).
        taught_share: Part of the teacher's distribution in the loss.
    """

    source: str
    queries: list[list[int]]
    documents: list[list[int]]
    same: NDArray[np.bool_]
    taught: NDArray[np.float32] | None = None
    taught_share: float = 0.0


class Sampler:
    """Samples the batches of a phase.

    A batch depends only on the phase and `step`, so that a resumed run gets the same batches.
    """

    def __init__(self, pairs: Pairs, phase: Phase) -> None:
        self._pairs = pairs
        self._phase = phase
        self._answers: dict[int, set[int]] = defaultdict(set)
        for key, positive in zip(pairs.query_keys.tolist(), pairs.positives.tolist(), strict=True):
            self._answers[key].add(positive)

    def batch(self, step: int) -> Batch:
        """Samples the pairs of a step, from a single source unless they are negatives of each other."""
        rng = np.random.default_rng((self._phase.seed, zlib.crc32(self._phase.name.encode()), step))
        shares = {**SOURCE_SHARES, _CLOZE: 1 - sum(SOURCE_SHARES.values())}
        source = choose(shares, rng)
        if source == _CLOZE:
            return self._cloze_batch(rng)
        rows = self._draw(source, rng)
        queries = [self._pairs.queries[row] for row in rows]
        if rng.random() < _QUERY_DROPOUT_SHARE:
            queries = [_drop(query, _QUERY_DROPOUT, rng) for query in queries]
        documents = [self._pairs.documents[self._pairs.positives[row]] for row in rows]
        return Batch(source, queries, documents, self._same(rows))

    def _draw(self, source: str, rng: np.random.Generator) -> list[int]:
        size = self._phase.batch_size
        candidates = self._pairs.by_source[source]
        if rng.random() >= self._phase.hard_share:
            return list(map(int, rng.choice(candidates, size, replace=False)))
        chosen: dict[int, None] = {}
        for row in rng.choice(candidates, size, replace=False).tolist():
            chosen.update(dict.fromkeys([row, *(pair for pair in self._pairs.near[row].tolist() if pair >= 0)]))
            if len(chosen) >= size:
                break
        return list(chosen)[:size]

    def _same(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        keys = self._pairs.query_keys[rows]
        positives = self._pairs.positives[rows]
        same: NDArray[np.bool_] = (keys[:, None] == keys) | (positives[:, None] == positives)
        for i, key in enumerate(keys.tolist()):
            same[i] |= np.isin(positives, list(self._answers[key]))
        np.fill_diagonal(same, val=False)
        return same

    def _cloze_batch(self, rng: np.random.Generator) -> Batch:
        """Uses a span of each passage as its query, to train lexical matching on any subject.

        A quarter of the span's tokens are dropped, sometimes they are shuffled, and in two of five passages the span is
        removed, so that the query has to match its context.
        """
        source = choose(CLOZE_SHARES, rng)
        rows = rng.choice(self._pairs.by_source[source], self._phase.batch_size, replace=False).tolist()
        queries, documents = [], []
        for row in rows:
            tokens = self._pairs.documents[self._pairs.positives[row]]
            length = min(len(tokens), int(rng.integers(5, 20)))
            start = int(rng.integers(0, min(len(tokens), self._phase.document_tokens - 3) - length + 1))
            query = _drop(tokens[start : start + length], 0.25, rng)
            if rng.random() < 0.3:
                rng.shuffle(query)
            cut = len(tokens) >= 30 and rng.random() < 0.4
            queries.append(query)
            documents.append(tokens[:start] + tokens[start + length :] if cut else tokens)
        return Batch(_CLOZE, queries, documents, self._same(rows))


def choose(shares: dict[str, float], rng: np.random.Generator) -> str:
    """Draws a source by its share."""
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


def _drop(tokens: Iterable[int], share: float, rng: np.random.Generator) -> list[int]:
    tokens = list(tokens)
    return [token for token in tokens if rng.random() > share] or tokens
