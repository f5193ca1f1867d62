"""The reference libraries' own output for a folder, as `LayoutCase.reference` returns it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layouts.case import DOCUMENTS, QUERIES


def dense(folder: Path, **settings: Any) -> tuple[Any, Any]:
    from sentence_transformers import SentenceTransformer

    return encoded(SentenceTransformer(str(folder), **_LOCAL, **settings))


def sparse(folder: Path, **settings: Any) -> tuple[Any, Any]:
    from sentence_transformers import SparseEncoder

    return encoded(SparseEncoder(str(folder), **_LOCAL, **settings))


def multi_vector(folder: Path, **settings: Any) -> tuple[Any, Any]:
    from sentence_transformers import MultiVectorEncoder

    return encoded(MultiVectorEncoder(str(folder), **_LOCAL, **settings))


def cross_encoder(folder: Path, **settings: Any) -> Any:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), **_LOCAL, **settings)
    return [model.predict([(query, text) for text in DOCUMENTS]) for query in QUERIES]


def encoded(model: Any) -> tuple[Any, Any]:
    """Encodes with any loaded model of sentence-transformers, one text at a time: padding rounds differently."""
    return (
        [_only(model.encode_query([text])) for text in QUERIES],
        [_only(model.encode_document([text])) for text in DOCUMENTS],
    )


def _only(vectors: Any) -> Any:
    (vector,) = vectors
    return vector.to_dense() if getattr(vector, "is_sparse", False) else vector


_LOCAL: dict[str, Any] = {"device": "cpu", "local_files_only": True}
