"""The habits of fast-plaid that KoRAG relies on or works around, and its stand-in shares."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("fast_plaid")
COUNT, DIM = 40, 64
SETTINGS: dict[str, Any] = {"show_progress": False, "n_full_scores": 4_096, "n_ivf_probe": 4}


def _documents(count: int = COUNT) -> list[Any]:
    torch = pytest.importorskip("torch")
    tokens = np.random.default_rng(7).normal(size=(count, 6, DIM)).astype(np.float32)
    return [torch.from_numpy(one / np.linalg.norm(one, axis=1, keepdims=True)) for one in tokens]


@pytest.fixture
def index(tmp_path: Path) -> Any:
    from fast_plaid import search

    made = search.FastPlaid(index=str(tmp_path / "index"), device="cpu")
    made.create(documents_embeddings=_documents(), nbits=4, start_from_scratch=0)
    return made


def _best(index: Any, query: Any, **settings: Any) -> list[int]:
    (found,) = index.search(query[None], **SETTINGS | settings)
    return [number for number, _ in found]


def test_numbers_are_places_and_those_behind_a_deleted_one_move_up(index: Any) -> None:
    documents = _documents()
    assert [_best(index, one, top_k=1)[0] for one in documents] == list(range(COUNT))
    index.delete([3, 10])
    left = [one for number, one in enumerate(documents) if number not in (3, 10)]
    assert [_best(index, one, top_k=1)[0] for one in left] == list(range(COUNT - 2))
    index.update(documents_embeddings=[documents[10]], start_from_scratch=0, buffer_size=1)
    assert _best(index, documents[10], top_k=1) == [COUNT - 2]


def test_a_subset_is_all_that_counts(index: Any) -> None:
    query = _documents()[0]
    assert set(_best(index, query, top_k=COUNT, subset=[[5, 9, 2]])) <= {2, 5, 9}


def test_no_more_are_returned_than_a_quarter_of_those_scored_in_full(index: Any) -> None:
    query = _documents()[0]
    assert len(_best(index, query, top_k=COUNT, n_full_scores=40, subset=[list(range(COUNT))])) <= 10


def test_an_index_of_fewer_than_ten_tokens_cannot_be_made(tmp_path: Path) -> None:
    from fast_plaid import search

    short = _documents(1)[0]
    made = search.FastPlaid(index=str(tmp_path / "short"), device="cpu")
    with pytest.raises(RuntimeError):
        made.create(documents_embeddings=[short], start_from_scratch=0)
    made.create(documents_embeddings=[short] * 2, start_from_scratch=0)


def test_pickles_are_written_by_default_and_not_with_our_settings(index: Any, tmp_path: Path) -> None:
    from fast_plaid import search

    index.update(documents_embeddings=_documents(1), start_from_scratch=0, buffer_size=1)
    assert not {path.name for path in Path(index.index).iterdir()} & {"embeddings.npy", "buffer.npy"}
    default = search.FastPlaid(index=str(tmp_path / "default"), device="cpu")
    default.create(documents_embeddings=_documents())
    assert (tmp_path / "default" / "embeddings.npy").exists()
