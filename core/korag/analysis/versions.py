"""Versions of the analysis that makes terms of a document, recorded with every BM25 leg.

A query finds only what a document's terms were made with, so whatever changes the terms of any document is a new
version, and an older one stays as it was for collections made with it.

1. KoRAG 0.1.0: bigrams or content morphemes, references to statutes whole.
2. As `korag.analysis.analyzer` describes it.
"""

VERSION = 2
"""The version of new collections."""
