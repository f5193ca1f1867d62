"""KoRAG: Korean retrieval models for LangChain and LlamaIndex.

>>> from korag import Collection, load_encoder

Importing this loads no torch; names are imported when they are first used (PEP 562).
"""

from korag._lazy import lazy_exports

__version__ = "0.2.0.dev0"
__getattr__, __dir__, __all__ = lazy_exports(__name__)
