"""Encoding on several machines: one callable for Ray Data, Dask and Spark, and files that resume by content.

>>> dataset.map_batches(EncodeDocuments, fn_constructor_kwargs={"models": ["mini-colbert"], "folder": "/shared"})
>>> add_encoded_texts(collection, documents, "/shared")

A vector depends on its text and its model alone. So the files in `folder` are found by a hash of both: what a job has
encoded before it was killed is not encoded again, in whatever batches the texts come next time.
"""

from korag._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
