"""Assertions about vectors and errors, shared by several test files."""

import re

import numpy as np

from korag import KoragError

HANGUL = re.compile("[가-힣]")


def assert_bilingual(error: BaseException, *parts: str) -> None:
    """Korean first, then English, both naming the same things."""
    assert isinstance(error, KoragError)
    korean, english = error.args
    assert HANGUL.search(korean)
    assert re.search("[a-z]{3}", english)
    assert not HANGUL.search(english)
    assert str(error) == f"{korean}\n{english}"
    for part in parts:
        assert part in korean
        assert part in english


def dense_rows(vectors) -> np.ndarray:
    if isinstance(vectors, list):
        return np.concatenate(vectors)
    return vectors if isinstance(vectors, np.ndarray) else vectors.toarray()


def assert_same(left, right, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(dense_rows(left), dense_rows(right), atol=tolerance, rtol=0)


def cosines(left, right) -> np.ndarray:
    left, right = dense_rows(left).astype(np.float64), dense_rows(right).astype(np.float64)
    assert left.shape == right.shape
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
