"""KoRAG for LangChain: Korean retrieval models as embeddings, retrievers and document compressors.

>>> from langchain_korag import KoColBERTReranker, KoColBERTRetriever, KoEmbeddings
"""

from korag._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, requires="langchain_core", extra="langchain")
