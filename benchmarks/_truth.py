"""The float16 MaxSim of queries and all documents, which recall is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _passages import CHUNK, QUERY_TOKENS, Floats, Halves, Ints, Passages, chunks
from numpy.typing import NDArray

TIE = 1e-5
"""Part of a score by which equal ones may differ: sums of float32 in another order."""
_PRODUCTS = 2**27
"""Products of tokens and query tokens at a time."""


def scores(passages: Passages, queries: Floats, folder: Path) -> Floats:
    """Scores all documents; kept in a folder, a file for each of the vectors, since a million takes minutes.

    Args:
        passages: The documents.
        queries: Shape: (queries, QUERY_TOKENS, dim).
        folder: Where the scores are kept.

    Returns:
        Shape: (queries, documents).
    """
    found = np.full((len(queries), passages.count), -np.inf, np.float32)
    for number in range(chunks(min(passages.count, passages.real))):
        file = folder / f"scores-{len(queries)}-{number:03d}.npy"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_name("unfinished-" + file.name)
            np.save(unfinished, _of_file(passages, queries, number))
            unfinished.replace(file)
        for lap, own in enumerate(np.load(file)):
            first = lap * passages.real + number * CHUNK
            part = found[:, first : first + own.shape[1]]
            part[:] = own[:, : part.shape[1]]
    return found


def _of_file(passages: Passages, queries: Floats, number: int) -> Floats:
    """Scores of the documents of all laps that are made of a file. Shape: (LAPS, queries, passages of the file)."""
    tokens, laps = passages.file(number)
    # Documents of all laps are made of the same pieces, so that a token is multiplied once.
    cuts = np.unique(np.concatenate(laps))
    pieces = _maxima(tokens, cuts, queries)
    found = []
    for edges in laps:
        at = np.searchsorted(cuts, edges)
        own = np.maximum.reduceat(pieces, at[:-1], axis=0)
        found.append(own.reshape(len(own), len(queries), QUERY_TOKENS).sum(axis=2).T)
    return np.stack(found)


def right(ids: Sequence[str], own: NDArray[np.float32], allowed: NDArray[np.bool_] | None, k: int) -> float:
    """Returns which part of the k best documents was found; documents with equal scores are equally right.

    Args:
        ids: Numbers of the documents found.
        own: The query's true scores. Shape: (documents,).
        allowed: Documents to choose from; None for all. Shape: (documents,).
        k: How many are wanted.
    """
    among = own if allowed is None else own[allowed]
    k = min(k, len(among))
    least = float(np.partition(among, -k)[-k])
    found = own[[int(id_) for id_ in ids]]
    return int((found >= least - TIE * abs(least)).sum()) / k


def _maxima(tokens: Halves, cuts: Ints, queries: Floats) -> Floats:
    """Greatest product of each piece of the tokens with each query token. Shape: (pieces, queries · query tokens)."""
    import torch

    columns = torch.from_numpy(np.ascontiguousarray(queries.reshape(-1, queries.shape[-1]).T))
    found = np.empty((len(cuts) - 1, columns.shape[1]), np.float32)
    start = 0
    while start < len(found):
        end = int(np.searchsorted(cuts, cuts[start] + _PRODUCTS // columns.shape[1], side="right")) - 1
        end = min(max(end, start + 1), len(found))
        part = torch.from_numpy(tokens[cuts[start] : cuts[end]].astype(np.float32)) @ columns
        np.maximum.reduceat(part.numpy(), cuts[start:end] - cuts[start], axis=0, out=found[start:end])
        start = end
    return found
