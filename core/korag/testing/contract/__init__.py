"""The tests every store must pass, as pytest classes to inherit from.

    from korag.testing import CollectionContract

    class TestMyStore(CollectionContract):
        @pytest.fixture(scope="class")
        @classmethod
        def make(cls):
            return MyStore.create

Needs pytest: ``pip install 'korag[testing]'``.
"""

from korag.testing.contract.documents import DocumentTests
from korag.testing.contract.errors import ErrorTests
from korag.testing.contract.fixtures import Encoders, Make
from korag.testing.contract.life import LifeTests
from korag.testing.contract.options import OptionTests
from korag.testing.contract.relevance import RelevanceTests
from korag.testing.contract.saving import SavingContract
from korag.testing.contract.search import SearchTests

__all__ = ["CollectionContract", "Encoders", "Make", "SavingContract"]


class CollectionContract(DocumentTests, SearchTests, OptionTests, RelevanceTests, ErrorTests, LifeTests):
    """What every store must do; see `korag.collection.base.Collection`.

    Inherit from it in a class whose name starts with ``Test`` and override the fixture `make`, which returns a
    function from ``encoders=[…]``, ``bm25=True`` and ``tokenizer=None`` to a new, empty collection. Tests run with fake
    encoders; override the fixture `encoders` to run them with a model's vectors.
    """
