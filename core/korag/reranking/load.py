"""`load_reranker`: a reranker by its model's name, whichever kind the model is."""

from __future__ import annotations

import os
from typing import Any

from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.errors import WrongFamilyError
from korag.reranking.base import TextReranker
from korag.reranking.colbert import Reranker, TokenCache
from korag.reranking.cross_encoder import CrossEncoderReranker


def load_reranker(
    model: TextReranker | Encoder[Any] | str | os.PathLike[str],
    *,
    cache: TokenCache | None = None,
    query_length: int | None = None,
    **settings: Any,
) -> TextReranker:
    """Loads a cross-encoder or a late-interaction model; its files say which it is.

    Args:
        model: A name, a path, a loaded late-interaction encoder, or a reranker, which is returned as it is.
        cache: For a late-interaction model: the cache of its document vectors.
        query_length: For a late-interaction model: the longest query in tokens.
        settings: Keywords that `CrossEncoderReranker` and `load_encoder` share; None counts as not given.

    Raises:
        WrongFamilyError: If it is a dense or sparse model.
    """
    if isinstance(model, TextReranker):
        return model
    if isinstance(model, Encoder):
        return Reranker(model, cache=cache, query_length=query_length)
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        return CrossEncoderReranker(model, **given)
    except WrongFamilyError:
        pass
    try:
        encoder: Encoder[Any] = as_encoder(model, family="late_interaction", query_length=query_length, **given)
    except WrongFamilyError as error:
        name = os.fspath(model)
        raise WrongFamilyError(
            f"'{name}'은(는) 재순위에 쓸 수 없습니다. 크로스 인코더나 ColBERT(late_interaction) 모델을 넣으세요: "
            "korag models --family cross_encoder.",
            f"'{name}' cannot rerank; pass a cross-encoder or a ColBERT (late-interaction) model: korag models "
            "--family cross_encoder.",
        ) from error
    return Reranker(encoder, cache=cache)
