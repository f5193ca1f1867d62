"""Scores of the pieces of passages: how well each matches a query, by the vectors of tokens and by words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from korag.pruning.pieces import Piece
from korag.pruning.reading import ReadPassage
from korag.pruning.words import SharedWords

_SHARPNESS = 2
_OWN = 0.25
"""The weight of a piece's own matches; the rest is its passage's."""
_WORDS = 0.5
"""The weight of shared words in a match; the rest is the model's."""
_TINY = 1e-6


def score_pieces(
    query: NDArray[np.float32],
    passages: Sequence[ReadPassage],
    pieces: Sequence[Sequence[Piece]],
    words: Sequence[SharedWords] | None,
) -> list[NDArray[np.float64]]:
    """Scores the pieces of all passages for a query.

    The similarity of a query token to a piece is its greatest cosine there, as in MaxSim; where a heading above the
    piece or the header of its table has a greater one, the mean of both. Its match is how far that is on the way from
    its mean cosine with all tokens of the passages to the greatest, between 0 and 1, squared: weak matches count
    little. The square of that way is its weight, so that a token which is like everything says little, and one that
    only a few places have says much. A model's general level of cosines cancels out. The mean match of a piece, and
    that of its passage, is averaged with the share of words that it has in common with the query: a model takes names
    for one another. Of a piece's and its passage's, where other pieces say what this one is about, the score is the
    geometric mean, weighted, and relative to the best piece's. The numbers were chosen by ``benchmarks/pruning.py``
    (``docs/pruning.md``).

    Args:
        query: Vectors of the query's tokens. Shape: (n_tokens, dim).
        passages: The passages.
        pieces: The pieces of each.
        words: The words of the query in each; None if there are none.

    Returns:
        For each passage, the scores of its pieces, at most 1; NaN for one without a token. What heads others has the
        score of the best of them. Shape of each: (n_pieces,).
    """
    similarities = [query @ passage.vectors.T for passage in passages]
    tokens = sum(each.shape[1] for each in similarities)
    if not tokens or not len(query):
        return [np.full(len(own), np.nan) for own in pieces]
    least = np.sum([each.sum(axis=1, dtype=np.float64) for each in similarities], axis=0) / tokens
    most = np.max([each.max(axis=1) for each in similarities if each.shape[1]], axis=0)
    scale = _Scale(least, np.maximum(most - least, _TINY))
    shared: Sequence[SharedWords | None] = [None] * len(passages) if words is None else words
    found = [
        _scored(each, passage.owners, own, scale, known)
        for each, passage, own, known in zip(similarities, passages, pieces, shared, strict=True)
    ]
    best = max((float(np.nanmax(scores)) for scores in found if not np.isnan(scores).all()), default=0.0)
    return [scores / max(best, _TINY) for scores in found]


@dataclass(frozen=True)
class _Scale:
    """Where the cosines of query tokens begin, and how far it is to the greatest. Shapes: (n_tokens,)."""

    least: NDArray[np.float64]
    way: NDArray[np.float64]

    def mean_match(self, cosines: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the weighted mean of matches. Shapes: (n_tokens, n), (n,)."""
        matches = np.clip((cosines - self.least[:, None]) / self.way[:, None], 0, 1) ** _SHARPNESS
        return np.average(matches, axis=0, weights=self.way**2)


def _scored(
    similarities: NDArray[np.float32],
    owners: NDArray[np.int64],
    pieces: Sequence[Piece],
    scale: _Scale,
    words: SharedWords | None,
) -> NDArray[np.float64]:
    if not similarities.shape[1]:
        return np.full(len(pieces), np.nan)
    order = np.argsort(owners, kind="stable")
    present, starts = np.unique(owners[order], return_index=True)
    own = np.full((len(similarities), len(pieces)), np.nan)
    own[:, present] = np.maximum.reduceat(similarities[:, order], starts, axis=1)
    cosines = own.copy()
    for index, piece in enumerate(pieces):
        if heads := [head for head in piece.heads if pieces[head].is_head]:
            cosines[:, index] += np.clip(own[:, heads] - own[:, [index]], 0, None).max(axis=1) / 2
    matches, whole = scale.mean_match(cosines), scale.mean_match(similarities.max(axis=1, keepdims=True))
    if words is not None:
        matches = (1 - _WORDS) * matches + _WORDS * words.pieces
        whole = (1 - _WORDS) * whole + _WORDS * words.whole
    return _with_heads(matches**_OWN * whole ** (1 - _OWN), pieces)


def _with_heads(scores: NDArray[np.float64], pieces: Sequence[Piece]) -> NDArray[np.float64]:
    """Gives what heads others the score of the best of them."""
    below = np.full(len(pieces), np.nan)
    for score, piece in zip(scores, pieces, strict=True):
        for head in piece.heads if not piece.is_head else ():
            below[head] = np.fmax(below[head], score)
    heads = np.array([piece.is_head for piece in pieces]) & ~np.isnan(below)
    return np.where(heads, below, scores)
