"""Progress: it moves while a batch is computed, and its estimate is right after a resume."""

import io
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from tqdm.std import tqdm

from korag import Collection
from korag.collection.pacing import Pace
from korag.encoders import progress
from korag.encoders.progress import Progress, encoding_documents, is_watched, progress_bar
from korag.testing import FakeDenseEncoder, FakeSparseEncoder


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[tqdm]:
    """The bars that are made, in order."""
    made: list[Any] = []

    class Watched(tqdm):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords, file=io.StringIO(), mininterval=0)
            made.append(self)

    monkeypatch.setattr("tqdm.auto.tqdm", Watched)
    return made


def test_it_is_renewed_while_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_TICK", 0.01)
    screen = io.StringIO()
    with Progress(tqdm(total=10, file=screen)):
        before = len(screen.getvalue())
        deadline = time.monotonic() + 30
        while len(screen.getvalue()) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(screen.getvalue()) > before


def test_what_was_there_before_does_not_count_for_the_speed(bars: list[tqdm]) -> None:
    with progress_bar("Adding", 1_000, show=True) as bar:
        bar.skip(900)
        bar.update(10)
        (made,) = bars
        facts = made.format_dict
        assert (facts["n"], facts["initial"]) == (910, 900)


def test_encoders_move_the_bar_of_the_documents(bars: list[tqdm]) -> None:
    seen = []
    with progress_bar("Adding", 8, show=True) as bar:
        with bar.part(8):
            for texts in (8, 16):  # the second encoder reads them in windows
                with encoding_documents(4), progress_bar("Encoding", texts, show=True) as inner:
                    for _ in range(4):
                        inner.update(texts // 4)
                        seen.append(bars[0].n)
        assert len(bars) == 1
        assert seen == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_part_counts_whole_at_its_end_and_not_at_all_if_it_fails(bars: list[tqdm]) -> None:
    with progress_bar("Indexing", 3_000, show=True, unit="B") as bar:
        with bar.part(2, 1_000):
            pass
        assert bars[0].n == 1_000
        with pytest.raises(ZeroDivisionError), bar.part(2, 1_000):
            raise ZeroDivisionError
        assert bars[0].n == 1_000


def test_a_stream_that_resumes_skips_what_is_stored(bars: list[tqdm]) -> None:
    documents = [(f"문서-{number}", f"글 {number}") for number in range(30)]
    with Collection.in_memory(encoders=[FakeDenseEncoder(), FakeSparseEncoder()], bm25=True) as collection:
        collection.add_stream(documents[:20])
        collection.add_stream(documents, total=30, show_progress=True)
    made = bars[-1]
    assert (made.n, made.initial, made.total) == (30, 20, 30)


@pytest.mark.parametrize(
    ("terminal", "kernel", "watched"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_terminals_and_notebooks_are_watched(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, kernel: bool, watched: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()) if kernel else None)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert is_watched() is watched


class TestPace:
    def test_slow_documents_are_committed_a_few_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("korag.collection.pacing.monotonic", lambda: now[0])
        pace = Pace(2_048)
        longest = 0.0
        for seconds in (0.01, 0.01, 0.01, 1.0, 1.0, 5.0, 5.0):  # for a document
            pace.begin()
            took = pace.size * seconds
            now[0] += took
            pace.end(pace.size)
            longest = max(longest, took) if seconds == 5.0 else longest
        assert pace.size == 4  # 20 seconds
        assert longest <= 100.0  # of the first that was so slow

    def test_fast_documents_are_committed_many_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("korag.collection.pacing.monotonic", lambda: 0.0)
        pace = Pace(2_048)
        sizes = []
        for _ in range(4):
            sizes.append(pace.size)
            pace.begin()
            pace.end(pace.size)
        assert sizes == [64, 256, 1_024, 2_048]

    def test_a_list_is_committed_at_the_pace_of_its_models(
        self, monkeypatch: pytest.MonkeyPatch, bars: list[tqdm]
    ) -> None:
        now, stored = [0.0], []
        monkeypatch.setattr("korag.collection.pacing.monotonic", lambda: now[0])
        encode = FakeDenseEncoder.encode_documents

        def slow(self: Any, texts: Any, **keywords: Any) -> Any:
            stored.append(len(collection))
            now[0] += len(texts)  # a second for each
            return encode(self, texts, **keywords)

        monkeypatch.setattr(FakeDenseEncoder, "encode_documents", slow)
        texts, ids = [f"글 {number}" for number in range(120)], [f"문서-{number}" for number in range(120)]
        with Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True) as collection:
            collection.add(texts[:10], ids=ids[:10])
            collection.add(texts, ids=ids, show_progress=True)
        assert stored == [0, 10, 64, 84, 104]  # 64 at first, then what takes 20 seconds
        assert (bars[-1].n, bars[-1].initial, bars[-1].total) == (120, 10, 120)
