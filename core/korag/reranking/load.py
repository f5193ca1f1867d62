"""`load_reranker`: a reranker by its model's name, whichever kind the model is."""

from __future__ import annotations

import inspect
import os
from typing import Any

from korag.checks import reject_unknown
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder, load_encoder
from korag.encoders.load_checks import check_server_arguments
from korag.errors import InvalidArgumentError, WrongFamilyError
from korag.keywords import checks_call
from korag.remote.options import ServerOptions, is_url
from korag.reranking.base import TextReranker
from korag.reranking.colbert import Reranker, TokenCache
from korag.reranking.cross_encoder import CrossEncoderReranker
from korag.reranking.remote import RemoteReranker


@checks_call
def load_reranker(
    model: TextReranker | Encoder[Any] | str | os.PathLike[str],
    *,
    cache: TokenCache | None = None,
    query_length: int | None = None,
    like: TextReranker | Encoder[Any] | str | os.PathLike[str] | None = None,
    server: ServerOptions | None = None,
    **settings: Any,
) -> TextReranker:
    """Loads a cross-encoder or a late-interaction model; its files say which it is.

    Args:
        model: A name, a path, the address of a server (``https://…``), a loaded late-interaction encoder, or a
            reranker, which is returned as it is.
        cache: For a late-interaction model: the cache of its document vectors.
        query_length: For a late-interaction model: the longest query in tokens.
        like: For a server: the model that it serves, as a name, a path, or a loaded model. The server's scores, or
            vectors, are compared with its own.
        server: For a server: its API and key, and how to ask it.
        settings: Keywords that `CrossEncoderReranker` and `load_encoder` share; None counts as not given.

    Raises:
        InvalidArgumentError: If a keyword is unknown.
        WrongFamilyError: If it is a dense or sparse model.
        ServedModelError: If a server's scores are not those of `like`.
        ServerError: If a server does not answer.
    """
    taken = inspect.signature(CrossEncoderReranker).parameters
    reject_unknown("load_reranker", settings, [*taken, "cache", "query_length", "like", "server"])
    check_server_arguments(model, like=like, canaries=None, server=server)
    if is_url(model):
        local = load_reranker(like, cache=cache, query_length=query_length, **settings)  # type: ignore[arg-type]
        return _connect(str(model), local, ServerOptions() if server is None else server)
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


def _connect(url: str, local: TextReranker, server: ServerOptions) -> TextReranker:
    if isinstance(local, CrossEncoderReranker) and not isinstance(local, RemoteReranker):
        return RemoteReranker.like(local, url, server)
    if isinstance(local, Reranker):
        return Reranker(load_encoder(url, like=local.encoder, server=server), cache=local.cache)  # type: ignore[arg-type]
    name = type(local).__name__
    raise InvalidArgumentError(
        f"like에 {name}을(를) 넣었습니다. 크로스 인코더나 ColBERT 모델을 넣으세요.",
        f"like is a {name}; pass a cross-encoder or a ColBERT model.",
    )
