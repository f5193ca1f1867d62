"""For any texts, vectors depend only on the text, and batches cover every text once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from korag import load_encoder
from korag.encoders.batching import even_budget, token_budget_batches
from korag.errors import InvalidArgumentError, InvalidTextError

pytestmark = pytest.mark.slow

SYLLABLES = st.sampled_from("가나다라마바사아자차카타파하법률계약보증금환불규정조항")
WORDS = st.lists(st.text(SYLLABLES, min_size=1, max_size=4), min_size=1, max_size=40).map(" ".join)
TEXTS = st.lists(WORDS | st.text(max_size=20), min_size=1, max_size=6)
NAMES = ["mini-dense", "mini-splade", "mini-colbert"]

lightly = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def encoders():
    """For each model: the default budget, one text per batch, and a few texts per batch."""
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
        """Padding to the length of a longer text changes nothing."""
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

    @given(lengths=st.lists(st.integers(1, 500)), budget=st.integers(1, 1_000), spare=st.integers(0, 100))
    def test_longest_first_and_none_too_small(self, lengths, budget, spare):
        batches = list(token_budget_batches(lengths, budget, spare=spare))
        longest = [lengths[batch[0]] for batch in batches]
        assert longest == sorted(lengths, reverse=True)[:1] + longest[1:]
        assert longest == sorted(longest, reverse=True)
        for batch, following in pairwise(batches):  # one more text would not have fitted, or would have wasted too much
            one_more = [lengths[index] for index in [*batch, following[0]]]
            padded = len(one_more) * one_more[0]
            assert padded > budget or padded - sum(one_more) > max(spare, padded / 20)

    @given(lengths=st.lists(st.integers(1, 500), min_size=1), budget=st.integers(1, 1_000))
    def test_a_twentieth_is_padding_at_most(self, lengths, budget):
        batches = list(token_budget_batches(lengths, budget))
        padded = sum(len(batch) * lengths[batch[0]] for batch in batches)
        assert padded - sum(lengths) <= padded / 20


@given(
    length=st.integers(1, 600),
    count=st.integers(1, 400),
    budget=st.sampled_from([600, 2_048, 4_096]),
    cores=st.integers(1, 5),
)
def test_every_core_gets_as_many_batches_as_the_others(length: int, count: int, budget: int, cores: int) -> None:
    total = length * count
    rounds = -(-total // (budget * cores))
    even = even_budget([length] * count, budget, cores)
    sizes = [len(batch) for batch in token_budget_batches([length] * count, even)]
    assert even <= budget
    if even < budget and total >= 512 * rounds * cores:  # no core waits for more than a text a round
        assert -(-len(sizes) // cores) * max(sizes) <= count / cores + rounds
    if total <= 512:
        assert len(sizes) == 1  # too little to divide


def test_one_long_text_does_not_spoil_it() -> None:
    lengths = [2_048] + [40] * 600
    assert len(list(token_budget_batches(lengths, even_budget(lengths, 2_048, 4)))) == 16
    lengths = [600] + [20] * 100
    assert len(list(token_budget_batches(lengths, even_budget(lengths, 4_096, 4)))) in (4, 5)


class TestStreams:
    @pytest.mark.parametrize("name", NAMES)
    def test_blocks_are_what_one_call_gives(self, encoders, name):
        texts = [f"제{number}조 " + "보증금 반환 규정 " * (number % 7) for number in range(1, 24)]
        encoder = encoders[name][0]
        found = list(encoder.stream_documents((text for text in texts), block=10))
        assert [len(rows(block)) for block in found] == [10, 10, 3]
        assert_equal([row for block in found for row in rows(block)], rows(encoder.encode_documents(texts)))

    def test_texts_are_taken_only_when_needed(self, encoders):
        taken = []

        def texts():
            for number in range(100):
                taken.append(number)
                yield f"{number}번 문서"

        stream = encoders["mini-dense"][0].stream_documents(texts(), block=4)
        assert taken == []
        next(stream)
        next(stream)
        assert len(taken) == 8

    def test_one_report_at_the_end(self, encoders, caplog):
        texts = ["가", "", "나", ""]
        assert len(list(encoders["mini-dense"][0].stream_documents(texts, block=1))) == 4
        assert [record.getMessage().rpartition("/")[2] for record in caplog.records] == [" 2 of 4 texts are empty."]

    def test_a_bad_text_is_named_and_what_came_before_is_there(self, encoders):
        stream = encoders["mini-dense"][0].stream_documents(["가", "나", "다", 4], block=2)
        assert len(next(stream)) == 2
        with pytest.raises(InvalidTextError, match=r"texts\[3\]"):
            next(stream)

    @pytest.mark.parametrize("block", [0, -1, True, 2.0, "3"])
    def test_blocks_have_a_size(self, encoders, block):
        with pytest.raises(InvalidArgumentError, match=r"block="):
            encoders["mini-dense"][0].stream_documents(["가"], block=block)

    def test_a_single_string_is_no_stream(self, encoders):
        with pytest.raises(InvalidTextError, match="single string"):
            encoders["mini-dense"][0].stream_documents("가나다")

    def test_none_is_no_block(self, encoders):
        assert list(encoders["mini-dense"][0].stream_documents([])) == []
