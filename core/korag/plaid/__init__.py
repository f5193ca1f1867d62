"""A PLAID index (fast-plaid) of a collection's token vectors, with the collection's ids, filters, upserts and deletes.

>>> index = PlaidIndex.build(collection, "my-plaid")  # the vectors that the collection stores; nothing is encoded
>>> index.search("보증금은 언제 돌려받나요?", k=5, where={"연도": {"$gte": 2020}})
>>> index.sync(collection)  # after the collection has changed

fast-plaid numbers documents from 0 and renumbers them when some are deleted. `table` has the ids, texts and metadata of
its numbers, in SQLite, and names the folder that fast-plaid's files are in. A change never touches that folder: it
writes the next one, and one transaction of SQLite names it together with the new numbers. So whatever is killed, and
whenever, the numbers and the files fit together: both are of before the change, or both of after it.
"""

from korag._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
