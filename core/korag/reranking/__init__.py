"""Rerankers: a query and candidate texts in, the candidates in order of their scores out."""
