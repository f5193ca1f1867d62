"""KoRAG for LangChain: Korean retrieval models as embeddings, retrievers and document compressors.

>>> from langchain_korag import KoColBERTReranker, KoColBERTRetriever, KoEmbeddings
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_korag.embeddings import KoEmbeddings
    from langchain_korag.rerankers import KoColBERTReranker
    from langchain_korag.retrievers import KoColBERTRetriever
    from langchain_korag.sparse_embeddings import KoSparseEmbeddings

__all__ = ["KoColBERTReranker", "KoColBERTRetriever", "KoEmbeddings", "KoSparseEmbeddings"]

_MODULES = {
    "KoColBERTReranker": "langchain_korag.rerankers",
    "KoColBERTRetriever": "langchain_korag.retrievers",
    "KoEmbeddings": "langchain_korag.embeddings",
    "KoSparseEmbeddings": "langchain_korag.sparse_embeddings",
}

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            from korag._optional import require

            require("langchain_core", extra="langchain")
            return getattr(import_module(_MODULES[name]), name)
        raise AttributeError(f"module 'langchain_korag' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
