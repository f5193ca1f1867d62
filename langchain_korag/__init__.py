"""KoRAG for LangChain: Korean retrieval models as embeddings, retrievers and document compressors.

>>> from langchain_korag import KoColBERTReranker, KoColBERTRetriever, KoEmbeddings
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_korag.embeddings import KoEmbeddings
    from langchain_korag.rerank_retriever import KoRerankRetriever
    from langchain_korag.rerankers import KoColBERTReranker, KoCrossEncoderReranker
    from langchain_korag.retrievers import KoBM25Retriever, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever
    from langchain_korag.sparse_embeddings import KoSparseEmbeddings
    from langchain_korag.vector_store import KoVectorStore

__all__ = [
    "KoBM25Retriever",
    "KoColBERTReranker",
    "KoColBERTRetriever",
    "KoCrossEncoderReranker",
    "KoEmbeddings",
    "KoHybridRetriever",
    "KoRerankRetriever",
    "KoSparseEmbeddings",
    "KoSpladeRetriever",
    "KoVectorStore",
]

_MODULES = {
    "KoBM25Retriever": "langchain_korag.retrievers",
    "KoColBERTReranker": "langchain_korag.rerankers",
    "KoColBERTRetriever": "langchain_korag.retrievers",
    "KoCrossEncoderReranker": "langchain_korag.rerankers",
    "KoEmbeddings": "langchain_korag.embeddings",
    "KoHybridRetriever": "langchain_korag.retrievers",
    "KoRerankRetriever": "langchain_korag.rerank_retriever",
    "KoSparseEmbeddings": "langchain_korag.sparse_embeddings",
    "KoSpladeRetriever": "langchain_korag.retrievers",
    "KoVectorStore": "langchain_korag.vector_store",
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
