"""The words of a collection, counted in its texts for the repair of queries."""

from __future__ import annotations

from dataclasses import dataclass, replace

from korag.analysis.repair.lexicon import Lexicon
from korag.collection.local.database import Database
from korag.collection.local.views import repeated
from korag.forking import Lock

_DOCUMENTS, _CHARACTERS = 10_000, 4_000_000
"""Read at most: in one or two seconds. Of more documents, every n-th one; of long ones, the beginnings."""
_FEW = 100
"""Documents of a collection whose words are counted again at any change."""


@dataclass(frozen=True)
class _Counted:
    """A lexicon, and how many documents there were, and had ever been, when it was made."""

    lexicon: Lexicon
    generation: int
    documents: int
    last_key: int

    def is_outdated(self, documents: int, last_key: int) -> bool:
        """Returns True once more than an eighth of the documents has been added or deleted."""
        added = last_key - self.last_key
        changes = 2 * added + self.documents - documents
        return changes * 8 > self.documents or (changes > 0 and documents <= _FEW)


class LexiconReader:
    """Counts words at the first query, and again after many changes.

    Args:
        database: The documents.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: _Counted | None = None
        self._lock = Lock()

    @repeated
    def read(self) -> Lexicon:
        """Returns the words of the collection, or of so many of its texts that it takes a second at most."""
        known = self._counted
        if known is not None and known.generation == self._database.generation():
            return known.lexicon
        with self._lock, self._database.reading():
            generation, documents, last = (
                self._database.generation(), self._database.count(), self._database.last_key(),
            )  # fmt: skip
            known = self._counted
            if known is None or known.is_outdated(documents, last):
                known = _Counted(Lexicon(self._texts()), generation, documents, last)
            self._counted = replace(known, generation=generation)
            return known.lexicon

    def _texts(self) -> list[str]:
        existing = self._database.keys()[::-1]  # a range of numbers would mostly name documents since replaced
        keys = existing[:: max(1, -(-len(existing) // _DOCUMENTS))].tolist()
        return self._database.beginnings(keys, _CHARACTERS // max(1, len(keys)))
