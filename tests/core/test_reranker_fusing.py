"""`fuse_weight`: a reranker's score fused with that of the first stage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from korag import CrossEncoderReranker, LateInteractionEncoder, Reranker
from korag.errors import InvalidArgumentError
from korag.reranking.base import TextReranker
from korag.reranking.fusing import ranked_scores

TEXTS = ["계약금", "중도금", "잔금", "보증금"]
FIRST = [9.0, 7.0, 2.0, 1.0]


class Given(TextReranker):
    """Scores that a test gives, with themselves as relevances."""

    default_fuse_weight = 0.5

    def __init__(self, scores: Sequence[float]) -> None:
        self._scores = np.array(scores, np.float32)

    def _score(self, query: str, texts: list[str], show_progress: bool | None) -> Any:
        return self._scores, self._scores


RERANKER = Given([0.1, 0.2, 0.3, 0.9])


def _order(found: list[tuple[int, float]]) -> list[int]:
    return [index for index, _ in found]


class TestFusing:
    def test_both_are_scaled_over_the_candidates_and_added_by_weight(self) -> None:
        found = dict(RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=0.25))
        for index, (own, first) in enumerate(zip([0.0, 0.125, 0.25, 1.0], [1.0, 0.75, 0.125, 0.0], strict=True)):
            assert found[index] == pytest.approx(0.25 * own + 0.75 * first, abs=1e-6)

    def test_one_is_the_reranker_alone_and_zero_the_first_stage(self) -> None:
        alone = RERANKER.rerank("돈", TEXTS)
        assert _order(alone) == [3, 2, 1, 0]
        assert RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=1) == alone
        assert _order(RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=0)) == [0, 1, 2, 3]

    def test_without_a_weight_scores_of_the_first_stage_bring_the_default(self) -> None:
        texts, first = [f"문서 {number}" for number in range(10)], [float(10 - number) for number in range(10)]
        model = Given([0.1 * number**2 for number in range(10)])
        default = model.rerank("돈", texts, first_stage_scores=first)
        assert default == model.rerank("돈", texts, first_stage_scores=first, fuse_weight=0.5)
        assert default != model.rerank("돈", texts, fuse_weight=1)

    def test_without_scores_the_order_takes_their_place(self) -> None:
        ranks = [1 / (60 + rank) for rank in range(1, 5)]
        found = RERANKER.rerank("돈", TEXTS, fuse_weight=0.25)
        assert found == RERANKER.rerank("돈", TEXTS, first_stage_scores=ranks, fuse_weight=0.25)
        assert _order(found) == [0, 1, 2, 3]

    def test_empty_texts_are_left_out_with_their_scores(self) -> None:
        found = RERANKER.rerank("돈", ["", *TEXTS], first_stage_scores=[100.0, *FIRST], fuse_weight=0.25)
        expected = RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=0.25)
        assert found == [(index + 1, score) for index, score in expected]

    def test_equal_scores_decide_nothing(self) -> None:
        assert _order(RERANKER.rerank("돈", TEXTS, first_stage_scores=[3, 3, 3, 3], fuse_weight=0.1)) == [3, 2, 1, 0]
        level = Given([2.0] * 4)
        assert _order(level.rerank("돈", TEXTS, first_stage_scores=FIRST[::-1], fuse_weight=0.9)) == [3, 2, 1, 0]

    def test_the_threshold_still_goes_by_the_rerankers_relevance(self) -> None:
        found = RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=0.1, score_threshold=0.2)
        assert _order(found) == [1, 2, 3]

    def test_top_n(self) -> None:
        everything = RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=0.4)
        assert RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=0.4, top_n=2) == everything[:2]

    def test_defaults_of_the_models(
        self, colbert: LateInteractionEncoder, cross_encoder: CrossEncoderReranker, documents: list[str]
    ) -> None:
        texts = [*documents, *(f"{text} 자세한 내용은 담당자에게 묻는다." for text in documents)][:10]
        first = [float(index) for index in range(len(texts))]
        for model, weight in ((Reranker(colbert), 0.3), (cross_encoder, 1.0)):
            assert model.default_fuse_weight == weight
            query = "보증금은 언제 돌려받나요?"
            default = model.rerank(query, texts, first_stage_scores=first)
            assert default == model.rerank(query, texts, first_stage_scores=first, fuse_weight=weight)

    @pytest.mark.parametrize(("count", "weight"), [(2, 1.0), (9, 1.0), (10, 0.5)])
    def test_of_few_candidates_the_reranker_alone_decides(self, count: int, weight: float) -> None:
        """Of two, the first stage's would win whatever the reranker says."""
        texts, first = [f"문서 {number}" for number in range(count)], [float(count - number) for number in range(count)]
        model = Given([0.1 * number**2 for number in range(count)])
        found = model.rerank("돈", texts, first_stage_scores=first)
        assert found == model.rerank("돈", texts, first_stage_scores=first, fuse_weight=weight)


class TestWrongArguments:
    @pytest.mark.parametrize("wrong", [-0.1, 1.1, "0.5", True, float("nan"), [0.5]])
    def test_weights(self, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"fuse_weight=.*재순위(.|\n)*must be a number between 0 and 1"):
            RERANKER.rerank("돈", TEXTS, fuse_weight=wrong)

    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ([1.0], "There are 1 first_stage_scores for 4 texts"),
            ([1.0, None, 0.0, 0.0], r"first_stage_scores\[1\]=None is invalid"),
            ([1.0, 0.5, float("nan"), 0.0], r"first_stage_scores\[2\]=nan"),
            ([True, 0.5, 0.2, 0.0], r"first_stage_scores\[0\]=True"),
            ("네 개요", "must be a list"),
        ],
    )
    def test_scores(self, scores: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            RERANKER.rerank("돈", TEXTS, first_stage_scores=scores, fuse_weight=0.5)

    def test_numpy_scores(self) -> None:
        found = RERANKER.rerank("돈", TEXTS, first_stage_scores=np.array(FIRST, np.float32), fuse_weight=0.25)  # type: ignore[arg-type]
        assert found == RERANKER.rerank("돈", TEXTS, first_stage_scores=FIRST, fuse_weight=0.25)


@pytest.mark.parametrize(
    ("scores", "ranked"),
    [
        ([3, 2.5, 2.5, 0], True),
        ([0.2, 0.1], True),
        ([1.0], True),
        ([], False),
        ([0.1, 0.2], False),  # distances
        ([5, 3, 4], False),  # ratings
        ([3, None, 1], False),
        ([3, float("nan")], False),
        ([True, False], False),
        (["3", "2"], False),
    ],
)
def test_scores_of_a_ranked_list(scores: list[Any], ranked: bool) -> None:
    assert ranked_scores(scores) == (scores if ranked else None)
