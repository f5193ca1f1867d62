"""Scores between a query and documents: MaxSim, sparse dot product, cosine, and top-k.

Pure functions on numpy arrays; sums are accumulated in float32, whatever the type of the vectors.

A document's score depends only on the query and the document, to the last bit, so that equal documents tie. A single
matrix product over many documents does not have this property: BLAS rounds differently at the edges of a matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)
_PIECE = 32_000
"""Numbers converted by torch at a time. From 32,768 it uses its other threads, which is slower."""
_PIECES = 8
"""Pieces for each score wanted: the more, the fewer scores are above the k-th best of their maxima."""
_SMALLEST_PIECE = 64
"""Scores of a piece, below which maxima of pieces gain nothing."""


def maxsim(
    query: Floats,
    documents: Sequence[Floats] | Floats,
    *,
    query_mask: NDArray[np.bool_] | None = None,
    document_mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Late-interaction scores: for each query token the best document token, summed over query tokens.

    ``score(q, d) = Σ_i max_j q_i · d_j`` (ColBERT, https://arxiv.org/abs/2004.12832, equation 3). Scores grow
    with the number of query tokens; they are comparable for one query only, not across queries or models.

    Args:
        query: Query token vectors. Shape: (query_tokens, dim).
        documents: Token vectors of each document. Shape of each: (tokens, dim). Or padded in one array of
            shape (n, tokens, dim), with `document_mask`.
        query_mask: Query tokens to score. Shape: (query_tokens,).
        document_mask: Document tokens to score. Shape: (n, tokens). Masked tokens are ignored entirely, not given
            a similarity of zero.

    Returns:
        One float32 score per document; −inf for a document without tokens. Shape: (n,).
    """
    if query_mask is not None:
        query = query[query_mask]
    if document_mask is not None:
        documents = [tokens[mask] for tokens, mask in zip(documents, document_mask, strict=True)]
    return _maxsim_each(query, documents)


def concatenate(parts: Sequence[NDArray[Number]], *, few: int = 4_096) -> NDArray[Number]:
    """Joins arrays, at least one, some thousands at a time: numpy keeps other threads waiting during each call."""
    return np.concatenate([np.concatenate(parts[start : start + few]) for start in range(0, len(parts), few)])


def pack_tokens(documents: Sequence[Floats] | Floats, *, dim: int) -> tuple[Floats, Ints]:
    """Concatenates the token vectors of documents.

    Returns:
        All tokens, shape (total_tokens, dim), and where each document starts and the last one ends, shape
        (n + 1,).
    """
    offsets = np.zeros(len(documents) + 1, np.int64)
    np.cumsum([len(tokens) for tokens in documents], out=offsets[1:])
    return concatenate(list(documents)) if len(documents) else np.zeros((0, dim), np.float32), offsets


def maxsim_packed(query: Floats, tokens: Floats, offsets: Ints, rows: Ints | None = None) -> NDArray[np.float32]:
    """`maxsim` over concatenated documents, e.g. memory-mapped; one document at a time.

    Args:
        query: Query token vectors. Shape: (query_tokens, dim).
        tokens: All document tokens. Shape: (total_tokens, dim).
        offsets: Where each document starts, and the end. Shape: (n + 1,).
        rows: Documents to score; None for all.

    Returns:
        One float32 score per scored document, −inf for one without tokens. Shape: (n,) or that of `rows`.
    """
    rows = np.arange(len(offsets) - 1) if rows is None else rows
    bounds = zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True)
    return _maxsim_each(query, (tokens[start:end] for start, end in bounds))


def _maxsim_each(query: Floats, documents: Iterable[Floats]) -> NDArray[np.float32]:
    transposed = np.ascontiguousarray(query.astype(np.float32).T)
    scores = [
        np.matmul(_as_float32(tokens), transposed).max(axis=0).sum(dtype=np.float32) if len(tokens) else -np.inf
        for tokens in documents
    ]
    return np.array(scores, np.float32)


def _as_float32(vectors: Floats) -> NDArray[np.float32]:
    if vectors.dtype != np.float16:
        return np.ascontiguousarray(vectors, np.float32)  # products of non-contiguous arrays may round differently
    import torch  # uses the processor's conversion instruction: three times as fast

    half, single = np.array(vectors, order="C").reshape(-1), np.empty(vectors.size, np.float32)
    for start in range(0, len(half), _PIECE):
        piece = slice(start, start + _PIECE)
        torch.from_numpy(single[piece]).copy_(torch.from_numpy(half[piece]))
    return single.reshape(vectors.shape)


def sparse_dot(query: sp.csr_array, documents: sp.csc_array) -> NDArray[np.float32]:
    """Dot products of a sparse query with sparse documents, reading only the postings of the query's terms.

    Args:
        query: Term weights. Shape: (1, vocab).
        documents: Term weights by column, i.e. postings. Shape: (n, vocab).

    Returns:
        float32 scores; 0 if no term is shared. Shape: (n,).
    """
    starts, ends = documents.indptr[query.indices], documents.indptr[query.indices + 1]
    bounds = [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    # Twice as fast as documents[:, query.indices], which copies element by element.
    weights = np.concatenate([documents.data[:0], *(documents.data[bound] for bound in bounds)])
    rows = np.concatenate([documents.indices[:0], *(documents.indices[bound] for bound in bounds)])
    columns = np.concatenate([[0], np.cumsum(ends - starts)]).astype(rows.dtype)
    postings = sp.csc_array((weights, rows, columns), shape=(documents.shape[0], len(bounds)), copy=False)
    scores: NDArray[np.float32] = postings @ query.data.astype(np.float32)
    return scores.astype(np.float32, copy=False)


def sparse_cosines(rows: sp.csr_array) -> NDArray[np.float32]:
    """Pairwise cosine similarities of sparse vectors; 0 for an empty one.

    Args:
        rows: Shape: (n, vocab).

    Returns:
        Shape: (n, n).
    """
    exact = rows.astype(np.float64)  # squares of small weights are not in float32's range
    products = (exact @ exact.T).toarray()
    norms = np.sqrt(products.diagonal())
    scale = norms[:, None] * norms
    cosines: NDArray[np.float32] = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0).astype(
        np.float32
    )
    return cosines


def cosine(query: Floats, documents: Floats) -> NDArray[np.float32]:
    """Cosine similarities of a query vector with document vectors.

    Args:
        query: Shape: (dim,).
        documents: Shape: (n, dim).

    Returns:
        float32 in [−1, 1]; 0 for a zero vector. Shape: (n,).
    """
    return dot_rows(unit_rows(query[None])[0], unit_rows(documents))


def dot_rows(query: NDArray[np.float32], documents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dot products of a query vector with document vectors.

    Args:
        query: Shape: (dim,).
        documents: Shape: (n, dim).

    Returns:
        float32 scores. Shape: (n,).
    """
    scores: NDArray[np.float32] = np.matmul(documents[:, None, :], query[:, None])[:, 0, 0]
    return scores


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scales rows to unit length, whatever their magnitude; zero rows stay zero. Shape: (n, dim).

    Squares of numbers above 1.8e19 or below 1e-23 are not in float32's range. Rows are therefore scaled first, by a
    power of two, which changes no digit.
    """
    vectors = vectors.astype(np.result_type(vectors.dtype, np.float32), copy=False)
    exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True, initial=0))[1]
    scaled = np.ldexp(vectors, -exponents).astype(np.float32, copy=False)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(scaled, norms, out=np.zeros_like(scaled), where=norms > 0)
    return unit


def top_k(scores: NDArray[np.float32], keys: Ints, k: int) -> Ints:
    """Returns the indices of the k best scores, best first; ties in the order of `keys`, −inf excluded.

    Args:
        scores: Shape: (n,).
        keys: Insertion order of the documents. Shape: (n,).
        k: Maximum number of indices.

    Returns:
        Indices into `scores`. Shape: (min(k, finite scores),).
    """
    if k <= 0:
        return np.zeros(0, np.int64)
    least = _at_most_kth(scores, k)
    best = np.flatnonzero(scores > least)
    if len(best) >= k:
        found = scores[best]
        least = np.partition(found, -k)[-k]
        best = best[found > least]
    if least > -np.inf:  # the k-th best score: of the documents that have it, as many as are missing
        ties = np.flatnonzero(scores == least)
        best = np.concatenate([best, ties[np.argsort(keys[ties], kind="stable")[: k - len(best)]]])
    order: Ints = best[np.lexsort((keys[best], -scores[best]))]
    return order


def _at_most_kth(scores: NDArray[np.float32], k: int) -> np.floating[Any] | float:
    """Returns a score that is not above the k-th best: the k-th best of the maxima of pieces.

    `numpy.partition` of a million scores takes 20 ms if most are equal, as those of excluded documents are.
    """
    size = len(scores) // (_PIECES * k)
    if size < _SMALLEST_PIECE:
        return -np.inf
    pieces = scores[: len(scores) // size * size].reshape(-1, size)
    maxima = np.fmax.reduce(pieces, axis=1, initial=-np.inf)  # of numbers, not of what is none
    kth: np.floating[Any] = np.partition(maxima, -k)[-k]
    return kth
