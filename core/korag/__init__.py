"""KoRAG: Korean retrieval models for LangChain and LlamaIndex.

>>> from korag import Collection, load_encoder

Importing this loads no torch; names are imported when they are first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from korag.collection import Collection, Hit
    from korag.encoders.dense import DenseEncoder
    from korag.encoders.load import load_encoder
    from korag.encoders.multi_vector import LateInteractionEncoder
    from korag.encoders.sparse import SparseEncoder
    from korag.errors import KoragError
    from korag.fusion import reciprocal_rank_fusion, weighted_fusion
    from korag.reranking.colbert import Reranker
    from korag.reranking.cross_encoder import CrossEncoderReranker
    from korag.scoring import maxsim

__all__ = [
    "Collection",
    "CrossEncoderReranker",
    "DenseEncoder",
    "Hit",
    "KoragError",
    "LateInteractionEncoder",
    "Reranker",
    "SparseEncoder",
    "load_encoder",
    "maxsim",
    "reciprocal_rank_fusion",
    "weighted_fusion",
]

_MODULES = {
    "Collection": "korag.collection",
    "CrossEncoderReranker": "korag.reranking.cross_encoder",
    "DenseEncoder": "korag.encoders.dense",
    "Hit": "korag.collection",
    "KoragError": "korag.errors",
    "LateInteractionEncoder": "korag.encoders.multi_vector",
    "Reranker": "korag.reranking.colbert",
    "SparseEncoder": "korag.encoders.sparse",
    "load_encoder": "korag.encoders.load",
    "maxsim": "korag.scoring",
    "reciprocal_rank_fusion": "korag.fusion",
    "weighted_fusion": "korag.fusion",
}

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return getattr(import_module(_MODULES[name]), name)
        raise AttributeError(f"module 'korag' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
