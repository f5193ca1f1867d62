"""The contract of every store, put together."""

from __future__ import annotations

from korag.testing.contract.documents import DocumentTests
from korag.testing.contract.editing import EditingTests
from korag.testing.contract.encoded import EncodedTests
from korag.testing.contract.errors import ErrorTests
from korag.testing.contract.fitting import FittingTests
from korag.testing.contract.life import LifeTests
from korag.testing.contract.options import OptionTests
from korag.testing.contract.relevance import RelevanceTests
from korag.testing.contract.search import SearchTests


class CollectionContract(
    DocumentTests,
    EditingTests,
    EncodedTests,
    SearchTests,
    OptionTests,
    RelevanceTests,
    FittingTests,
    ErrorTests,
    LifeTests,
):
    """The contract of every store; see `korag.collection.base.Collection`.

    Inherit from it in a class whose name starts with ``Test`` and override the fixture `make`, which returns a
    function from ``encoders=[…]``, ``bm25=True`` (or a tokenizer, or a list of them) and ``tokenizer=None`` to a new,
    empty collection. Tests run with fake encoders; override the fixture `encoders` to run them with a model's vectors.
    """
