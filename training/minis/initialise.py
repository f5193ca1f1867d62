"""Initial token embeddings: factorised positive pointwise mutual information (no network, takes a minute)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.minis.config import FIRST_PIECE, HIDDEN_SIZE, VOCAB_SIZE
from training.minis.data import Ragged, document_frequencies, read_pairs, tokenize
from training.minis.tokenizer import read_statutes

logger = logging.getLogger(__name__)

_WINDOW = 5
_STATUTES, _STATUTE_TOKENS = 40_000, 120
_GENERAL_SOURCES = {"tydiqa_ko": 3, "strategyqa_ko_facts": 2}
_LEARNED_PART, _RANDOM_PART = 0.75, 0.65
_TOKEN_SCALE = 0.05
_CHUNK = 4_000_000
_COMMONEST_BIAS, _RAREST_BIAS, _BIAS_PER_IDF = -8.0, -2.0, 0.8


def initialise_embeddings(data: Path, tokenizer_path: Path, pairs_path: Path, path: Path, seed: int = 1) -> None:
    """Writes the initial embedding matrix. Shape: (vocabulary, hidden).

    A row is a factor of the co-occurrence statistics plus a random direction. The random part separates tokens with the
    same neighbours, such as names of months, as lexical matching requires.

    Args:
        data: The data folder.
        tokenizer_path: The trained ``tokenizer.json``.
        pairs_path: The prepared pairs.
        path: The ``.npy`` to write.
        seed: Seed of the random directions and the factorisation.
    """
    rng = np.random.default_rng(seed)
    stream = _token_stream(data, tokenizer_path, pairs_path, rng)
    factors = _factorise(_pointwise_information(_co_occurrences(stream)), rng)
    random = rng.standard_normal((VOCAB_SIZE, HIDDEN_SIZE)).astype(np.float32)
    rows = _LEARNED_PART * _unit(factors) + _RANDOM_PART * _unit(random)
    np.save(path, _unit(rows) * _TOKEN_SCALE * np.sqrt(HIDDEN_SIZE).astype(np.float32))
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    directions = _unit(factors)
    for word in ("손해", "학교", "전쟁", "음악"):
        if (token := tokenizer.token_to_id(word)) is not None:
            nearest = np.argsort(-(directions @ directions[token]))[1:6]
            logger.info("nearest to %s: %s", word, [tokenizer.id_to_token(int(i)) for i in nearest])


def initialise_term_bias(pairs_path: Path, path: Path) -> None:
    """Writes SPLADE's initial term bias, which grows with the inverse document frequency. Shape: (vocabulary,).

    Particles and endings then start near zero and rare words at about 2, as in BM25. Adam changes a bias by at most the
    learning rate per step, so a few hundred steps could not learn this from a constant.

    Args:
        pairs_path: The prepared pairs.
        path: The ``.npy`` to write.
    """
    documents = read_pairs(pairs_path).documents
    inverse = np.log(len(documents) / (document_frequencies(documents) + 1))
    bias = np.minimum(_COMMONEST_BIAS + _BIAS_PER_IDF * inverse, _RAREST_BIAS)
    np.save(path, bias.astype(np.float32))


def _token_stream(data: Path, tokenizer_path: Path, pairs_path: Path, rng: np.random.Generator) -> NDArray[np.int64]:
    pairs = read_pairs(pairs_path)
    parts = [
        _separated(pairs.documents, range(len(pairs.documents))),
        _separated(pairs.queries, range(len(pairs.queries))),
    ]
    for source, times in _GENERAL_SOURCES.items():
        parts += [_separated(pairs.documents, pairs.positives[pairs.by_source[source]].tolist())] * times
    statutes = read_statutes(data)
    chosen = [statutes[i] for i in rng.choice(len(statutes), _STATUTES, replace=False)]
    articles = tokenize(Tokenizer.from_file(str(tokenizer_path)), chosen, _STATUTE_TOKENS)
    parts.append(_separated(articles, range(len(articles))))
    return np.concatenate(parts)


def _separated(texts: Ragged, indices: range | list[int]) -> NDArray[np.int64]:
    """Concatenates texts with a window of padding between them, so that no pair of tokens spans two texts."""
    gap = np.zeros(_WINDOW, dtype=np.int16)
    parts = [part for i in indices for part in (texts.values[texts.offsets[i] : texts.offsets[i + 1]], gap)]
    return np.concatenate(parts).astype(np.int64)


def _co_occurrences(stream: NDArray[np.int64]) -> sp.csr_matrix:
    """Counts pairs of pieces within the window, weighted by 1 / distance."""
    counts = sp.csr_matrix((VOCAB_SIZE, VOCAB_SIZE), dtype=np.float32)  # type: ignore[arg-type]
    for distance in range(1, _WINDOW + 1):
        for start in range(0, len(stream), _CHUNK):
            left, right = stream[start : start + _CHUNK - distance], stream[start + distance : start + _CHUNK]
            left = left[: len(right)]
            kept = (left >= FIRST_PIECE) & (right >= FIRST_PIECE)
            weights = np.full(int(kept.sum()), 1 / distance, dtype=np.float32)
            counts = counts + sp.csr_matrix((weights, (left[kept], right[kept])), shape=counts.shape)
    return (counts + counts.T).tocsr()


def _pointwise_information(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Positive pointwise mutual information with smoothed contexts (Levy et al. 2015, https://aclanthology.org/Q15-1016)."""
    totals = np.asarray(counts.sum(axis=1)).ravel() + 1e-9
    context = totals**0.75 / (totals**0.75).sum()
    entries = counts.tocoo()
    information = np.log(entries.data / totals[entries.row] / context[entries.col])
    kept = (entries.data >= 0.5) & (information > 0)
    logger.info("co-occurrences: %.1f M tokens' pairs, %.1f M entries kept", totals.sum() / 1e6, kept.sum() / 1e6)
    values = information[kept].astype(np.float32)
    return sp.csr_matrix((values, (entries.row[kept], entries.col[kept])), shape=counts.shape)


def _factorise(matrix: sp.csr_matrix, rng: np.random.Generator) -> NDArray[np.float32]:
    """Randomised singular value decomposition; returns U √S. Shape: (vocabulary, hidden)."""
    basis = rng.standard_normal((VOCAB_SIZE, HIDDEN_SIZE + 10)).astype(np.float32)
    for _ in range(3):
        basis, _triangle = np.linalg.qr(matrix @ basis)
    projected = np.asarray(matrix.T @ basis)
    directions, squares, _ = np.linalg.svd(projected.T @ projected)
    factors = (projected @ directions)[:, :HIDDEN_SIZE] / squares[:HIDDEN_SIZE] ** 0.25
    rounded: NDArray[np.float32] = factors.astype(np.float32)
    return rounded


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)
    return unit
