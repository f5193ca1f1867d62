"""Training pairs, and the error that lists what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field

from korag.errors import PairsError
from korag.text import normalize

_SHOWN = 20
"""Problems listed by an error; the rest are only counted."""
Problem = tuple[int | None, str, str]
"""(line, Korean, English)."""


@dataclass(frozen=True)
class Pair:
    """A query, a document that answers it, and documents that do not.

    Attributes:
        query: The query, without any prompt.
        positive: A document that answers it.
        negatives: Documents that do not answer it but resemble one that does.
        line: Its origin: line of a text file or row of a parquet file, from 1; not compared.
        scores: A teacher's scores, for `finetune(distill="scores")`: of the positive, then of each negative; empty for
            none. Negatives mined later have none.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    line: int | None = field(default=None, compare=False)
    scores: tuple[float, ...] = ()


def key(text: str) -> str:
    """Returns the form by which texts are compared: NFC, with runs of white space collapsed."""
    return " ".join(normalize(text).split())


def pairs_error(source: str, problems: list[Problem]) -> PairsError:
    """Makes the error that lists problems, at most twenty of them."""
    listed = sorted(problems, key=lambda problem: (problem[0] is not None, problem[0]))[:_SHOWN]
    more = len(problems) - len(listed)
    korean = [f"  {line}행: {text}" if line else f"  {text}" for line, text, _ in listed]
    english = [f"  line {line}: {text}" if line else f"  {text}" for line, _, text in listed]
    if more:
        korean.append(f"  … 외 {more}건")
        english.append(f"  … and {more} more")
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return PairsError(
        f"'{source}'에 문제가 {len(problems)}건 있어 학습을 시작하지 않았습니다.\n" + "\n".join(korean),
        f"'{source}' has {count}; training was not started.\n" + "\n".join(english),
        tuple(problems),
    )
