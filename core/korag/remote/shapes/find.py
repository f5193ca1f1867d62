"""Which API an address speaks, and where it has what a model needs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from korag.errors import InvalidArgumentError
from korag.remote.options import Api, ServerOptions, check_url
from korag.remote.shapes.base import Shape
from korag.remote.shapes.openai import OpenAIDense
from korag.remote.shapes.rerank import RerankShape, ResultsRerank, TeiRerank
from korag.remote.shapes.tei import TeiDense, TeiSparse
from korag.remote.shapes.vllm import VllmTokens

_RERANK = "cross_encoder"
_PATHS: dict[tuple[Api, str], tuple[str, Shape | RerankShape]] = {
    ("tei", "dense"): ("embed", TeiDense()),
    ("tei", "sparse"): ("embed_sparse", TeiSparse()),
    ("tei", _RERANK): ("rerank", TeiRerank()),
    ("openai", "dense"): ("v1/embeddings", OpenAIDense()),
    ("infinity", "dense"): ("embeddings", OpenAIDense()),
    ("infinity", _RERANK): ("rerank", ResultsRerank()),
    ("vllm", "dense"): ("v1/embeddings", OpenAIDense()),
    ("vllm", "late_interaction"): ("pooling", VllmTokens()),
    ("vllm", _RERANK): ("v1/rerank", ResultsRerank()),
    ("cohere", _RERANK): ("v2/rerank", ResultsRerank()),
    ("jina", _RERANK): ("v1/rerank", ResultsRerank()),
}
"""By API and family: the path, and its shape."""
_ENDINGS: dict[str, Api] = {
    "v1/rerank": "jina",
    "v2/rerank": "cohere",
    "embed": "tei",
    "embed_sparse": "tei",
    "embeddings": "openai",
    "pooling": "vllm",
}
"""Ends of a path that show the API."""


def find_encoding(url: str, options: ServerOptions, family: str) -> tuple[str, Shape]:
    """Returns the whole address for the vectors of a family, and the API's shape.

    Raises:
        InvalidArgumentError: If the API is not known or has no such vectors.
    """
    address, shape = _find(url, options, family)
    return address, shape


def find_reranking(url: str, options: ServerOptions) -> tuple[str, RerankShape]:
    """Returns the whole address for scores, and the API's shape.

    Raises:
        InvalidArgumentError: If the API is not known or has no scores.
    """
    address, shape = _find(url, options, _RERANK)
    return address, shape


def _find(url: str, options: ServerOptions, family: str) -> tuple[str, Any]:
    parts = check_url(url, options)
    path = parts.path.rstrip("/")
    ending = next((end for end in _ENDINGS if path.endswith(f"/{end}")), None)
    api = options.api or (None if ending is None else _ENDINGS[ending])
    if api is None:
        raise _unknown_api(url, family)
    if (api, family) not in _PATHS:
        raise _no_such_vectors(api, family)
    wanted, shape = _PATHS[api, family]
    last = wanted.rpartition("/")[2]
    if path.rpartition("/")[2] != last:
        if ending is not None:
            raise _other_path(path, wanted, family)
        version = wanted.partition("/")[0]
        path += f"/{last}" if path.endswith(f"/{version}") else f"/{wanted}"
    return urlunsplit(parts._replace(path=path)), shape


def _unknown_api(url: str, family: str) -> InvalidArgumentError:
    shown, apis = urlsplit(url).path or "/", ", ".join(repr(api) for api, other in _PATHS if other == family)
    return InvalidArgumentError(
        f"주소의 경로 '{shown}'만으로는 서버의 API를 알 수 없습니다. ServerOptions(api=...)를 넣으세요: {apis}.",
        f"The path '{shown}' does not show the server's API; pass ServerOptions(api=...): {apis}.",
    )


def _no_such_vectors(api: str, family: str) -> InvalidArgumentError:
    apis = ", ".join(repr(each) for each, other in _PATHS if other == family)
    return InvalidArgumentError(
        f"api={api!r}: {family} 모델을 제공하지 않는 API입니다. 쓸 수 있는 것: {apis}.",
        f"api={api!r} does not serve {family} models; those that do: {apis}.",
    )


def _other_path(path: str, wanted: str, family: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"경로 '{path}'은(는) {family} 모델의 것이 아닙니다. 끝이 '/{wanted}'인 주소를 넣으세요.",
        f"The path '{path}' is not one for {family} models; pass an address that ends in '/{wanted}'.",
    )
