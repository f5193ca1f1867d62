"""One retriever of each kind, for tests that apply to all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from korag.encoders.base import Encoder
from langchain_korag import KoBM25Retriever, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever
from langchain_korag.collection_retriever import CollectionRetriever

NAMES = ("colbert", "splade", "bm25", "hybrid")
QUERY = "보증금은 언제 돌려받나요?"
WIDE = "보증금 계약, 도서관 휴관일, 연차 휴가 신청과 환불 규정"
"""A query that shares words with at least four documents, so that BM25 finds at least four."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A retriever class and its models.

    Attributes:
        cls: The class.
        models: Keywords of its ``from_documents`` and ``load_local``.
        extra: Keywords of its ``from_documents`` alone.
    """

    cls: type[CollectionRetriever]
    models: dict[str, Any]
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def make(self, documents: Iterable[Document], **options: Any) -> CollectionRetriever:
        return self.cls.from_documents(documents, **self.models, **self.extra, **options)

    def make_of_texts(self, texts: Iterable[str], *arguments: Any, **options: Any) -> CollectionRetriever:
        return self.cls.from_texts(texts, *arguments, **self.models, **self.extra, **options)

    def load(self, path: Path, **options: Any) -> CollectionRetriever:
        return self.cls.load_local(path, **self.models, **options)  # type: ignore[attr-defined, no-any-return]


def kind_of(name: str, colbert: Encoder[Any], splade: Encoder[Any]) -> Kind:
    """Returns a kind by name, with loaded models."""
    return {
        "colbert": Kind(KoColBERTRetriever, {"model": colbert}),
        "splade": Kind(KoSpladeRetriever, {"model": splade}),
        "bm25": Kind(KoBM25Retriever, {}),
        "hybrid": Kind(KoHybridRetriever, {"models": [colbert, splade]}, {"bm25": True}),
    }[name]


def ids(documents: Iterable[Document]) -> list[str | None]:
    return [document.id for document in documents]
