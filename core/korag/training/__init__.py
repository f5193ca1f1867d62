"""Fine-tuning on (query, positive[, negatives]) pairs (``pip install 'korag[train]'``).

>>> from korag.training import finetune
>>> report = finetune("mini-colbert", "pairs.jsonl", "my-colbert")

Importing this loads no torch; names are imported when they are first used (PEP 562).
"""

from korag._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
