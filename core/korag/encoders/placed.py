"""Token vectors with the places of their tokens in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Task
from korag.encoders.pipeline import Pipeline
from korag.encoders.tensors import as_float32
from korag.errors import InvalidArgumentError

_TINY = np.float32(1e-12)


class PlacedTokens(NamedTuple):
    """The tokens of a text that have a vector.

    Attributes:
        places: Beginning and end of each in the text, in characters; an empty place for those of the prompt and for
            special ones. Shape: (n_tokens, 2).
        vectors: Their unit vectors. Shape: (n_tokens, dim).
    """

    places: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Row(NamedTuple):
    """A text as a model reads it.

    Attributes:
        ids: Its tokens, padding included. Shape: (length,).
        kept: Those with a vector. Shape: (length,).
        vectors: Shape: (length, dim).
    """

    ids: NDArray[np.int64]
    kept: NDArray[np.bool_]
    vectors: NDArray[np.float32]


def to_rows(features: dict[str, Any]) -> list[Row]:
    """Splits the output of a late-interaction model into one row per text, with its tokens."""
    ids, mask = (features[name].cpu().numpy() for name in ("input_ids", "attention_mask"))
    vectors = as_float32(features["token_embeddings"])
    return [Row(*row) for row in zip(ids, mask.astype(bool), vectors, strict=True)]


def place_tokens(pipeline: Pipeline, texts: Sequence[str], rows: Sequence[Row], task: Task) -> list[PlacedTokens]:
    """Finds the places of tokens in their texts.

    Args:
        pipeline: That of the model.
        texts: The texts, in the form of `korag.text.normalize` and without spaces around them.
        rows: What the model made of them.
        task: Queries or documents.

    Raises:
        InvalidArgumentError: If the tokenizer does not tell, or the model reads other tokens than it makes.
    """
    return [_placed(pipeline, text, row, task) for text, row in zip(texts, rows, strict=True)]


def _placed(pipeline: Pipeline, text: str, row: Row, task: Task) -> PlacedTokens:
    (read,) = pipeline.cut(pipeline.prepare([text], task), task)
    ids, offsets = pipeline.offsets(read, task)
    before = pipeline.characters_before(text, task)
    start = next((at for at in (0, len(row.ids) - len(ids)) if at >= 0 and _same(row.ids, at, ids)), None)
    if start is None or None in offsets:
        raise InvalidArgumentError(
            "이 모델의 토크나이저는 토큰이 글의 어디에 있는지 알려 주지 않습니다. tokenizer.json이 있는 모델을 쓰세요.",
            "The tokenizer of this model does not tell where in a text its tokens are; use a model with a "
            "tokenizer.json.",
        )
    own = slice(start, start + len(ids))
    kept = row.kept[own]
    places = np.clip(np.array(offsets, np.int64).reshape(-1, 2) - before, 0, len(text))[kept]
    vectors = row.vectors[own][kept]
    return PlacedTokens(places, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY))


def _same(read: NDArray[np.int64], start: int, made: Sequence[int]) -> bool:
    """Returns whether the tokens from `start` on are those that the tokenizer makes; the others are padding."""
    return list(read[start : start + len(made)]) == list(made)
