"""Splitting long Korean texts into chunks that a model reads whole: statutes, Markdown, HTML, tables, code, prose.

>>> from korag.splitting import split
>>> chunks = split(text, encoder=encoder)
"""

from korag._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
