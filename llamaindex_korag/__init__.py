"""KoRAG for LlamaIndex: Korean retrieval models as embeddings, retrievers, an index and node postprocessors.

>>> from llamaindex_korag import KoColBERTIndex, KoColBERTRerank, KoColBERTRetriever
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamaindex_korag.embeddings import KoEmbedding
    from llamaindex_korag.index import KoColBERTIndex
    from llamaindex_korag.rerankers import KoColBERTRerank, KoCrossEncoderRerank
    from llamaindex_korag.retrievers import KoBM25Retriever, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever
    from llamaindex_korag.sparse_embeddings import KoSparseEmbedding

__all__ = [
    "KoBM25Retriever",
    "KoColBERTIndex",
    "KoColBERTRerank",
    "KoColBERTRetriever",
    "KoCrossEncoderRerank",
    "KoEmbedding",
    "KoHybridRetriever",
    "KoSparseEmbedding",
    "KoSpladeRetriever",
]

_MODULES = {
    "KoBM25Retriever": "llamaindex_korag.retrievers",
    "KoColBERTIndex": "llamaindex_korag.index",
    "KoColBERTRerank": "llamaindex_korag.rerankers",
    "KoColBERTRetriever": "llamaindex_korag.retrievers",
    "KoCrossEncoderRerank": "llamaindex_korag.rerankers",
    "KoEmbedding": "llamaindex_korag.embeddings",
    "KoHybridRetriever": "llamaindex_korag.retrievers",
    "KoSparseEmbedding": "llamaindex_korag.sparse_embeddings",
    "KoSpladeRetriever": "llamaindex_korag.retrievers",
}

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            from korag._optional import require

            require("llama_index.core", extra="llamaindex")
            return getattr(import_module(_MODULES[name]), name)
        raise AttributeError(f"module 'llamaindex_korag' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
