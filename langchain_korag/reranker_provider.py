"""KoRAG's rerankers for ``init_reranker`` of the langchain-reranker package."""

from __future__ import annotations

import importlib.metadata
import inspect
from typing import Any

from korag.checks import reject_unknown
from korag.encoders.load import load_encoder
from korag.errors import InvalidArgumentError, MissingDependencyError
from korag.reranking.cross_encoder import CrossEncoderReranker
from korag.reranking.load import load_reranker
from langchain_korag.rerankers import DocumentReranker, KoColBERTReranker, KoCrossEncoderReranker

_PACKAGE = "langchain-reranker"
_SCORE = "relevance_score"
"""Metadata key under which everything that ``init_reranker`` returns has its scores."""
_FIELDS = [name for name in KoColBERTReranker.model_fields if name not in ("model", "cache", "query_length")]
_LOADING = [
    name
    for name in inspect.signature(CrossEncoderReranker).parameters
    if name != "model" and name in inspect.signature(load_encoder).parameters
]


def register_reranker_provider() -> None:
    """Makes ``init_reranker("korag:…")`` of langchain-reranker return KoRAG's rerankers; may be called again.

    >>> register_reranker_provider()
    >>> reranker = init_reranker("korag:mini-colbert", top_n=3)

    The result is a `KoColBERTReranker` or a `KoCrossEncoderReranker`, as the model's files say. Keywords are their
    fields, `query_length` and what `korag.CrossEncoderReranker` takes (`device`, `dtype` …). Scores are in the metadata
    under ``"relevance_score"``, as with the package's other providers, unless another `score_key` is given. The package
    keeps its providers in a private table, which this adds a line to; it offers no other way.

    Raises:
        MissingDependencyError: If the package is not installed.
        InvalidArgumentError: If its table has another shape than that of 0.1.4.
    """
    try:
        from langchain_reranker.rerankers import base
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "langchain_reranker":
            raise
        raise MissingDependencyError(
            f"'{_PACKAGE}' 패키지가 설치되어 있지 않습니다. 다음 명령으로 설치하세요: pip install {_PACKAGE}",
            f"The package '{_PACKAGE}' is not installed. Install it with: pip install {_PACKAGE}",
        ) from error
    providers = getattr(base, "_BUILTIN_PROVIDERS", None)
    if not isinstance(providers, dict) or not all(map(_is_provider, providers.values())):
        version = importlib.metadata.version(_PACKAGE)
        raise InvalidArgumentError(
            f"{_PACKAGE} {version}의 제공자 표가 0.1.4와 다릅니다. init_reranker 대신 KoColBERTReranker나 "
            "KoCrossEncoderReranker를 바로 쓰세요.",
            f"The table of providers of {_PACKAGE} {version} is not that of 0.1.4; use KoColBERTReranker or "
            "KoCrossEncoderReranker themselves in place of init_reranker.",
        )
    providers["korag"] = (__name__, make_reranker.__name__, _create)


def make_reranker(model: str, **settings: Any) -> DocumentReranker:
    """Returns the reranker for a model, by its files.

    Args:
        model: A name or a path.
        settings: Fields of the reranker, `query_length`, and keywords of `korag.CrossEncoderReranker`; `score_key` is
            ``"relevance_score"`` if not given.

    Raises:
        WrongFamilyError: If it is a dense or sparse model.
    """
    reject_unknown(DocumentReranker, settings, [*_FIELDS, "query_length", *_LOADING])
    fields = {"score_key": _SCORE, **{name: settings.pop(name) for name in list(settings) if name in _FIELDS}}
    loaded: Any = load_reranker(model, **settings)
    if isinstance(loaded, CrossEncoderReranker):
        return KoCrossEncoderReranker(model=loaded, **fields)
    return KoColBERTReranker(
        model=loaded.encoder, cache=loaded.cache, query_length=settings.get("query_length"), **fields
    )


def _create(cls: Any, model: str, **settings: Any) -> DocumentReranker:
    """Calls what the table names, as the package's own functions do."""
    made: DocumentReranker = cls(model, **settings)
    return made


def _is_provider(entry: object) -> bool:
    """Returns True for (module, name in it, function that calls what it names)."""
    if not isinstance(entry, tuple) or len(entry) != 3:
        return False
    module, name, create = entry
    return isinstance(module, str) and isinstance(name, str) and callable(create)
