"""Documents by the cells of their tokens, and the choice of those that a pruned search scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.kernels import inverted_lists, jit
from korag.kernels.inverted_lists import add_gains
from korag.legs.base import SegmentSlice
from korag.legs.multi_vector import candidates
from korag.legs.multi_vector.candidates import InvertedLists, NearestCells

seeds = st.integers(0, 2**32 - 1)
WAYS = ["kernel", "numpy"] if jit.is_available() else ["numpy"]


def _scores(rng: np.random.Generator, centroids: int, tokens: int) -> Any:
    shapes = (4, 256, tokens), (64, tokens), (centroids, tokens)
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)


def _slice(rng: np.random.Generator, lengths: list[int], centroids: int) -> SegmentSlice:
    cells = rng.integers(0, 64 * centroids, sum(lengths)).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return SegmentSlice({"codes": cells, "cells": cells, "offsets": offsets}, np.arange(len(lengths)))


@pytest.mark.parametrize("way", WAYS)
@given(seed=seeds, lengths=st.lists(st.integers(0, 30), min_size=1, max_size=30), tokens=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_a_query_token_counts_its_nearest_cell_that_has_the_document(
    way: str, seed: int, lengths: list[int], tokens: int
) -> None:
    rng = np.random.default_rng(seed)
    part = _slice(rng, lengths, 4)
    near = NearestCells.of(_scores(rng, 4, tokens))
    lists, sums = InvertedLists.of(part), np.zeros(len(lengths), np.int32)
    with pytest.MonkeyPatch.context() as patch:
        if way == "numpy":
            patch.setattr(jit, "is_available", lambda: False)
        add_gains(lists.starts, lists.documents, near.cells, near.gains, sums)
    offsets = part.arrays["offsets"].tolist()
    for document, total in enumerate(sums.tolist()):
        own = part.arrays["cells"][offsets[document] : offsets[document + 1]].tolist()
        expected = 0
        for cells, gains in zip(near.cells.tolist(), near.gains.tolist(), strict=True):
            expected += max((gain for cell, gain in zip(cells, gains, strict=True) if cell in own), default=0)
        assert total == expected


@given(seed=seeds, centroids=st.sampled_from([1, 3, 16]), tokens=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_the_cells_looked_into_are_the_nearest(seed: int, centroids: int, tokens: int) -> None:
    by_entry, by_residual, by_centroid = _scores(np.random.default_rng(seed), centroids, tokens)
    near = NearestCells.of((by_entry, by_residual, by_centroid))
    assert near.cells.shape == near.gains.shape == (tokens, 32)
    base = 0.0
    for cells, gains, token in zip(near.cells, near.gains, range(tokens), strict=True):
        scores = (by_centroid[:, None, token] + by_residual[None, :, token]).ravel()
        assert len(set(cells.tolist())) == 32
        assert np.allclose(scores[cells], np.sort(scores)[-32:])
        assert (np.diff(gains.astype(np.int64)) >= 0).all()
        assert np.abs(gains * near.step - (scores[cells] - scores[cells[0]])).max() < 1e-3
        base += float(scores[cells[0]])
    assert abs(near.base - base) < 1e-3


@given(seed=seeds, count=st.integers(1, 3_000), k=st.integers(1, 20), spread=st.sampled_from([1, 100, 10_000]))
@settings(max_examples=50, deadline=None)
def test_documents_within_the_margin_are_chosen(seed: int, count: int, k: int, spread: int) -> None:
    guesses = np.random.default_rng(seed).integers(0, spread, count).astype(np.float32)
    chosen = candidates._within(guesses, k, 30.0)
    assert (np.diff(chosen) > 0).all()
    ordered = np.sort(guesses)[::-1]
    least = min(count, candidates.LEAST * k)
    assert len(chosen) >= least
    within = int((guesses >= ordered[min(k, count) - 1] - 30).sum())
    if least < within <= count * candidates.MOST:
        assert len(chosen) == within
    assert guesses[chosen].min() >= np.delete(guesses, chosen).max(initial=-1)


def test_of_many_equal_guesses_a_quarter_is_chosen() -> None:
    guesses = np.zeros(100_000, np.float32)
    guesses[500:510] = 5
    chosen = candidates._within(guesses, 10, 10.0)
    assert len(chosen) == 25_000
    assert chosen[-1] == 24_999
    few = np.random.default_rng(0).random(100_000, np.float32)
    few[: 157 * 64 : 64] = 100
    assert len(candidates._within(few, 200, 1e-6)) == 200 * candidates.LEAST


@pytest.mark.parametrize("way", WAYS)
@given(seed=seeds, lengths=st.lists(st.integers(0, 30), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_each_cell_lists_the_documents_of_its_tokens(way: str, seed: int, lengths: list[int]) -> None:
    part = _slice(np.random.default_rng(seed), lengths, 1_024)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverted_lists, "MANY", 0 if way == "kernel" else 2**60)
        lists = InvertedLists.of(part)
    owners = np.repeat(part.rows, lengths)
    assert len(lists.documents) == lists.starts[-1] == sum(lengths)
    assert (np.diff(lists.starts) == np.bincount(part.arrays["cells"], minlength=2**16)).all()
    for cell in np.unique(part.arrays["cells"]).tolist():
        start, end = lists.starts[cell : cell + 2].tolist()
        assert lists.documents[start:end].tolist() == owners[part.arrays["cells"] == cell].tolist()


def test_lists_are_made_once_for_a_segment() -> None:
    part = _slice(np.random.default_rng(0), [3, 0, 5], 4)
    assert InvertedLists.of(part.only(np.array([2]))) is InvertedLists.of(part)
