"""The acts of ``eval/statute-title``, which must not occur in training data."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq

_ARTICLE = re.compile(r"\s*제\s*\d+\s*조")


def act_key(name: str) -> str:
    """Returns the name of an act without spaces and middle dots, whose use varies."""
    return re.sub(r"[\sㆍ·]", "", name)


@cache
def held_out_acts(data: Path) -> frozenset[str]:
    """Returns the keys of the acts whose articles are the documents of ``eval/statute-title``."""
    titles = pq.read_table(data / "eval/statute-title/corpus.parquet", columns=["title"])["title"].to_pylist()
    return frozenset(act_key(title) for title in titles)


def is_article_of(text: str, acts: frozenset[str]) -> bool:
    """Detects whether a document of the form ``<act> 제N조 …`` is an article of one of `acts`."""
    match = _ARTICLE.search(text)
    return match is not None and act_key(text[: match.start()]) in acts
