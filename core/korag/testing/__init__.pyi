from korag.testing.contract.collection import CollectionContract as CollectionContract
from korag.testing.contract.saving import SavingContract as SavingContract
from korag.testing.encoders import FakeDenseEncoder as FakeDenseEncoder
from korag.testing.encoders import FakeMultiVectorEncoder as FakeMultiVectorEncoder
from korag.testing.encoders import FakeSparseEncoder as FakeSparseEncoder
