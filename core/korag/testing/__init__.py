"""For authors of stores, legs and encoders: the contract as pytest classes, and fake encoders.

`CollectionContract` and `SavingContract` need pytest (``pip install 'korag[testing]'``); the fakes do not, and nothing
here loads torch. See docs/extending.md.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from korag._optional import require

if TYPE_CHECKING:
    from korag.testing.contract import CollectionContract, SavingContract
    from korag.testing.encoders import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

__all__ = [
    "CollectionContract",
    "FakeDenseEncoder",
    "FakeMultiVectorEncoder",
    "FakeSparseEncoder",
    "SavingContract",
]

_CONTRACTS = "korag.testing.contract"
_MODULES = {
    "CollectionContract": _CONTRACTS,
    "FakeDenseEncoder": "korag.testing.encoders",
    "FakeMultiVectorEncoder": "korag.testing.encoders",
    "FakeSparseEncoder": "korag.testing.encoders",
    "SavingContract": _CONTRACTS,
}

if "pytest" in sys.modules:  # in a test run; before the contract is imported, or its asserts would show no values
    require("pytest", extra="testing").register_assert_rewrite(_CONTRACTS)

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'korag.testing' has no attribute {name!r}")
        if _MODULES[name] == _CONTRACTS:
            require("pytest", extra="testing").register_assert_rewrite(_CONTRACTS)
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
