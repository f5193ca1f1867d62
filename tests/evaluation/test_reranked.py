"""`Reranked` and ``korag eval --rerank``: rerankers measured against the system whose documents they order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from korag import CrossEncoderReranker, LateInteractionEncoder, Reranker
from korag.cli import main
from korag.errors import InvalidArgumentError, WrongFamilyError
from korag.evaluation import Dataset, Hybrid, Report, Reranked, evaluate
from korag.reranking.base import TextReranker
from korag.reranking.load import load_reranker


class Judge(TextReranker):
    """Prefers (or, with a sign of −1, avoids) the relevant documents; counts the pairs it scored."""

    def __init__(self, dataset: Dataset, sign: float = 1.0) -> None:
        self._right = {
            (dataset.queries[query], dataset.documents[id_]) for query, ids in dataset.relevant.items() for id_ in ids
        }
        self._sign = sign
        self.pairs = 0

    def _score(self, query: str, texts: list[str], show_progress: bool | None) -> tuple[NDArray[np.float32], None]:
        self.pairs += len(texts)
        return np.array([self._sign * ((query, text) in self._right) for text in texts], np.float32), None


class TestRows:
    def test_rows_and_the_difference_to_the_first_stage(self, dataset: Dataset) -> None:
        good, bad = Judge(dataset), Judge(dataset, -1.0)
        report = evaluate(dataset, [Reranked(good), Reranked(bad), Reranked(bad, fuse_weight=0.0)])
        bm25, better, worse, same = report.rows
        assert [row.name for row in report.rows[1:]] == [
            "BM25 bigram → Judge", "BM25 bigram → Judge (2)", "BM25 bigram → Judge ×0",
        ]  # fmt: skip
        assert {row.kind for row in report.rows[1:]} == {"reranked"}
        assert bm25.first_stage_difference is None
        for row in (better, worse):
            assert row.first_stage_difference is not None
            assert row.first_stage_difference == row.difference  # BM25 is its first stage
        assert better.metrics["nDCG@10"] >= bm25.metrics["nDCG@10"] > worse.metrics["nDCG@10"]
        assert same.metrics == bm25.metrics
        assert same.first_stage_difference == (0, 0, 0)
        assert better.metrics["Recall@10"] == worse.metrics["Recall@10"] == bm25.metrics["Recall@10"]

    def test_a_reranker_that_harms_is_named(self, dataset: Dataset) -> None:
        report = evaluate(dataset, {"나쁜 재순위": Reranked(Judge(dataset, -1.0))})
        for printed in (str(report), report.to_markdown()):
            assert "vs first stage [95%]" in printed
            assert "나쁜 재순위: 재순위하면 1차 검색보다 나빠집니다(-" in printed
            assert "Reranking lowers the rankings of its first stage" in printed
        assert Report.from_json(report.to_json()) == report
        fine = str(evaluate(dataset, [Reranked(Judge(dataset))]))
        assert "나빠집니다" not in fine
        assert "vs first stage" not in str(evaluate(dataset))

    def test_documents_beyond_k_keep_their_places(self, dataset: Dataset) -> None:
        judge = Judge(dataset, -1.0)
        bm25, first_two, none = evaluate(dataset, [Reranked(judge, k=2), Reranked(judge, k=1)]).rows
        assert none.metrics == bm25.metrics
        assert first_two.metrics["Recall@3"] == bm25.metrics["Recall@3"]
        assert first_two.found == bm25.found

    def test_each_pair_is_scored_once_for_all_weights(self, dataset: Dataset) -> None:
        judge = Judge(dataset)
        evaluate(dataset, [Reranked(judge, fuse_weight=weight) for weight in (1.0, 0.5, 0.2)])
        pairs = judge.pairs
        evaluate(dataset, [Reranked(judge)])
        assert judge.pairs == 2 * pairs

    @pytest.mark.slow
    def test_a_hybrid_as_first_stage_and_models_of_both_kinds(
        self, dataset: Dataset, colbert: LateInteractionEncoder, cross_encoder: CrossEncoderReranker
    ) -> None:
        hybrid = Hybrid(["mini-dense"])
        systems = [hybrid, *(Reranked(model, hybrid) for model in ("mini-colbert", colbert, cross_encoder))]
        _, first, by_name, loaded, crossed = evaluate(dataset, systems).rows
        assert by_name.name == f"{first.name} → mini-colbert ×0.3"
        assert crossed.name == f"{first.name} → {cross_encoder.model_name}"
        assert by_name.metrics == loaded.metrics
        for row in (by_name, crossed):
            assert row.first_stage_difference is not None
            gain = row.metrics["nDCG@10"] - first.metrics["nDCG@10"]
            assert row.first_stage_difference[0] == pytest.approx(gain)
            assert row.search_seconds > first.search_seconds

    def test_finished_rows_are_reused(
        self, dataset: Dataset, colbert: LateInteractionEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        systems = [Reranked(colbert), Reranked(colbert, fuse_weight=0.2), Reranked(colbert, k=3)]
        report = evaluate(dataset, systems, output=tmp_path)
        monkeypatch.setattr(Reranker, "_score", lambda *_: pytest.fail("scored again"))
        assert evaluate(dataset, systems, output=tmp_path) == report

    def test_wrong_arguments(self, dataset: Dataset, dense: Any) -> None:
        for wrong, message in (
            (Reranked(Judge(dataset), k=0), "k=0"),
            (Reranked(Judge(dataset), fuse_weight=2), "fuse_weight=2"),
            (Reranked(Judge(dataset), first_stage=3), "cannot be evaluated"),
        ):
            with pytest.raises(InvalidArgumentError, match=message):
                evaluate(dataset, [wrong])
        with pytest.raises(InvalidArgumentError, match="is 2 rows, one per dimension"):
            evaluate(dataset, [Reranked(Judge(dataset), "mini-dense")], dims=[16, 32])
        for model in (dense, "mini-splade"):
            with pytest.raises(WrongFamilyError):
                evaluate(dataset, [Reranked(model)])


class TestLoading:
    def test_the_files_say_which_kind_it_is(self, cross_encoder_folder: Path) -> None:
        crossed = load_reranker(cross_encoder_folder, max_length=64, device=None)
        assert isinstance(crossed, CrossEncoderReranker)
        assert crossed.max_length == 64
        late = load_reranker("mini-colbert", query_length=16)
        assert isinstance(late, Reranker)
        assert load_reranker(late) is late

    def test_other_models(self) -> None:
        with pytest.raises(WrongFamilyError, match=r"'mini-dense'는 재순위에 쓸 수 없습니다(.|\n)*cannot rerank"):
            load_reranker("mini-dense")


class TestCommand:
    @pytest.fixture
    def pairs(self, tmp_path: Path, write: Any, dataset: Dataset) -> str:
        rows = [
            {"query": text, "positive": [dataset.documents[id_] for id_ in dataset.relevant[query]]}
            for query, text in dataset.queries.items()
        ]
        return str(write(tmp_path / "질문.jsonl", rows))

    @pytest.mark.slow
    def test_rows_alone_and_fused(
        self, pairs: str, cross_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["eval", pairs, "--hybrid", "mini-dense", "--quiet", "--format", "json", "--rerank"]
        assert main([*command, "mini-colbert", str(cross_encoder_folder), "--rerank-k", "20"]) == 0
        rows = Report.from_json(capsys.readouterr().out).rows
        hybrid, crossed = "hybrid mini-dense + BM25 bigram", cross_encoder_folder.name
        assert [row.name.replace(str(cross_encoder_folder), crossed) for row in rows] == [
            "BM25 bigram",
            hybrid,
            "BM25 bigram → mini-colbert", "BM25 bigram → mini-colbert ×0.3",
            f"{hybrid} → mini-colbert", f"{hybrid} → mini-colbert ×0.3",
            f"BM25 bigram → {crossed}", f"BM25 bigram → {crossed} ×0.5",
            f"{hybrid} → {crossed}", f"{hybrid} → {crossed} ×0.5",
        ]  # fmt: skip
        assert all(row.first_stage_difference is not None for row in rows[2:])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--rerank", "mini-dense"], "'mini-dense' cannot rerank"),
            (["--rerank", "mini-colbert", "--fuse-weight", "3"], "fuse_weight=3.0"),
            (["--rerank", "mini-colbert", "--rerank-k", "0"], "k=0"),
        ],
    )
    def test_errors_have_no_traceback(
        self, pairs: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["eval", pairs, *arguments]) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert "Traceback" not in printed.err
