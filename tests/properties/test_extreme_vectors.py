"""Vectors of any magnitude are ranked as exact arithmetic ranks them, or are an error."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from korag import Collection
from korag.errors import InvalidArgumentError
from korag.scoring import cosine, sparse_cosines, unit_rows
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

TEXTS = ["빗물이 처마를 두드린다", "기차가 다리를 건넌다", "감자를 삶아 먹었다"]


class Given:
    """An encoder that returns the vectors it is given, in the order of `TEXTS`, then the query's."""

    vectors: object = None

    def _encode(self, texts):
        rows = [TEXTS.index(text) if text in TEXTS else len(TEXTS) for text in texts]
        return [self.vectors[row] for row in rows] if isinstance(self.vectors, list) else self.vectors[rows]


class Dense(Given, FakeDenseEncoder):
    pass


class Dot(Dense):
    _similarity = "dot"


class Sparse(Given, FakeSparseEncoder):
    pass


class MultiVector(Given, FakeMultiVectorEncoder):
    pass


def collection(encoder, vectors):
    encoder.vectors = vectors
    made = Collection.in_memory(encoders=[encoder])
    made.add(TEXTS, ids=TEXTS)
    return made


def exact_cosine(one, other):
    """The square of the cosine with its sign, as a fraction."""
    x, y = ([Fraction(float(number)) for number in row] for row in (one, other))
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    length = sum(a * a for a in x) * sum(b * b for b in y)
    return dot * abs(dot) / length


exponents = st.integers(-133, 126)  # 1e-40 to 1e38
rows = st.lists(st.integers(-9, 9), min_size=4, max_size=4).filter(any)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.tuples(rows, exponents), min_size=3, max_size=3), rows, exponents)
def test_the_ranking_is_that_of_exact_arithmetic(documents, query, exponent):
    vectors = np.array([np.ldexp(np.array(row, np.float32), power - 3) for row, power in documents])
    asked = np.ldexp(np.array(query, np.float64), exponent - 3)
    exact = [exact_cosine(row, asked) for row in vectors]
    with collection(Dense(dim=4), vectors) as made:
        hits = made.search_by_vector(asked.tolist(), k=3)
    assert all(math.isfinite(hit.score) for hit in hits)
    found = [exact[TEXTS.index(hit.id)] for hit in hits]
    for better, worse in pairwise(found):  # within rounding
        assert better >= worse - Fraction(1, 10**6)
    for hit in hits:
        value = float(exact[TEXTS.index(hit.id)])
        assert hit.score == pytest.approx(math.copysign(math.sqrt(abs(value)), value), abs=1e-6)


@pytest.mark.slow
@settings(deadline=None)
@given(rows, exponents)
def test_a_power_of_two_changes_no_digit(row, exponent):
    plain = np.array([row], np.float32)
    assert np.array_equal(unit_rows(plain), unit_rows(np.ldexp(plain, exponent - 3)))
    weights = np.abs(np.array([row, [1, 2, 3, 4]], np.float32))
    scaled = sp.csr_array(np.ldexp(weights, exponent - 3))
    np.testing.assert_allclose(sparse_cosines(scaled), sparse_cosines(sp.csr_array(weights)), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e38, 1e-40, 5e-324, 1.7e308, 2**53 + 1])
def test_a_query_of_any_magnitude_finds_the_same(scale):
    vectors = np.eye(4, dtype=np.float32)[:3] + 0.25
    with collection(Dense(dim=4), vectors) as made:
        hits = made.search_by_vector([0, scale, 0, 0], k=3)
        assert [(hit.id, hit.score) for hit in hits] == [
            (hit.id, hit.score) for hit in made.search_by_vector([0, 1, 0, 0], k=3)
        ]
        assert hits[0].id == TEXTS[1]
        assert [hit.id for hit in made.diversify(hits, k=3)] == [
            hit.id for hit in made.diversify(made.search_by_vector([0, 1, 0, 0], k=3), k=3)
        ]


def test_cosines_of_float64():
    vectors = np.array([[1e200, 1e200], [1e-200, 0], [0, 0]])
    assert cosine(np.array([1e-300, 1e-300]), vectors) == pytest.approx([1, math.sqrt(0.5), 0])


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ([0] * 4, "is all zeros"),
        ([math.nan, 0, 0, 0], "holds NaN or infinity"),
        ([math.inf, 1, 1, 1], "holds NaN or infinity"),
        ([1, 1], r"has shape \(2,\)"),
        ([10**400, 0, 0, 0], "has shape"),
        (["a"] * 4, "has shape"),
    ],
)
def test_a_query_without_a_direction_is_an_error(vector, reason):
    with (
        collection(Dense(dim=4), np.eye(4, dtype=np.float32)) as made,
        pytest.raises(InvalidArgumentError, match=rf"(?s)질문 벡터.*query vector {reason}"),
    ):
        made.search_by_vector(vector)


EYE = np.eye(4, dtype=np.float32)
WRONG = [
    (Dense, EYE * np.nan),
    (Dense, np.full((4, 4), np.inf, np.float32)),
    (Dense, EYE[:, :3]),
    (Dense, EYE.astype(str)),
    (Sparse, sp.csr_array(EYE * np.float32(1e38))),
    (Sparse, sp.csr_array(EYE * np.float32(np.nan))),
    (MultiVector, [EYE * np.float32(1e38)] * 4),
    (MultiVector, [EYE * np.float32(1e-10)] * 4),
    (MultiVector, [EYE * np.nan] * 4),
    (MultiVector, [EYE[:, :2]] * 4),
]


@pytest.mark.parametrize(("kind", "vectors"), WRONG, ids=[f"{kind.__name__} {i}" for i, (kind, _) in enumerate(WRONG)])
def test_what_cannot_be_compared_is_an_error(kind, vectors):
    """When it is indexed and when it is searched with, not when a segment is opened or never."""
    encoder = kind(dim=4)
    with pytest.raises(InvalidArgumentError, match=encoder.model_name):
        collection(encoder, vectors)
    right = {Dense: EYE, Sparse: sp.csr_array(EYE), MultiVector: [EYE] * 4}[kind]
    with collection(encoder, right) as made:
        encoder.vectors = vectors
        with pytest.raises(InvalidArgumentError, match=encoder.model_name):
            made.search("무엇이 처마를 두드리나?")


def test_dot_products_are_numbers():
    with pytest.raises(InvalidArgumentError, match="1e\\+38"):
        collection(Dot(dim=4), EYE * np.float32(1e38))
    with collection(Dot(dim=4), (EYE * 1e15).astype(np.float64)) as made:
        assert made.search_by_vector([0, 1e15, 0, 0], k=1)[0].score == pytest.approx(1e30)
