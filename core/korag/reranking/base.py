"""What all rerankers share: checks, empty texts, ties and thresholds."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from korag.checks import check_count, check_fraction
from korag.errors import CheckpointError, InvalidArgumentError
from korag.scoring import top_k
from korag.text import check_text, check_texts, is_empty

logger = logging.getLogger("korag")


class TextReranker(ABC):
    """Orders candidate texts for a query: what all rerankers share.

    A subclass gives scores; the checks, empty texts, ties and thresholds are here.
    """

    def rerank(
        self,
        query: str,
        texts: Iterable[str],
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
        show_progress: bool | None = None,
    ) -> list[tuple[int, float]]:
        """Orders candidates by their scores for the query.

        Args:
            query: The query.
            texts: The candidates.
            top_n: How many at most; None for all.
            score_threshold: Leave out candidates of a lower relevance, in [0, 1]. Scores themselves cannot be
                compared between queries or models; the class says what its relevance is.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            (index into `texts`, score), best first; equal scores in the order of `texts`. Empty texts are
            not among them, and for an empty query nothing is.

        Raises:
            InvalidTextError: If the query or a text is not a string.
            InvalidArgumentError: If `top_n` is negative, or `score_threshold` is outside [0, 1] or the scores
                have no relevance.
            CheckpointError: If a score is not a number.
        """
        check_text(query, "query")
        candidates = check_texts(texts)
        if top_n is not None:
            check_count("top_n", top_n)
        self.check_threshold(score_threshold)
        filled = [index for index, text in enumerate(candidates) if not is_empty(text)]
        if is_empty(query):
            filled = []
        if empty := len(candidates) - len(filled):
            logger.warning(
                "비어 있는 질의나 문서는 순위에서 뺍니다(문서 %d개 가운데 %d개 제외). / "
                "Empty queries and documents are not ranked (%d of %d documents left out).",
                len(candidates), empty, empty, len(candidates),
            )  # fmt: skip
        if not filled or top_n == 0:
            return []
        scores, relevance = self._score(query, [candidates[index] for index in filled], show_progress)
        if np.isnan(scores).any():  # otherwise they would be left out without a word
            raise CheckpointError(
                "모델이 낸 점수 가운데 수가 아닌 것(NaN)이 있습니다. dtype='float32'로 불러 보고, 그래도 그러면 파일이 "
                "상한 것이니 모델을 다시 받으세요.",
                "Some of the model's scores are not numbers (NaN). Load it with dtype='float32'; if they still are "
                "not, its files are damaged: fetch the model again.",
            )
        if score_threshold is not None and relevance is not None:
            scores = np.where(relevance >= score_threshold, scores, -np.inf)
        positions = np.array(filled, np.int64)
        best = top_k(scores, positions, len(filled) if top_n is None else top_n)
        return [(int(positions[index]), float(scores[index])) for index in best]

    def check_threshold(self, score_threshold: float | None) -> None:
        """Raises if `rerank` would not take a threshold.

        Raises:
            InvalidArgumentError: If it is outside [0, 1], or the scores have no relevance.
        """
        if score_threshold is None:
            return
        check_fraction("score_threshold", score_threshold)
        if (reasons := self._no_relevance()) is not None:
            raise InvalidArgumentError(
                f"score_threshold={score_threshold!r}을(를) 쓸 수 없습니다. {reasons[0]} score_threshold를 빼고 "
                "top_n으로 개수를 정하세요.",
                f"score_threshold={score_threshold!r} is not possible: {reasons[1]} Leave it out, and choose how many "
                "to keep with top_n.",
            )

    @abstractmethod
    def _score(
        self,
        query: str,
        texts: list[str],
        show_progress: bool | None,  # noqa: FBT001
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Scores texts that are not empty.

        Returns:
            Scores, and the relevance thresholds go by, in [0, 1], or None if `_no_relevance` says why. Shape of
            each: (n,).
        """

    def _no_relevance(self) -> tuple[str, str] | None:
        """Why scores cannot be brought to [0, 1], in Korean and in English; None if they can."""
        return None
