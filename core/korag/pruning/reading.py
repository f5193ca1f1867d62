"""Passages as a late-interaction model reads them: the vectors of their tokens, and the piece each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from korag.encoders.multi_vector import LateInteractionEncoder
from korag.encoders.placed import PlacedTokens
from korag.legs.windows.settings import Windows
from korag.legs.windows.splitting import Span, split_documents
from korag.pruning.pieces import Pieces
from korag.splitting.views import View, view_of
from korag.text import normalize


@dataclass(frozen=True)
class ReadPassage:
    """The tokens of a passage.

    Attributes:
        vectors: Their unit vectors. Shape: (n_tokens, dim).
        owners: The piece of each. Shape: (n_tokens,).
        end: Where in the passage the model stopped reading.
    """

    vectors: NDArray[np.float32]
    owners: NDArray[np.int64]
    end: int


def read_query(encoder: LateInteractionEncoder, query: str) -> NDArray[np.float32]:
    """Returns the vectors of a query's own tokens, without prompt, special and mask tokens. Shape: (n_tokens, dim)."""
    ((places, vectors),) = encoder.encode_placed([normalize(query).strip()], "query")
    return vectors[places[:, 1] > places[:, 0]]


def read_passages(encoder: LateInteractionEncoder, passages: Sequence[Pieces]) -> list[ReadPassage]:
    """Reads passages, each at once; in overlapping windows where one is longer than what the model reads.

    Args:
        encoder: The model.
        passages: The passages; none of them empty.
    """
    texts = [passage.text for passage in passages]
    limit = encoder.max_length
    spans = (
        [[(0, len(text))] for text in texts]
        if limit is None
        else split_documents(encoder, texts, Windows(limit, max(1, limit - limit // 4)))
    )
    parts = [text[slice(*span)] for text, own in zip(texts, spans, strict=True) for span in own]
    views = [view_of(part) for part in parts]
    tokens = iter(encoder.encode_placed([view.text.strip() for view in views]))
    seen = iter(views)
    return [
        _joined(passage, own, [(next(seen), next(tokens)) for _ in own])
        for passage, own in zip(passages, spans, strict=True)
    ]


def _joined(passage: Pieces, spans: Sequence[Span], windows: Sequence[tuple[View, PlacedTokens]]) -> ReadPassage:
    starts = np.array([piece.start for piece in passage.pieces], np.int64)
    owners, vectors = [], []
    for (begin, _), (view, tokens) in zip(spans, windows, strict=True):
        has_place = tokens.places[:, 1] > tokens.places[:, 0]
        before = len(view.text) - len(view.text.lstrip())
        places = np.array([view.place(int(place) + before) for place in tokens.places[has_place, 0]], np.int64)
        owners.append(np.searchsorted(starts, places + begin, "right") - 1)
        vectors.append(tokens.vectors[has_place])
    return ReadPassage(np.concatenate(vectors), np.concatenate(owners), spans[-1][1])
