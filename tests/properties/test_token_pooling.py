"""Token pooling: clusters of a document's vectors, as sentence-transformers makes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from korag.legs.multi_vector.pooling import pool

sizes = st.tuples(st.integers(0, 40), st.integers(1, 9))
documents = sizes.flatmap(lambda size: arrays(np.float32, size, elements=st.floats(-2, 2, width=16)))


def unit(seed: int, tokens: int, dim: int = 32) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((tokens, dim)).astype(np.float32)
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


@settings(max_examples=150, deadline=None)
@given(documents, st.integers(1, 50))
def test_vectors_are_means_of_tokens_that_are_each_in_one(tokens: NDArray[np.float32], factor: int) -> None:
    pooled = pool(tokens, factor)
    assert pooled.dtype == np.float32
    assert len(pooled) == min(1, len(tokens)) + -(-max(0, len(tokens) - 1) // factor)
    np.testing.assert_array_equal(pooled[:1], tokens[:1])
    assert np.isfinite(pooled).all()
    np.testing.assert_array_equal(pool(tokens.copy(), factor), pooled)
    assert np.linalg.norm(pooled, axis=1).max(initial=0) <= np.linalg.norm(tokens, axis=1).max(initial=0) * 1.0001
    if factor == 1:
        np.testing.assert_array_equal(pooled, tokens)


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("tokens", [1, 2, 3, 17, 90])
def test_the_same_vectors_as_of_sentence_transformers(tokens: int, factor: int) -> None:
    """Where it leaves as many: it rounds down."""
    import torch
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    vectors = unit(tokens, 1 + tokens // factor * factor)
    reference = HierarchicalTokenPooling(factor, num_protected_tokens=1).pool_one(torch.from_numpy(vectors)).numpy()
    ours = pool(vectors, factor)
    assert ours.shape == reference.shape
    order = [np.lexsort(each.T) for each in (ours, reference)]
    np.testing.assert_allclose(ours[order[0]], reference[order[1]], atol=1e-5)


def test_lengths_are_kept_and_clusters_are_in_the_order_of_the_text() -> None:
    one, other = unit(1, 2)
    near = (one + 0.1 * other) / np.linalg.norm(one + 0.1 * other)
    pooled = pool(np.stack([other, one, other, near, -one]), 2)
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-5)
    assert pooled[1] @ one > 0.9
    long = pool(3 * np.stack([other, one, other, near, -one]), 2)
    np.testing.assert_allclose(long, 3 * pooled, rtol=1e-5)


def test_vectors_that_cancel_out_leave_nothing() -> None:
    (one,) = unit(3, 1)
    np.testing.assert_array_equal(pool(np.stack([one, one, -one]), 2)[1], 0)
