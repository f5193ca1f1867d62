"""Collections: documents with their representations, added, filtered and searched."""

from korag.collection.base import Hit, StoredDocument
from korag.collection.local.collection import Collection

__all__ = ["Collection", "Hit", "StoredDocument"]
