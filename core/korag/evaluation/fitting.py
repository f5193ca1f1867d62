"""`fit_fusion`: the fusion of a collection's legs that is best for given questions, if one is shown to be."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.checks import FusionMethod
from korag.collection.base import DEFAULT_FETCH_K, Collection
from korag.collection.ranking import fuse_runs
from korag.collection.runs import LegRuns
from korag.encoders.progress import progress_bar
from korag.errors import InvalidArgumentError
from korag.evaluation.bootstrap import intervals
from korag.evaluation.dataset import Dataset
from korag.evaluation.judged import Judged, judged_questions, pseudo_questions
from korag.fusion import DEFAULT_METHOD, Fusion
from korag.keywords import checks_call
from korag.logs import logger

LEAST_QUESTIONS = 20
"""Below this number nothing is fitted: no gain could be shown."""
_MOST_QUESTIONS = 500
_DEPTH = 10
"""Of nDCG."""
_FOLDS, _REPEATS = 5, 5
_FACTORS = (0.5, 1.0, 2.0)
_PSEUDO_MARGIN = 0.01
"""Gain that pseudo-questions must show at least: they are only like what users ask."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FusionFit:
    """Result of `fit_fusion`.

    Attributes:
        fusion: The fusion to use: the fitted one, or the default.
        kept_default: True if no gain over the default was shown.
        stored: True if the collection uses the result from now on.
        legs: The legs that are fused.
        questions: Number of questions.
        pseudo: True if the questions were made of the documents.
        default_score: Mean nDCG@10 of the library's default on the questions.
        held_out_score: That of fitted fusions on questions they were not fitted to (5-fold cross-validation, repeated 5
            times); None with too few questions.
        gain: Mean difference of the two, per question, with its 95 % bootstrap interval; None with too few questions.
        score: That of `fusion` on the questions, which it was fitted to: an optimistic figure.
    """

    fusion: Fusion
    kept_default: bool
    stored: bool
    legs: tuple[str, ...]
    questions: int
    pseudo: bool
    default_score: float
    held_out_score: float | None
    gain: tuple[float, float, float] | None
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return asdict(self) | {"fusion": self.fusion.to_dict(), "legs": list(self.legs)}

    def __str__(self) -> str:
        """Formats it for the terminal."""
        made = " (문서에서 만든 질문 / made of the documents)" if self.pseudo else ""
        lines = [
            f"질문 {self.questions:,}개{made}, 검색 방식 {', '.join(self.legs)} / questions, legs",
            f"기본 결합의 nDCG@10: {self.default_score:.3f} / default fusion",
        ]
        if self.held_out_score is not None and self.gain is not None:
            lines += [
                f"맞춘 결합의 nDCG@10(맞출 때 쓰지 않은 질문): {self.held_out_score:.3f} / fitted fusion, held-out "
                "questions",
                "차이 [95%]: {:+.3f} [{:+.3f}, {:+.3f}] / difference".format(*self.gain),
            ]
        lines.append(self._verdict())
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.questions < LEAST_QUESTIONS:
            return (
                f"질문이 {LEAST_QUESTIONS}개보다 적어 기본 결합을 그대로 둡니다. / Too few questions (at least "
                f"{LEAST_QUESTIONS}): the default is kept."
            )
        if self.kept_default:
            return "나아진다는 근거가 없어 기본 결합을 그대로 둡니다. / No gain was shown: the default is kept."
        weights = ", ".join(f"{leg}={weight:g}" for leg, weight in (self.fusion.weights or {}).items()) or "1"
        saved = ("컬렉션에 저장했습니다", "stored") if self.stored else ("저장하지 않았습니다", "not stored")
        return (
            f"맞춘 결합: fusion='{self.fusion.method}', weights: {weights}. {saved[0]}. / The fitted fusion is "
            f"{saved[1]}."
        )


@checks_call
def fit_fusion(
    collection: Collection,
    questions: Mapping[str, Any] | Dataset | str | os.PathLike[str] | None = None,
    *,
    store: bool = True,
    seed: int = 0,
    show_progress: bool | None = None,
) -> FusionFit:
    """Finds the method and the weights by which a collection's legs are fused best, and makes them its default.

    Each leg is searched once. A few methods and weights are then tried on what the legs found, by the code that
    searches use, and measured by nDCG@10. Of those that are as good as the best within one standard error, the one
    nearest to the library's default is taken. Cross-validation (5 folds, repeated 5 times) estimates what that gives on
    questions which it was not fitted to. Unless the 95 % interval of the difference to the default lies above 0, the
    default is kept.

    >>> fit = fit_fusion(collection, {"보증금은 언제 돌려받나요?": ["임대차-3"], ...})  # doctest: +SKIP
    >>> print(fit)  # doctest: +SKIP

    Args:
        collection: Has at least two legs.
        questions: The ids of the documents that answer each question (or ids with grades); a
            `korag.evaluation.Dataset`; or an argument of `load_dataset`. None makes questions of titles, headings and
            first sentences, searched in up to 1,000 of the documents from which they were cut out, encoded again. They
            are shorter and more literal than what people ask, so they must show a gain of .01 at least; fifty real
            questions are better.
        store: Store the result with the collection, which then uses it for ``fusion="auto"``; where the default is
            kept, an earlier result is removed. False only looks.
        seed: Seed of folds, intervals and samples. The same questions give the same result.
        show_progress: Show a progress bar; None shows one in a terminal.

    Returns:
        The fusion, its estimates, and whether the default was kept.

    Raises:
        InvalidArgumentError: If the collection has only one leg.
        DatasetError: If there is no question, or a document is not in the collection.
        IndexStateError: If the store cannot keep a result; `ReadOnlyError` if its folder may not be written to. Both
            before any work.
    """
    if len(collection.legs) < 2:
        raise InvalidArgumentError(
            f"{collection!r}에는 검색 방식이 하나뿐이라 결합할 것이 없습니다. encoders=와 bm25=로 둘 이상 만드세요.",
            f"{collection!r} has one leg, so there is nothing to fuse; make two or more with encoders= and bm25=.",
        )
    if store:
        collection.store_fusion(collection.fitted_fusion)  # an error now rather than after all the work
    if questions is None:
        searched, judged = pseudo_questions(collection, seed)
    else:
        searched, judged = collection, judged_questions(collection, questions)
    judged = _sample(judged, seed)
    if not judged:
        return _keep(collection, store=store, judged=0, pseudo=True, default_score=math.nan)
    legs = collection.legs
    meant = [new or given for given, new in zip(judged, searched._repaired(list(judged)), strict=True)]
    runs = searched._leg_runs(meant, legs, DEFAULT_FETCH_K)
    default = Fusion().resolved()
    pseudo = questions is None
    if len(judged) < LEAST_QUESTIONS:
        score = float(_scores(default, runs, judged).mean())
        return _keep(collection, store=store, judged=len(judged), pseudo=pseudo, default_score=score)
    candidates = list(_candidates(legs))
    with progress_bar("Fusions", len(candidates), show=show_progress) as bar:
        rows = []
        for candidate in candidates:
            rows.append(_scores(candidate, runs, judged))
            bar.update(1)
    scores = np.stack(rows)
    distances = np.array([_distance(candidate) for candidate in candidates])
    held_out = _cross_validate(scores, distances, seed)
    gains = held_out - scores[0]
    low, high = (float(bound) for bound in intervals(gains[:, None], seed=seed)[:, 0])
    best = _choose(scores, distances)
    kept = best == 0 or low <= (_PSEUDO_MARGIN if pseudo else 0.0)
    fusion = default if kept else candidates[best]
    if store:
        collection.store_fusion(None if kept else fusion)
    return FusionFit(
        fusion=fusion,
        kept_default=kept,
        stored=store,
        legs=legs,
        questions=len(judged),
        pseudo=pseudo,
        default_score=float(scores[0].mean()),
        held_out_score=float(held_out.mean()),
        gain=(float(gains.mean()), low, high),
        score=float(scores[0 if kept else best].mean()),
    )


def _keep(collection: Collection, *, store: bool, judged: int, pseudo: bool, default_score: float) -> FusionFit:
    if store:
        collection.store_fusion(None)
    return FusionFit(
        fusion=Fusion().resolved(), kept_default=True, stored=store, legs=collection.legs, questions=judged,
        pseudo=pseudo, default_score=default_score, held_out_score=None, gain=None, score=default_score,
    )  # fmt: skip


def _sample(judged: Judged, seed: int) -> Judged:
    if len(judged) <= _MOST_QUESTIONS:
        return judged
    logger.info(
        "질문 %d개 중 %d개로 맞춥니다. / Fitting to %d of %d questions.",
        len(judged), _MOST_QUESTIONS, _MOST_QUESTIONS, len(judged),
    )  # fmt: skip
    chosen = np.random.default_rng(seed).permutation(len(judged))[:_MOST_QUESTIONS]
    questions = list(judged)
    return {questions[index]: judged[questions[index]] for index in sorted(chosen.tolist())}


def _candidates(legs: Sequence[str]) -> Iterator[Fusion]:
    """The default first; then other weights and methods, each up to a factor that all legs share."""
    methods: tuple[FusionMethod, ...] = (DEFAULT_METHOD, "anchored", "weighted")
    equal = (1.0,) * len(legs)
    yield Fusion(DEFAULT_METHOD)
    for method in dict.fromkeys(methods):
        seen = {equal} if method == DEFAULT_METHOD else set()
        without = [tuple(float(leg != left_out) for leg in legs) for left_out in legs] if len(legs) > 2 else []
        for weights in (equal, *itertools.product(_FACTORS, repeat=len(legs)), *without):
            relative = tuple(weight / max(weights) for weight in weights)
            if relative not in seen:
                seen.add(relative)
                yield Fusion(method, dict(zip(legs, weights, strict=True)))
    yield Fusion("rrf")


def _distance(fusion: Fusion) -> float:
    """Distance of a fusion from the default: doublings of weights against each other, and another method."""
    logs = [math.log2(weight) if weight else -3.0 for weight in (fusion.weights or {}).values()]
    middle = sorted(logs)[len(logs) // 2] if logs else 0.0
    return sum(abs(log - middle) for log in logs) + 2.0 * (fusion.method != DEFAULT_METHOD)


def _scores(fusion: Fusion, runs: Sequence[LegRuns], judged: Judged) -> Floats:
    """nDCG@10 of each question. Shape: (questions,)."""
    values = []
    for found, grades in zip(runs, judged.values(), strict=True):
        fused = fuse_runs(found, fusion)
        values.append(_ndcg([found.ids[key] for key, _ in fused[:_DEPTH]], grades))
    return np.array(values)


def _ndcg(ids: Sequence[str], grades: Mapping[str, int]) -> float:
    """As in `korag.evaluation.metrics`, which needs a package."""
    gain = sum(grades.get(id_, 0) / math.log2(rank + 1) for rank, id_ in enumerate(ids, start=1))
    best = sorted(grades.values(), reverse=True)[:_DEPTH]
    return gain / sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, start=1))


def _choose(scores: Floats, distances: Floats) -> int:
    """Returns the candidate nearest to the default among those within one standard error of the best.

    The rule is that of Breiman et al. 1984, Classification and Regression Trees, section 3.4.3; the error is that of
    the paired difference.

    Args:
        scores: Shape: (candidates, questions).
        distances: Shape: (candidates,).
    """
    means = scores.mean(axis=1)
    differences = scores[int(means.argmax())] - scores
    errors = differences.std(axis=1, ddof=1) / math.sqrt(scores.shape[1])
    near = np.flatnonzero(differences.mean(axis=1) <= errors)
    return int(min(near, key=lambda index: (distances[index], -means[index], index)))


def _cross_validate(scores: Floats, distances: Floats, seed: int) -> Floats:
    """Returns each question's score by fusions fitted to other questions, averaged. Shape: (questions,)."""
    random = np.random.default_rng(seed)
    total = np.zeros(scores.shape[1])
    for _ in range(_REPEATS):
        for fold in np.array_split(random.permutation(scores.shape[1]), _FOLDS):
            rest = np.setdiff1d(np.arange(scores.shape[1]), fold)
            total[fold] += scores[_choose(scores[:, rest], distances), fold]
    return total / _REPEATS
