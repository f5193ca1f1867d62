"""Fixtures of all tests: no network, and the bundled models loaded once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: it reads this once
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: idle threads spin, on cores that xdist shares
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning after a fork is about us, not for us

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sentences import DOCUMENTS

from korag import CrossEncoderReranker, DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder
from korag.collection import LocalCollection, SearchOptions


@pytest.fixture(scope="session", autouse=True)
def same_vectors_on_every_processor() -> Iterator[None]:
    """With AMX, ``dtype="auto"`` picks bfloat16: scores differ in the third digit from those of other machines."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        for instruction in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
            patch.setattr(torch.cpu, instruction, lambda: False, raising=False)
        yield


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
    """A small random cross-encoder, since none is bundled."""
    from checkpoints import cross_encoder as build

    folder = tmp_path_factory.mktemp("models") / "cross-encoder"
    build(folder)
    return folder


@pytest.fixture(scope="session")
def cross_encoder(cross_encoder_folder: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(cross_encoder_folder)


@pytest.fixture(scope="session")
def chat_cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random reranker that answers yes or no."""
    from chat_checkpoints import chat_cross_encoder as build

    folder = tmp_path_factory.mktemp("models") / "chat-cross-encoder"
    build(folder)
    return folder


@pytest.fixture
def search_calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The ``exact`` of every search made of a local collection, in order."""
    seen: list[bool] = []
    original = LocalCollection._search

    def watched(self: LocalCollection, queries: list[str], legs: Any, options: SearchOptions) -> Any:
        seen.append(options.exact)
        return original(self, queries, legs, options)

    monkeypatch.setattr(LocalCollection, "_search", watched)
    return seen
