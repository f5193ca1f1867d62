"""Teachers: what scores a query's candidates for distillation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from korag.encoders.base import Encoder
from korag.encoders.load import load_encoder
from korag.errors import InvalidArgumentError, WrongFamilyError
from korag.reranking.base import TextReranker
from korag.reranking.cross_encoder import CrossEncoderReranker
from korag.training.negatives import score_documents
from korag.training.pairs import Pair

ScoreFunction = Callable[[str, list[str]], Sequence[float]]
TeacherLike = str | os.PathLike[str] | Encoder[Any] | TextReranker | ScoreFunction
GIVEN = "scores"
"""Stands for the scores that the pairs have themselves."""
_COSINE_TEMPERATURE = 0.05
_Rows = Sequence[tuple[str, list[str]]]


@dataclass(frozen=True)
class Teacher:
    """A source of scores.

    Attributes:
        name: Its name, for the report.
        identity: Changes if its scores may.
        temperature: Temperature of its scores if the recipe has none.
        encoder: The encoder, if it is one.
        score: Scores the candidates of queries; None if the pairs have the scores.
    """

    name: str
    identity: str
    temperature: float
    encoder: Encoder[Any] | None
    score: Callable[[_Rows], list[list[float]]] | None


def open_teacher(distill: TeacherLike, **options: Any) -> Teacher:
    """Loads a teacher.

    Args:
        distill: A model by name, path or loaded: an encoder of any family, or a reranker; a function from a query and
            documents to a score each; or ``"scores"``.
        options: Keywords of `load_encoder`, for a model by name or path.

    Raises:
        InvalidArgumentError: If it is something else.
    """
    if isinstance(distill, str) and distill == GIVEN:
        return Teacher(GIVEN, GIVEN, 1.0, None, None)
    if isinstance(distill, str | os.PathLike):
        name = distill
        try:
            distill = load_encoder(name, **options)
        except WrongFamilyError:  # its files say that it is a cross-encoder
            distill = CrossEncoderReranker(name, **options)
    if isinstance(distill, Encoder):
        encoder: Encoder[Any] = distill
        cosines = encoder.family == "dense" and encoder.similarity == "cosine"
        return Teacher(
            encoder.model_name, str(encoder.fingerprint), _COSINE_TEMPERATURE if cosines else 1.0, encoder,
            lambda rows: _by_encoder(encoder, rows),
        )  # fmt: skip
    if isinstance(distill, TextReranker):
        reranker = distill
        called = str(getattr(reranker, "model_name", type(reranker).__name__))
        identity = str(getattr(reranker, "fingerprint", called))
        return Teacher(called, identity, 1.0, None, lambda rows: _by_reranker(reranker, rows))
    if callable(distill):
        function = distill
        called = str(getattr(function, "__qualname__", type(function).__name__))
        return Teacher(
            called, f"{getattr(function, '__module__', '')}.{called}", 1.0, None,
            lambda rows: [_by_function(function, query, documents) for query, documents in rows],
        )  # fmt: skip
    raise InvalidArgumentError(
        f"distill={distill!r:.80}: 교사로 쓸 수 없습니다. 모델 이름이나 폴더, 불러온 인코더나 재순위 모델, (질문, 문서 "
        "리스트)를 받아 점수의 리스트를 돌려주는 함수, 또는 쌍에 있는 점수를 뜻하는 'scores'를 넣으세요.",
        f"distill={distill!r:.80} cannot teach. Pass the name or folder of a model, a loaded encoder or reranker, a "
        "function from (query, documents) to scores, or 'scores' for those of the pairs.",
    )


def check_candidates(distill: TeacherLike, pairs: Sequence[Pair], negatives: int, *, mine: bool) -> None:
    """Checks that there is something to distill, before any work.

    Args:
        distill: The teacher.
        pairs: The training pairs.
        negatives: The recipe's number of negatives.
        mine: Negatives will be mined.

    Raises:
        InvalidArgumentError: If no query has two candidates, or ``"scores"`` was passed and no pair has any.
    """
    if distill == GIVEN and not any(pair.scores for pair in pairs):
        raise InvalidArgumentError(
            "distill='scores': 점수가 있는 쌍이 없습니다. 쌍 파일에 scores 열(정답, 오답 순서의 점수 리스트)을 넣거나, "
            "교사 모델을 지정하세요.",
            "distill='scores': no pair has scores. Add a column scores (a list: of the positive, then of each "
            "negative), or pass a model as the teacher.",
        )
    with_negatives = sum(bool(pair.negatives) for pair in pairs)
    if negatives == 0 or not (mine or with_negatives):
        raise InvalidArgumentError(
            f"distill: 질문마다 비교할 문서가 정답 하나뿐입니다(레시피의 negatives={negatives}, 오답이 있는 쌍 "
            f"{with_negatives}개). 오답이 있는 쌍을 쓰거나 mine=True를 지정하고, negatives를 1 이상으로 하세요.",
            f"distill: each query has its positive as the only candidate (the recipe's negatives={negatives}; "
            f"{with_negatives} pairs have negatives). Use pairs with negatives or pass mine=True, with negatives of at "
            "least 1.",
        )


def taught_scores(teacher: Teacher, pairs: Sequence[Pair], columns: Mapping[str, list[str]]) -> list[list[float]]:
    """Scores every candidate.

    Args:
        teacher: The teacher.
        pairs: The pairs.
        columns: Their columns, from `korag.training.columns.to_columns`.

    Returns:
        A list per pair: the score of the positive and of each negative; NaN for a candidate without one.

    Raises:
        InvalidArgumentError: If a function returns something else than a finite number per document.
    """
    names = list(columns)[1:]
    if teacher.score is None:
        return [[*pair.scores[: len(names)], *[float("nan")] * (len(names) - len(pair.scores))] for pair in pairs]
    documents = zip(*(columns[name] for name in names), strict=True)
    return teacher.score([(query, list(row)) for query, row in zip(columns["query"], documents, strict=True)])


def _by_encoder(encoder: Encoder[Any], rows: _Rows) -> list[list[float]]:
    queries = {query: number for number, query in enumerate(dict.fromkeys(query for query, _ in rows))}
    documents = {text: number for number, text in enumerate(dict.fromkeys(text for _, row in rows for text in row))}
    encoded = encoder.encode_queries(list(queries), show_progress=False)
    vectors = encoder.encode_documents(list(documents), show_progress=False)
    scored = []
    for query, row in rows:
        numbers = [documents[text] for text in row]
        chosen = [vectors[number] for number in numbers] if isinstance(vectors, list) else vectors[numbers]
        scored.append([float(score) for score in score_documents(encoder, encoded[queries[query]], chosen)])
    return scored


def _by_reranker(reranker: TextReranker, rows: _Rows) -> list[list[float]]:
    scored = []
    for query, row in rows:
        found = dict(reranker.rerank(query, row, show_progress=False))
        scored.append([found.get(number, float("nan")) for number in range(len(row))])
    return scored


def _by_function(function: ScoreFunction, query: str, documents: list[str]) -> list[float]:
    given = function(query, documents)
    try:
        scores = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        scores = np.zeros(0)
    if scores.shape != (len(documents),) or not np.isfinite(scores).all():
        raise InvalidArgumentError(
            f"distill 함수가 질문 '{query:.40}'의 문서 {len(documents)}개에 {given!r:.80}을(를) 돌려주었습니다. "
            "문서마다 유한한 수 하나를 돌려주어야 합니다.",
            f"The function distill returned {given!r:.80} for the {len(documents)} documents of the query "
            f"'{query:.40}'; it must return one finite number for each.",
        )
    return [float(score) for score in scores]
