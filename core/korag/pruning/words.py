"""Words that a query and passages share: evidence beside that of a model, which takes names for one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from korag.analysis.tokenizers import BigramTokenizer
from korag.pruning.pieces import Piece, Pieces


@dataclass(frozen=True)
class SharedWords:
    """The weight of the words that a passage shares with a query, as a share of all that any passage shares with it.

    Attributes:
        pieces: Of each piece. Shape: (n_pieces,).
        whole: Of the passage.
    """

    pieces: NDArray[np.float64]
    whole: float


def share_words(query: str, passages: Sequence[Pieces]) -> list[SharedWords] | None:
    """Compares the tokens of passages with those of a query: those of BM25 by bigrams, without single characters.

    A token that the query has weighs ``log((1 + n) / (1 + m))`` if `m` of the `n` pieces of all passages have it; half
    as much for a piece that has it only in what heads it.

    Args:
        query: The query.
        passages: The passages.

    Returns:
        For each passage; None if no passage has a token of the query that another piece has not.
    """
    tokens = BigramTokenizer()
    wanted = {token for token in tokens([query])[0] if len(token) > 1}
    found = [
        [wanted.intersection(own) for own in tokens([passage.text[one.start : one.end] for one in passage.pieces])]
        for passage in passages
    ]
    pieces = [own for passage in found for own in passage]
    counts = {token: sum(token in own for own in pieces) for token in wanted}
    weights = {token: math.log((1 + len(pieces)) / (1 + count)) for token, count in counts.items() if count}
    total = math.fsum(weights.values())
    if not total:
        return None

    def share(own: set[str]) -> float:
        return math.fsum(weights[token] for token in own) / total

    def share_of_piece(piece: Piece, own: set[str], among: Sequence[set[str]]) -> float:
        above = set[str]().union(*(among[head] for head in piece.heads))
        return share(own) + share(above - own) / 2

    return [
        SharedWords(
            np.array([share_of_piece(*each, own) for each in zip(passage.pieces, own, strict=True)]),
            share(set().union(*own)),
        )
        for passage, own in zip(passages, found, strict=True)
    ]
