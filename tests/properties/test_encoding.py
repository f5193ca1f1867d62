"""What holds for any texts: vectors depend on the text alone, and batches cover every text once."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from korag import load_encoder
from korag.encoders.batching import token_budget_batches

SYLLABLES = st.sampled_from("가나다라마바사아자차카타파하법률계약보증금환불규정조항")
WORDS = st.lists(st.text(SYLLABLES, min_size=1, max_size=4), min_size=1, max_size=40).map(" ".join)
TEXTS = st.lists(WORDS | st.text(max_size=20), min_size=1, max_size=6)
NAMES = ["mini-dense", "mini-splade", "mini-colbert"]

lightly = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def encoders():
    """For each model: with the default budget, with one text a batch, and with a few."""
    return {name: [load_encoder(name, batch_tokens=budget) for budget in (None, 1, 100)] for name in NAMES}


def rows(vectors) -> list[np.ndarray]:
    return (
        vectors
        if isinstance(vectors, list)
        else list(vectors if isinstance(vectors, np.ndarray) else vectors.toarray())
    )


def assert_equal(left, right) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def storable(texts: list[str]) -> list[str]:
    return [text.encode("utf-8", "replace").decode() for text in texts]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encode", ["encode_queries", "encode_documents"])
class TestVectorsDependOnTheTextAlone:
    @lightly
    @given(texts=TEXTS)
    def test_not_on_the_batches(self, encoders, name, encode, texts):
        texts = storable(texts)
        whole, single, few = (rows(getattr(encoder, encode)(texts)) for encoder in encoders[name])
        assert_equal(whole, single)
        assert_equal(whole, few)

    @lightly
    @given(texts=TEXTS, order=st.randoms())
    def test_not_on_the_order(self, encoders, name, encode, texts, order):
        texts = storable(texts)
        shuffled = list(range(len(texts)))
        order.shuffle(shuffled)
        encoder = encoders[name][0]
        straight = rows(getattr(encoder, encode)(texts))
        mixed = rows(getattr(encoder, encode)([texts[index] for index in shuffled]))
        assert_equal([straight[index] for index in shuffled], mixed)

    @lightly
    @given(text=WORDS, company=st.integers(1, 60))
    def test_not_on_longer_company(self, encoders, name, encode, text, company):
        """The padding that a longer text brings changes nothing."""
        encoder = encoders[name][0]
        alone = rows(getattr(encoder, encode)([text]))
        together = rows(getattr(encoder, encode)([text, "긴 글을 덧붙인다 " * company]))
        assert_equal(alone, together[:1])


class TestBatches:
    @given(lengths=st.lists(st.integers(0, 500)), budget=st.integers(1, 1_000))
    def test_every_index_once_and_within_the_budget(self, lengths, budget):
        batches = list(token_budget_batches(lengths, budget))
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget

    @given(lengths=st.lists(st.integers(1, 500)), budget=st.integers(1, 1_000))
    def test_longest_first_and_none_too_small(self, lengths, budget):
        batches = list(token_budget_batches(lengths, budget))
        longest = [lengths[batch[0]] for batch in batches]
        assert longest == sorted(lengths, reverse=True)[:1] + longest[1:]
        assert longest == sorted(longest, reverse=True)
        for batch in batches[:-1]:  # one more text would not have fitted
            assert (len(batch) + 1) * lengths[batch[0]] > budget
