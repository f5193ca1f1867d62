"""The documents and the recall of benchmarks/search.py."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
MODULES = ("_passages", "_truth", "_search_runs", "_search_tables", "_common")
LENGTHS = ([5, 9, 4, 12], [7, 30])


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = SimpleNamespace(**{name.lstrip("_"): importlib.import_module(name) for name in MODULES})
    monkeypatch.setattr(found.passages, "CHUNK", 4)
    monkeypatch.setattr(found.truth, "CHUNK", 4)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six passages in two files, each token told apart by its first number."""
    rng, tokens = np.random.default_rng(0), 0
    for number, lengths in enumerate(LENGTHS):
        vectors = rng.standard_normal((sum(lengths), 128)).astype(np.float16)
        vectors[:, 0] = range(tokens, tokens + len(vectors))
        tokens += len(vectors)
        np.save(tmp_path / f"len_{number:03d}.npy", np.array(lengths, np.int32))
        np.save(tmp_path / f"tok_{number:03d}.npy", vectors)
    return tmp_path


def _tokens(documents, number: int) -> list[int]:
    return documents.document(number)[:, 0].astype(int).tolist()


def test_the_first_documents_are_the_passages_and_the_rest_windows_over_two(parts, folder: Path) -> None:
    documents = parts.passages.Passages(folder, 24)
    assert documents.real == 6
    assert _tokens(documents, 1) == list(range(5, 14))
    assert _tokens(documents, 6 + 1) == list(range(5 + 9 // 4, 14 + 4 // 4))
    assert _tokens(documents, 18 + 1) == list(range(5 + 27 // 4, 14 + 12 // 4))
    assert _tokens(documents, 12 + 3) == list(range(18 + 6, 30))  # the last of a file
    assert [len(documents.document(number)) for number in range(24)] == documents.lengths.tolist()


def test_more_documents_than_there_are_windows(parts, folder: Path) -> None:
    with pytest.raises(SystemExit, match="25 documents: 6 passages make at most 24"):
        parts.passages.Passages(folder, 25)


@pytest.mark.parametrize("count", [3, 6, 8, 24])
def test_true_scores_are_those_of_every_document(parts, folder: Path, tmp_path: Path, count: int) -> None:
    documents = parts.passages.Passages(folder, count)
    queries = np.random.default_rng(1).standard_normal((3, 32, 128)).astype(np.float32)
    vectors = [documents.document(number).astype(np.float32) for number in range(count)]
    expected = [[(query @ tokens.T).max(axis=1).sum() for tokens in vectors] for query in queries]
    for _ in range(2):  # computed, then read
        found = parts.truth.scores(documents, queries, tmp_path / "truth")
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_a_document_as_good_as_the_last_is_right(parts) -> None:
    scores = np.array([3.0, 2.0, 2.0, 1.0, 2.0], np.float32)
    assert parts.truth.right(["0", "4"], scores, None, 2) == 1
    assert parts.truth.right(["0", "3"], scores, None, 2) == 0.5
    assert parts.truth.right(["3", "2"], scores, np.array([False, False, True, True, True]), 2) == 0.5
    assert parts.truth.right(["3"], scores, np.array([False, False, False, True, False]), 2) == 1


def test_agreement_counts_equals_of_the_last(parts) -> None:
    exact = {"seconds": [1.0], "ids": [["a", "b"]], "scores": [[3.0, 2.0]]}
    assert parts.search_tables.agreement({"seconds": [1.0], "ids": [["a", "c"]], "scores": [[3.0, 2.0]]}, exact) == 1
    assert parts.search_tables.agreement({"seconds": [1.0], "ids": [["a", "c"]], "scores": [[3.0, 1.9]]}, exact) == 0.5
    assert parts.search_tables.agreement({"seconds": [1.0], "ids": [["b"]], "scores": [[2.0]]}, exact) == 0.5
