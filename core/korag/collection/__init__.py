"""Collections: documents with their representations, added, filtered and searched.

`Collection` is the local store, `korag.collection.local.collection.LocalCollection`: the one that ``open`` and
``in_memory`` make. What every store does is `korag.collection.base.Collection`.
"""

from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.local.collection import LocalCollection

Collection = LocalCollection

__all__ = ["Collection", "Hit", "LocalCollection", "SearchOptions", "StoredDocument"]
