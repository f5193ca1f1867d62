"""What all tests share: no network, and the shipped models loaded once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: it reads this once
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning after a fork is about us, not for us

import pytest
from sentences import DOCUMENTS

from korag import DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return list(DOCUMENTS)


@pytest.fixture(scope="session")
def colbert() -> LateInteractionEncoder:
    return load_encoder("mini-colbert")


@pytest.fixture(scope="session")
def dense() -> DenseEncoder:
    return load_encoder("mini-dense")


@pytest.fixture(scope="session")
def splade() -> SparseEncoder:
    return load_encoder("mini-splade")
