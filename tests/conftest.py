"""What all tests share: no network, and the shipped models loaded once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: it reads this once
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning after a fork is about us, not for us

from pathlib import Path
from typing import Any

import pytest
from sentences import DOCUMENTS

from korag import Collection, CrossEncoderReranker, DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder


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


@pytest.fixture(scope="session")
def cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random cross-encoder: none ships."""
    from checkpoints import cross_encoder as build

    folder = tmp_path_factory.mktemp("models") / "cross-encoder"
    build(folder)
    return folder


@pytest.fixture(scope="session")
def cross_encoder(cross_encoder_folder: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(cross_encoder_folder)


@pytest.fixture
def search_calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The ``exact`` of each search that a collection is search_calls for, in order."""
    seen: list[bool] = []
    original = Collection.search_many  # `Collection.search` calls it too

    def watched(*arguments: Any, **keywords: Any) -> Any:
        seen.append(keywords["exact"])
        return original(*arguments, **keywords)

    monkeypatch.setattr(Collection, "search_many", watched)
    return seen
