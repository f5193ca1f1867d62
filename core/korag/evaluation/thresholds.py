"""The least relevance that tells questions a collection can answer from those that it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from korag.collection import LocalCollection
from korag.collection.base import Collection, SearchOptions
from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.evaluation.dataset import Dataset
from korag.text import check_texts, is_empty

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold on the relevance of the first hit, and how often it is wrong.

    Attributes:
        min_relevance: The threshold, as for `Collection.search`.
        rejected: Share of the answerable questions whose first hit is below it.
        accepted: Share of the unanswerable questions whose first hit is not.
    """

    min_relevance: float
    rejected: float
    accepted: float

    @property
    def error_rate(self) -> float:
        """The mean of both shares."""
        return (self.rejected + self.accepted) / 2

    def __str__(self) -> str:
        """Formats a line for the terminal."""
        return (
            f"권장 min_relevance {self.min_relevance:.2f}: 답이 있는 질문의 {self.rejected:.1%}를 잃고 답이 없는 "
            f"질문의 {self.accepted:.1%}가 남습니다. Recommended min_relevance {self.min_relevance:.2f}: loses "
            f"{self.rejected:.1%} of the answerable questions, keeps {self.accepted:.1%} of the others."
        )


def equal_error(answerable: Sequence[float], unanswerable: Sequence[float]) -> Threshold:
    """Returns the threshold at which both kinds of error are equally frequent (equal-error rate).

    Args:
        answerable: Relevance of the first hit of questions that the documents answer; 0 without a hit.
        unanswerable: The same for questions that they do not.

    Raises:
        InvalidArgumentError: If there are no questions of one kind.
    """
    kept, junk = np.sort(np.asarray(answerable, np.float64)), np.sort(np.asarray(unanswerable, np.float64))
    if not len(kept) or not len(junk):
        raise InvalidArgumentError(
            f"답이 있는 질문 {len(kept)}개와 없는 질문 {len(junk)}개를 받았습니다. 기준값을 구하려면 둘 다 "
            "있어야 합니다.",
            f"Got {len(kept)} answerable and {len(junk)} unanswerable questions; a threshold needs both.",
        )
    values = np.unique(np.concatenate([kept, junk]))
    # Errors change at the values only, so thresholds between them are enough, and a margin on both sides.
    candidates = np.concatenate([(values[1:] + values[:-1]) / 2, values[-1:]])
    rejected, accepted = _errors(kept, junk, candidates)
    best = int(np.argmin(np.abs(rejected - accepted)))
    return Threshold(
        min_relevance=float(candidates[best]), rejected=float(rejected[best]), accepted=float(accepted[best])
    )


def errors_at(min_relevance: float, answerable: Sequence[float], unanswerable: Sequence[float]) -> Threshold:
    """Returns how often a given threshold is wrong; arguments as for `equal_error`."""
    kept, junk = np.sort(np.asarray(answerable, np.float64)), np.sort(np.asarray(unanswerable, np.float64))
    rejected, accepted = _errors(kept, junk, np.array([min_relevance]))
    return Threshold(min_relevance=min_relevance, rejected=float(rejected[0]), accepted=float(accepted[0]))


def _errors(kept: Any, junk: Any, at: Any) -> tuple[Any, Any]:
    return np.searchsorted(kept, at) / len(kept), 1 - np.searchsorted(junk, at) / len(junk)


def first_relevances(
    collection: Collection, questions: Iterable[str], *, using: str | None = None, **settings: Any
) -> list[float]:
    """Returns the relevance of each question's first hit; 0 without one. Empty questions are left out.

    Args:
        collection: The collection.
        questions: The questions.
        using: As for `Collection.search`.
        settings: Further fields of `SearchOptions`.
    """
    filled = [question for question in check_texts(questions, "questions") if not is_empty(question)]
    options = SearchOptions(k=1, using=using, **settings)
    found = (
        collection.search_many(filled[first : first + _BATCH], options=options)
        for first in range(0, len(filled), _BATCH)
    )
    return [hits[0].relevance if hits else 0.0 for batch in found for hits in batch]


def recommend_threshold(
    collection: Collection,
    answerable: Iterable[str],
    unanswerable: Iterable[str],
    *,
    using: str | None = None,
    **settings: Any,
) -> Threshold:
    """Finds the `min_relevance` for a collection from questions that it can and cannot answer.

    Args:
        collection: The collection, with its documents.
        answerable: Questions that its documents answer; 100 or more for a reliable value.
        unanswerable: Questions that they do not, such as those of another subject.
        using: As for `Collection.search`.
        settings: Further fields of `SearchOptions`, such as `weights`.

    Returns:
        The threshold at which both kinds of error are equally frequent.

    Raises:
        InvalidArgumentError: If there are no questions of one kind, or a setting breaks its rule.
    """
    return equal_error(
        first_relevances(collection, answerable, using=using, **settings),
        first_relevances(collection, unanswerable, using=using, **settings),
    )


def thresholds_between(
    datasets: Sequence[Dataset],
    encoders: Sequence[Encoder[Any]],
    *,
    tokenizer: Any = None,
    most: int = 500,
    **settings: Any,
) -> dict[str, Threshold]:
    """Recommends a threshold for the documents of each data set, searched with all encoders and BM25.

    Args:
        datasets: Two or more, of different subjects: the questions of the others are those without an answer.
        encoders: At most one of each family.
        tokenizer: Of BM25, as for `Collection`.
        most: Questions of each kind at most.
        settings: Further fields of `SearchOptions`, such as `weights`.

    Returns:
        The threshold by the data set's name.

    Raises:
        InvalidArgumentError: If there are fewer than two data sets.
    """
    check_datasets(datasets)
    found: dict[str, Threshold] = {}
    for data in datasets:
        others = [other for other in datasets if other is not data]
        share = max(1, most // len(others))
        junk = [question for other in others for question in list(other.queries.values())[:share]]
        with LocalCollection.in_memory(encoders=list(encoders), bm25=True, tokenizer=tokenizer) as collection:
            collection.add_stream((id_, text) for id_, text in data.documents.items() if not is_empty(text))
            found[data.name] = recommend_threshold(collection, list(data.queries.values())[:most], junk, **settings)
    return found


def check_datasets(datasets: Sequence[object]) -> None:
    """Raises unless there are data sets whose questions can serve as those without an answer for another.

    Raises:
        InvalidArgumentError: If there are fewer than two.
    """
    if len(datasets) < 2:
        raise InvalidArgumentError(
            f"데이터가 {len(datasets)}개입니다. 기준값을 구하려면 주제가 다른 데이터가 둘 이상 있어야 합니다. 다른 "
            "데이터의 질문을 답이 없는 질문으로 씁니다. korag eval A B --threshold",
            f"{len(datasets)} data sets are given; a threshold needs two or more of different subjects, because the "
            "questions of the others serve as those without an answer: korag eval A B --threshold",
        )
