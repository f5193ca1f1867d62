"""KoRAG for LlamaIndex: Korean retrieval models as node postprocessors.

>>> from llamaindex_korag import KoColBERTRerank
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamaindex_korag.rerankers import KoColBERTRerank

__all__ = ["KoColBERTRerank"]

_MODULES = {"KoColBERTRerank": "llamaindex_korag.rerankers"}

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            from korag._optional import require

            require("llama_index.core", extra="llamaindex")
            return getattr(import_module(_MODULES[name]), name)
        raise AttributeError(f"module 'llamaindex_korag' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
