"""Metadata filters: the ``where`` of a collection.

A filter is a dict in the dialect of MongoDB and Chroma. `parse` turns it into a small tree that every store
translates; `matches` is the reference implementation in Python, `to_sql` the one for SQLite.

* ``{"연도": 2024}`` tests for equality; ``{"연도": {"$gte": 2020, "$lt": 2024}}`` applies operators: ``$eq $ne $gt
  $gte $lt $lte $in $nin $exists $contains $icontains $empty``. Several entries in a dict are joined by "and".
  ``$and`` and ``$or`` take a list of filters, ``$not`` takes one.
* Values compare within their type only: numbers with numbers (``3 == 3.0``), strings with strings (by code point),
  booleans with booleans (``True`` is not ``1``). Values of different types are neither equal nor
  ordered.
* Names of fields and strings are compared in Unicode normalization form C, in the filter and in the metadata: an NFC
  filter finds NFD metadata. Of a document's names that are then equal, the first counts.
* ``None`` equals null and a missing field. ``$exists`` tests for the key, whether or not its value is null.
* ``$contains`` is Python's ``in``: a list contains the value, or a string contains it as a substring. ``$icontains``
  does the same for strings, ignoring case (Unicode's full case folding).
* ``$empty`` tests whether the field is missing, null, ``""`` or ``[]``.
* ``$ne``, ``$nin`` and ``$not`` are plain negations, so they match documents without the field.
* Other operators match a list if any of its elements matches, each operator on its own; an empty list matches none.
  A dict, or a list in a list, matches nothing but ``$exists``.
* ``"a.b"`` is the key ``"a.b"`` if the document has it, otherwise the key ``b`` of the dict under ``a``.
* An integer operand has 64 bits at most; infinity is allowed (``{"$lt": inf}``: every number). A larger integer *in
  the metadata* counts as the nearest float, as SQLite reads it. Metadata is JSON: it cannot hold NaN, infinity, lone
  surrogates, or U+0000, where SQLite's JSON functions end a string.
* ``$and``, ``$or`` and ``$not`` nest 16 levels deep, and a filter has 1,000 conditions at most. The values of a field
  count once, in a list of any length or as alternatives: ``{"$or": [{"연도": 2023}, {"연도": 2024}, …]}``.

A new operator is a case in `parser`, and, unless the tree can express it already, a node in `ast` with its meaning
there and in `sql`.
"""

from korag.filters.ast import (
    And,
    AnyOf,
    Compare,
    Contains,
    Empty,
    Exists,
    Filter,
    Not,
    Or,
    Scalar,
    matches,
)
from korag.filters.parser import parse
from korag.filters.sql import add_functions, to_sql

__all__ = [
    "And",
    "AnyOf",
    "Compare",
    "Contains",
    "Empty",
    "Exists",
    "Filter",
    "Not",
    "Or",
    "Scalar",
    "add_functions",
    "matches",
    "parse",
    "to_sql",
]
