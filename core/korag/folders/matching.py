"""Finding the documents of a changed or renamed file that keep their vectors: those whose text is still there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Match:
    """The fate of a file's documents.

    Attributes:
        moved: New ids by old ones.
        gone: Ids whose texts are not in the file any more.
    """

    moved: dict[str, str]
    gone: list[str]


def match_texts(old: Mapping[str, T], new: Mapping[str, T]) -> Match:
    """Compares texts, or hashes of them, by id; a text that is there several times keeps its order."""
    left: dict[T, list[str]] = defaultdict(list)
    for id_, text in old.items():
        if new.get(id_) != text:
            left[text].append(id_)
    moved: dict[str, str] = {}
    for id_, text in new.items():
        if old.get(id_) != text and left.get(text):
            moved[left[text].pop(0)] = id_
    return Match(moved, [id_ for ids in left.values() for id_ in ids])
