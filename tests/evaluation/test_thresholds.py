"""Thresholds that tell answerable from unanswerable questions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from answerable import ANSWERED, DOCUMENTS, UNANSWERED

from korag import Collection
from korag.cli import main
from korag.errors import InvalidArgumentError
from korag.evaluation import Dataset, recommend_threshold
from korag.evaluation.thresholds import equal_error, errors_at, thresholds_between


def test_equal_error() -> None:
    apart = equal_error([0.6, 0.8, 0.9], [0.1, 0.4])
    assert apart.min_relevance == pytest.approx(0.5)  # halfway between the sides
    assert (apart.rejected, apart.accepted, apart.error_rate) == (0, 0, 0)
    mixed = equal_error([0.2, 0.6, 0.7, 0.8], [0.1, 0.3, 0.4, 0.65])
    assert 0.4 < mixed.min_relevance < 0.6
    assert (mixed.rejected, mixed.accepted) == (0.25, 0.25)
    same = equal_error([0.5, 0.5], [0.5])
    assert same.min_relevance == 0.5
    assert errors_at(0.7, [0.6, 0.7], [0.8, 0.1]).rejected == 0.5  # a hit at the threshold is kept
    assert errors_at(0.7, [0.6, 0.7], [0.8, 0.1]).accepted == 0.5
    for one, other in (([], [0.5]), ([0.5], [])):
        with pytest.raises(InvalidArgumentError, match="needs both"):
            equal_error(one, other)


@pytest.mark.parametrize("using", ["dense", "bm25", "hybrid"])
def test_for_a_collection(using: str) -> None:
    with Collection.in_memory(encoders=["mini-dense"], bm25=True) as collection:
        collection.add(DOCUMENTS)
        found = recommend_threshold(collection, [*ANSWERED, " "], UNANSWERED, using=using)
        assert found.error_rate < 0.1
        kept = [bool(hits) for hits in collection.search_many(ANSWERED, using=using, min_relevance=found.min_relevance)]
        junk = collection.search_many(UNANSWERED, using=using, min_relevance=found.min_relevance)
        assert kept.count(False) / len(kept) == pytest.approx(found.rejected)
        assert sum(map(bool, junk)) / len(junk) == pytest.approx(found.accepted)
        with pytest.raises(InvalidArgumentError, match="needs both"):
            recommend_threshold(collection, ANSWERED, [])


def test_two_data_sets_are_needed(dataset: Dataset) -> None:
    with pytest.raises(InvalidArgumentError, match="two or more"):
        thresholds_between([dataset], [])


@pytest.mark.slow
def test_korag_eval_prints_it(tmp_path: Path, write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    own = [{"query": query, "positive": DOCUMENTS[number]} for number, query in enumerate(ANSWERED[:5])]
    other = [{"query": query, "positive": f"{query} 대한 글이다."} for query in UNANSWERED[:5]]
    paths = [str(write(tmp_path / "집.jsonl", own)), str(write(tmp_path / "여럿.jsonl", other))]
    command = ["eval", *paths, "--hybrid", "mini-dense", "--quiet", "--threshold"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^집: 권장 min_relevance 0\.\d\d: .* Recommended min_relevance 0\.\d\d: ", printed, re.MULTILINE)
    assert re.search(r"^여럿: 권장 min_relevance 0\.\d\d", printed, re.MULTILINE)
    assert main(["eval", paths[0], "--threshold"]) == 2
    assert "two or more" in capsys.readouterr().err
