"""KoRAG for LlamaIndex: Korean retrieval models as embeddings, retrievers, an index and node postprocessors.

>>> from llamaindex_korag import KoColBERTIndex, KoColBERTRerank, KoColBERTRetriever
"""

from korag._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, requires="llama_index.core", extra="llamaindex")
