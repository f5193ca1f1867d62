"""MaxSim of quantized tokens equals plain numpy, with kernels and without, in whatever company, and reads no more."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from korag.kernels import jit
from korag.kernels.maxsim import byte_maxsim, can_multiply, table_maxsim
from korag.kernels.packing import pack
from korag.kernels.tables import FACTORS, UNIT, make_tables

pytestmark = pytest.mark.slow

_ONES = np.ones((4, 256, 1), np.float32), np.ones((64, 1), np.float32), np.ones((2, 1), np.float32)
WAYS = ["kernel", "torch"] if jit.is_available() else ["torch"]
seeds = st.integers(0, 2**32 - 1)
lengths_of = st.lists(st.integers(0, 40), max_size=9)
tokens_of = st.lists(st.integers(1, 70), min_size=1, max_size=4)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(jit, "is_available", lambda: False)
    return str(request.param)


def _places(rng: np.random.Generator, lengths: list[int]) -> tuple[Any, Any, int]:
    """Where documents of these lengths are, in any order; and how many rows there are, some of them of no document."""
    sizes = np.array(lengths, np.int64)
    order = rng.permutation(len(lengths))
    begins = 2 + np.cumsum(sizes) - sizes
    return begins[order], sizes[order], int(sizes.sum()) + 4


def _scores(rng: np.random.Generator, size: int, tokens: int, kind: str) -> tuple[Any, Any, Any]:
    """Of the values of each byte, of the residual centroids, and of five centroids."""
    scale = {"tiny": 1e-42, "huge": 1e30, "zero": 0.0}.get(kind, 1.0)
    shapes = (size, 256, tokens), (64, tokens), (5, tokens)
    parts = [(rng.standard_normal(shape) * scale).astype(np.float32) for shape in shapes]
    if kind == "greatest":
        parts = [np.sign(part) for part in parts]
    return parts[0], parts[1], (np.ones_like(parts[2]) if kind == "equal" else parts[2])


def _plain_tables(codes: Any, cells: Any, gains: Any, scores: Any, residuals: Any, rows: Any) -> Any:
    """Of one document and one query, for each of its tokens."""
    factors = FACTORS[gains] / UNIT
    products = [
        factor
        * (
            scores[np.arange(len(scores)), code].sum(axis=0)
            + residuals[cell % 64]
            + rows[min(cell // 64, len(rows) - 1)]
        )
        for code, cell, factor in zip(codes, cells.tolist(), factors, strict=True)
    ]
    return np.max(products, axis=0)


@given(
    seed=seeds,
    size=st.sampled_from([1, 4, 5, 16, 64]),
    lengths=lengths_of,
    tokens=tokens_of,
    kind=st.sampled_from(["random", "greatest", "equal", "zero", "tiny", "huge"]),
)
@example(seed=1, size=16, lengths=[130] * 70, tokens=[32, 33], kind="random")  # more than are scored together
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("way", WAYS)
def test_maxsim_of_tables(way: str, seed: int, size: int, lengths: list[int], tokens: list[int], kind: str) -> None:
    rng = np.random.default_rng(seed)
    scores = [_scores(rng, size, n, kind) for n in tokens]
    begins, sizes, rows = _places(rng, lengths)
    codes = rng.integers(0, 256, (rows, size), dtype=np.uint8)
    # Of centroids of which the last two do not exist.
    cells = (64 * rng.choice([0, 1, 2, 3, 4, 5, 1_023], rows) + rng.integers(0, 64, rows)).astype(np.uint16)
    gains = rng.integers(0, 256, rows, dtype=np.uint8)
    queries, each = make_tables(scores), [make_tables([own]) for own in scores]
    with pytest.MonkeyPatch.context() as patch:
        if way == "torch":
            patch.setattr(jit, "is_available", lambda: False)
        found = table_maxsim(codes, cells, gains, begins, sizes, queries)
        assert found.shape == (len(lengths), len(tokens))
        for row, (begin, length) in enumerate(zip(begins.tolist(), sizes.tolist(), strict=True)):
            place, own = (begins[row : row + 1], sizes[row : row + 1]), slice(begin, begin + length)
            # To the last bit, in whatever company.
            alone = [table_maxsim(codes, cells, gains, *place, query) for query in each]
            assert np.ravel(alone).tolist() == found[row].tolist()
            if not length:
                assert found[row].tolist() == [-np.inf] * len(tokens)
                continue
            for column, parts in enumerate(scores):
                exact = [part.astype(np.float64) for part in parts]
                expected = _plain_tables(codes[own], cells[own], gains[own], *exact).sum()
                assert abs(found[row, column] - expected) <= queries.errors[column]


@pytest.mark.parametrize("size", [1, 2, 31, 1024])
def test_tables_of_the_greatest_scores_do_not_overflow(size: int) -> None:
    """The longer the codes, the coarser the steps, as halves that are rounded up add up."""
    rng = np.random.default_rng(size)
    scale = np.array([1, 1e-30, 1e30], np.float32)
    shapes = (size, 256, 3), (64, 3), (4, 3)
    queries = make_tables([tuple(np.abs(rng.standard_normal(s)).astype(np.float32) * scale for s in shapes)])  # type: ignore[list-item]
    tables = queries.tables[0].astype(np.int64)
    bytes_, residuals, last = tables[:-68].reshape(size, 256, 32), tables[-68:-4], tables[-4:]
    greatest = bytes_.max(axis=1).sum(axis=0) + residuals.max(axis=0) + last.max(axis=0)
    assert 16_000 < greatest[:3].min() <= greatest.max() <= 32_767
    assert not queries.tables[:, :, 3:].any()
    assert queries.steps[0, 3:].tolist() == [0.0] * 29


def _plain_bytes(codes: Any, queries: Any, steps: Any) -> Any:
    """Of one document and one query, for each of its tokens."""
    return (codes.astype(np.int64) @ queries.T.astype(np.int64)).max(axis=0) * steps.astype(np.float64)


@given(
    seed=seeds,
    dim=st.one_of(st.sampled_from([32, 64, 96, 128, 1024, 1025]), st.integers(1, 130)),
    lengths=lengths_of,
    tokens=tokens_of,
    kind=st.sampled_from(["random", "extreme", "lowest", "equal"]),
)
@example(seed=1, dim=128, lengths=[1, 2, 7, 8, 9, 63, 64, 65, 130, 300], tokens=[32, 33], kind="random")
@example(seed=1, dim=65_536, lengths=[1, 2], tokens=[1], kind="lowest")
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("way", WAYS)
def test_maxsim_of_bytes(way: str, seed: int, dim: int, lengths: list[int], tokens: list[int], kind: str) -> None:
    rng = np.random.default_rng(seed)
    choices = {"random": range(-128, 128), "extreme": (-127, 127), "lowest": (-128,), "equal": (1,)}[kind]
    begins, sizes, rows = _places(rng, lengths)
    codes = rng.choice(choices, (rows, dim)).astype(np.int8)
    queries = [(rng.choice(choices, (n, dim)).astype(np.int8), rng.random(n).astype(np.float32)) for n in tokens]
    with pytest.MonkeyPatch.context() as patch:
        if way == "torch":
            patch.setattr(jit, "is_available", lambda: False)
        assert can_multiply(dim) == (way == "kernel")
        found = byte_maxsim(codes, begins, sizes, pack(queries))
        assert found.shape == (len(lengths), len(tokens))
        for row, (begin, length) in enumerate(zip(begins.tolist(), sizes.tolist(), strict=True)):
            alone = [byte_maxsim(codes, begins[row : row + 1], sizes[row : row + 1], pack([own])) for own in queries]
            assert np.ravel(alone).tolist() == found[row].tolist()  # to the last bit, in whatever company
            for column, own in enumerate(queries):
                if length:
                    parts = _plain_bytes(codes[begin : begin + length], *own)
                    assert found[row, column] == pytest.approx(parts.sum(), abs=2e-6 * np.abs(parts).sum())
                else:
                    assert found[row, column] == -np.inf


@pytest.mark.parametrize("dim", [1, 7, 8, 96, 1024, 1025])
def test_products_of_bytes_are_exact(way: str, dim: int) -> None:
    """A query token with a step of 1 scores the product itself, if float32 holds it."""
    rng = np.random.default_rng(dim)
    codes, query = (rng.choice([-128, -127, 127], (rows, dim)).astype(np.int8) for rows in (40, 1))
    query[0, ::2] //= 2
    ones = np.ones(40, np.int64)
    found = byte_maxsim(codes, np.arange(40), ones, pack([(query, np.ones(1, np.float32))]))
    assert found[:, 0].tolist() == (codes.astype(np.int64) @ query[0].astype(np.int64)).astype(np.float32).tolist()


@pytest.mark.skipif("kernel" not in WAYS, reason="korag[fast] is not installed")
@given(seed=seeds, dim=st.sampled_from([1, 32, 50, 1025]), lengths=lengths_of, tokens=tokens_of)
@settings(max_examples=30, deadline=None)
def test_bytes_without_kernels(seed: int, dim: int, lengths: list[int], tokens: list[int]) -> None:
    rng = np.random.default_rng(seed)
    begins, sizes, rows = _places(rng, lengths)
    codes = rng.integers(-128, 128, (rows, dim)).astype(np.int8)
    queries = [(rng.integers(-127, 128, (n, dim)).astype(np.int8), rng.random(n).astype(np.float32)) for n in tokens]
    found = byte_maxsim(codes, begins, sizes, pack(queries))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "is_available", lambda: False)
        assert byte_maxsim(codes, begins, sizes, pack(queries)).tolist() == found.tolist()


@pytest.mark.skipif("kernel" not in WAYS, reason="korag[fast] is not installed")
@given(seed=seeds, size=st.sampled_from([1, 16, 33]), lengths=lengths_of, tokens=tokens_of)
@settings(max_examples=30, deadline=None)
def test_tables_without_kernels(seed: int, size: int, lengths: list[int], tokens: list[int]) -> None:
    rng = np.random.default_rng(seed)
    begins, sizes, rows = _places(rng, lengths)
    codes, cells = rng.integers(0, 256, (rows, size), dtype=np.uint8), rng.integers(0, 400, rows).astype(np.uint16)
    gains = rng.integers(0, 256, rows, dtype=np.uint8)
    queries = make_tables([_scores(rng, size, n, "random") for n in tokens])
    found = table_maxsim(codes, cells, gains, begins, sizes, queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "is_available", lambda: False)
        assert table_maxsim(codes, cells, gains, begins, sizes, queries).tolist() == found.tolist()


@pytest.mark.parametrize(
    ("begin", "length"),
    [(-1, 2), (3, 2), (0, -1), (0, 5), (2**62, 2**62), (5, 0)],
    ids=["before", "past", "negative", "long", "far", "none, past"],
)
def test_documents_that_do_not_exist(way: str, begin: int, length: int) -> None:
    tables, cells, gains = make_tables([_ONES]), np.zeros(4, np.uint16), np.zeros(4, np.uint8)
    place = np.array([begin]), np.array([length])
    with pytest.raises(ValueError, match="out of range"):
        table_maxsim(np.zeros((4, 4), np.uint8), cells, gains, *place, tables)
    query = pack([(np.ones((1, 32), np.int8), np.ones(1, np.float32))])
    with pytest.raises(ValueError, match="out of range"):
        byte_maxsim(np.zeros((4, 32), np.int8), np.array([begin]), np.array([length]), query)


def test_what_the_tables_are_not_made_for(way: str) -> None:
    tables, cells, gains = make_tables([_ONES]), np.zeros(4, np.uint16), np.zeros(4, np.uint8)
    codes, places = np.zeros((4, 4), np.uint8), np.array([0, 2])
    wrong: list[Any] = [codes.astype(np.int8), codes[:, ::2], codes[0], np.zeros((4, 0), np.uint8)]
    for other in wrong:
        with pytest.raises(ValueError, match="codes must be"):
            table_maxsim(other, cells, gains, places, places, tables)
    wrong = [cells.astype(np.int64), cells[:3], np.zeros(8, np.uint16)[::2], cells[:, None]]
    for other in wrong:
        with pytest.raises(ValueError, match="cells must be"):
            table_maxsim(codes, other, gains, places, places, tables)
    for other in [gains.astype(np.int8), gains[:3], gains[:, None]]:
        with pytest.raises(ValueError, match="gains must be"):
            table_maxsim(codes, cells, other, places, places, tables)
    with pytest.raises(ValueError, match="codes of 5 bytes do not fit tables for 4"):
        table_maxsim(np.zeros((4, 5), np.uint8), cells, gains, places, places, tables)
    with pytest.raises(ValueError, match="1 begins and 2 lengths"):
        table_maxsim(codes, cells, gains, places[:1], places, tables)
    with pytest.raises(ValueError, match="int64"):
        table_maxsim(codes, cells, gains, places.astype(np.int32), places, tables)
    scores, residuals, rows = _ONES
    none: Any
    for none in (
        [],
        [(scores[..., :0], residuals[:, :0], rows[:, :0])],
        [(scores[:, :16], residuals, rows)],
        [(scores[0], residuals, rows)],
    ):
        with pytest.raises(ValueError, match="at least one token"):
            make_tables(none)
    for none in ([(scores[:0], residuals, rows)], [(scores, residuals, rows[:0])]):
        with pytest.raises(ValueError, match="at least one"):
            make_tables(none)
    for bad in (
        (scores[:3], residuals, rows),
        (scores, residuals[:63], rows),
        (scores, residuals, rows[:1]),
        (scores, residuals, np.ones((2, 2), np.float32)),
    ):
        with pytest.raises(ValueError, match="the same codes"):
            make_tables([_ONES, bad])
    nan, infinity = np.float32(np.nan), np.float32(np.inf)
    for bad in (
        (scores * nan, residuals, rows),
        (scores, residuals * nan, rows),
        (scores, residuals, rows * infinity),
    ):
        with pytest.raises(ValueError, match="finite"):
            make_tables([bad])


def test_what_bytes_are_not_made_for(way: str) -> None:
    query = pack([(np.ones((1, 32), np.int8), np.ones(1, np.float32))])
    codes, places = np.zeros((4, 32), np.int8), np.array([0, 2])
    wide = np.zeros((4, 64), np.int8)
    for other in (codes.astype(np.uint8), wide[:, ::2], np.zeros((32, 4), np.int8).T, codes[:, :0], codes[0]):
        with pytest.raises(ValueError, match="codes must be"):
            byte_maxsim(other, places, places, query)
    with pytest.raises(ValueError, match="codes of 64 dimensions do not fit queries of 32"):
        byte_maxsim(wide, places, places, query)
    for begins, lengths in ((places, np.array([1])), (places.astype(np.int32), places), (places[None], places)):
        with pytest.raises(ValueError, match="begins"):
            byte_maxsim(codes, begins, lengths, query)
    for none in ([], [(np.zeros((0, 32), np.int8), np.zeros(0, np.float32))]):
        with pytest.raises(ValueError, match="at least one"):
            pack(none)
    for dim in (0, 65_537):
        assert not can_multiply(dim)
        with pytest.raises(ValueError, match="of 1 to 65536 dimensions"):
            pack([(np.zeros((1, dim), np.int8), np.ones(1, np.float32))])


_ON_ANOTHER = """
import numpy as np
from korag.kernels.maxsim import byte_maxsim
from korag.kernels.packing import pack
rng = np.random.default_rng(5)
for dim in (1, 31, 48, 128):
    codes = rng.integers(-128, 128, (400, dim)).astype(np.int8)
    queries = [(rng.integers(-128, 128, (n, dim)).astype(np.int8), rng.random(n).astype(np.float32)) for n in (3, 40)]
    begins, lengths = np.array([0, 1, 9, 60]), np.array([1, 8, 51, 300])
    print(byte_maxsim(codes, begins, lengths, pack(queries)).tolist())
"""


@pytest.mark.skipif("kernel" not in WAYS or platform.machine() not in ("x86_64", "AMD64"), reason="numba on x86 only")
@pytest.mark.parametrize("processor", ["haswell", "x86-64"])
def test_other_processors_multiply_bytes_in_another_way(processor: str) -> None:
    """One with AVX2 and one with SSE2, whose instructions every newer one has, find the same to the last bit."""
    found = []
    for own in ({}, {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **own}
        run = subprocess.run([sys.executable, "-c", _ON_ANOTHER], env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        found.append(run.stdout)
    assert found[0]
    assert found[0] == found[1]


class TestNoNumba:
    """Without numba, or with one that does not fit, there are no kernels, and search takes another way."""

    @pytest.fixture(autouse=True)
    def _afresh(self) -> Iterator[None]:
        jit.is_available.cache_clear()
        yield
        jit.is_available.cache_clear()

    def test_absent(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        def missing(name: str) -> str:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "version", missing)
        assert not can_multiply(128)
        assert not caplog.records

    @pytest.mark.skipif("kernel" not in WAYS, reason="korag[fast] is not installed")
    def test_unfit(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """As beside a newer numpy."""
        monkeypatch.setitem(sys.modules, "numba", None)
        assert not can_multiply(128)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "pip install -U 'korag[fast]'" in caplog.text
        assert "numba cannot be imported" in caplog.text


@pytest.mark.skipif("kernel" not in WAYS, reason="korag[fast] is not installed")
def test_several_threads_compile_a_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    made, wait = [], threading.Barrier(4)
    plain = numba.njit
    monkeypatch.setattr(
        numba, "njit", lambda **options: lambda function: made.append(function) or plain(**options)(function)
    )

    @jit.kernel
    def double(number: int) -> int:
        return 2 * number

    def work() -> None:
        wait.wait()
        assert double(4) == 8

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
