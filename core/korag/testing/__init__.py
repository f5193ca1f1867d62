"""For authors of stores, legs and encoders: the contract as pytest classes, and fake encoders.

`CollectionContract` and `SavingContract` need pytest (``pip install 'korag[testing]'``), the fakes do not. Nothing here
loads torch. docs/extending.md shows how to use them.
"""

from korag._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
