"""Metadata filters: the ``where`` of a collection."""
