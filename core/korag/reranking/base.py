"""The base of all rerankers: checks, empty texts, ties, thresholds, and fusion with the first stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from korag.checks import check_count, check_fraction
from korag.empty_query import warn_empty_query
from korag.errors import CheckpointError, InvalidArgumentError
from korag.keywords import checks_keywords
from korag.logs import logger
from korag.reranking.fusing import check_first_stage, check_fuse_weight, fuse
from korag.scoring import top_k
from korag.text import check_text, check_texts, is_empty
from korag.tracing import part, span

FEWEST_TO_FUSE = 10
"""Candidates. Scaled over fewer, scores say too little: of two, the first stage's would always win."""


class TextReranker(ABC):
    """Orders candidate texts for a query.

    A subclass computes scores; this class handles checks, empty texts, ties, thresholds and fusion.

    Attributes:
        default_fuse_weight: The `fuse_weight` of 10 or more candidates with scores of a first stage if none is given.
    """

    default_fuse_weight: ClassVar[float] = 1.0

    @checks_keywords
    def rerank(
        self,
        query: str,
        texts: Iterable[str],
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
        first_stage_scores: Sequence[float] | None = None,
        fuse_weight: float | None = None,
        show_progress: bool | None = None,
    ) -> list[tuple[int, float]]:
        """Orders candidates by their scores for the query.

        Args:
            query: The query.
            texts: The candidates.
            top_n: Maximum number; None for all.
            score_threshold: Drop candidates with a lower relevance, in [0, 1]. Scores themselves are not comparable
                across queries or models; each class documents its relevance. Fusion does not change it.
            first_stage_scores: The scores by which the candidates were found, one for each text; higher is better.
            fuse_weight: Weight of the reranker's score in [0, 1]; the rest goes to the first stage's. Both are scaled
                to [0, 1] over the candidates (`korag.reranking.fusing`). 1 ranks by the reranker alone. None is
                `default_fuse_weight` if there are `first_stage_scores` for 10 texts or more, otherwise 1. With a weight
                and without scores, the order of the texts counts as the first stage's.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            (index into `texts`, score), best first; equal scores in the order of `texts`. The score is the model's own
            for a weight of 1, otherwise the fused one, in [0, 1]. Empty texts are never returned; an empty query
            returns nothing.

        Raises:
            InvalidTextError: If the query or a text is not a string.
            InvalidArgumentError: If `top_n` is negative, `score_threshold` is outside [0, 1] or the scores have no
                relevance, `fuse_weight` is outside [0, 1], or `first_stage_scores` are not a finite number for each
                text.
            CheckpointError: If a score is not a number.
        """
        check_text(query, "query")
        candidates = check_texts(texts)
        if top_n is not None:
            check_count("top_n", top_n)
        self.check_threshold(score_threshold)
        first_stage = check_first_stage(first_stage_scores, len(candidates))
        weight = check_fuse_weight(fuse_weight)
        if weight is None:
            weight = self.default_fuse_weight if first_stage is not None and len(candidates) >= FEWEST_TO_FUSE else 1.0
        filled = [index for index, text in enumerate(candidates) if not is_empty(text)]
        if is_empty(query):
            warn_empty_query(meaning=("순위를 매기지 않습니다.", "nothing is ranked."))
            return []
        if empty := len(candidates) - len(filled):
            logger.warning(
                "빈 문서는 순위에서 제외합니다(문서 %d개 중 %d개 제외). / "
                "Empty documents are not ranked (%d of %d documents skipped).",
                len(candidates), empty, empty, len(candidates),
            )  # fmt: skip
        if not filled or top_n == 0:
            return []
        asked = len(filled) if top_n is None else top_n
        model = getattr(self, "model_name", None)
        attributes = {"reranker.model_name": model, "reranker.top_k": asked, "korag.texts": len(filled)}
        with span("korag.rerank", "RERANKER", attributes) as reranking:
            scores, relevance = self._score(query, [candidates[index] for index in filled], show_progress)
            if np.isnan(scores).any():  # they would be dropped silently otherwise
                raise CheckpointError(
                    "모델이 계산한 점수에 NaN이 있습니다. dtype='float32'로 불러 보세요. 그래도 같으면 파일이 "
                    "손상된 것이니 모델을 다시 다운로드하세요.",
                    "Some of the model's scores are NaN. Load it with dtype='float32'; if that does not "
                    "help, its files are damaged: download the model again.",
                )
            if weight < 1:
                with part("korag.fuse", "CHAIN", {"korag.fuse_weight": weight}) as fusing:
                    scores = fuse(scores, None if first_stage is None else first_stage[filled], weight)
                    fusing.found += len(scores)
            if score_threshold is not None and relevance is not None:
                scores = np.where(relevance >= score_threshold, scores, -np.inf)
            positions = np.array(filled, np.int64)
            best = top_k(scores, positions, asked)
            ranked = [(int(positions[index]), float(scores[index])) for index in best]
            reranking.set({"korag.found": len(ranked)})
            reranking.set_documents("reranker.output_documents", ((None, score) for _, score in ranked))
        return ranked

    def check_threshold(self, score_threshold: float | None) -> None:
        """Checks a threshold.

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
                f"score_threshold={score_threshold!r} is invalid: {reasons[1]} Omit it, and set the number of results "
                "with top_n.",
            )

    @abstractmethod
    def _score(
        self,
        query: str,
        texts: list[str],
        show_progress: bool | None,  # noqa: FBT001
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Scores non-empty texts.

        Returns:
            Scores, and relevances in [0, 1] for thresholds, or None if `_no_relevance` gives a reason. Shape of
            each: (n,).
        """

    def _no_relevance(self) -> tuple[str, str] | None:
        """The reason why scores cannot be mapped to [0, 1], in Korean and in English; None if they can."""
        return None
