"""Collections: documents with their representations, added, filtered and searched."""

from korag.collection.hit import Hit, StoredDocument
from korag.collection.local import Collection

__all__ = ["Collection", "Hit", "StoredDocument"]
