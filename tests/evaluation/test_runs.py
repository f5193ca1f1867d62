"""`evaluate`: every kind of system, rankings equal to a collection's, resuming, and reports."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from layouts import routers

from korag import Collection, load_encoder
from korag.checks import FusionMethod
from korag.errors import InvalidArgumentError, MissingDependencyError, UnknownDimError
from korag.evaluation import CollectionLeg, Dataset, DatasetError, Hybrid, Report, evaluate, score_rankings
from korag.evaluation.systems import HybridSystem, LegSystem
from korag.legs.bm25 import BM25Leg

BM25 = LegSystem("BM25")


@pytest.fixture(scope="session")
def encoders(colbert: Any, splade: Any, dense: Any) -> dict[str, Any]:
    return {"colbert": colbert, "sparse": splade, "dense": dense}


@pytest.fixture(scope="session")
def collection(dataset: Dataset, encoders: dict[str, Any]) -> Collection:
    made = Collection.in_memory(encoders=list(encoders.values()), bm25=True)
    made.add(list(dataset.documents.values()), ids=list(dataset.documents))
    return made


def _run(system: Any, dataset: Dataset, k: int = 100) -> dict[str, list[tuple[str, float]]]:
    return dict(system.run(dataset, k=k, advance=lambda _: None).rankings)


class TestLegs:
    @pytest.mark.parametrize("leg", ["bm25", "colbert", "sparse", "dense"])
    def test_rankings_are_those_of_a_collection(
        self, dataset: Dataset, encoders: dict[str, Any], collection: Collection, leg: str
    ) -> None:
        system = BM25 if leg == "bm25" else LegSystem(leg, encoders[leg])
        found = collection.search_many(list(dataset.queries.values()), k=7, using=leg)
        expected = {q: [(hit.id, hit.score) for hit in hits] for q, hits in zip(dataset.queries, found, strict=True)}
        assert _run(system, dataset, 7) == expected

    @pytest.mark.slow
    @pytest.mark.parametrize("fusion", get_args(FusionMethod))
    @pytest.mark.parametrize("weights", [None, {"bm25": 2.0, "dense": 0.5}])
    def test_hybrids_are_those_of_a_collection(
        self, dataset: Dataset, encoders: dict[str, Any], collection: Collection, fusion: Any, weights: Any
    ) -> None:
        legs = [LegSystem(name, encoder) for name, encoder in encoders.items()]
        system = HybridSystem("hybrid", [*legs, BM25], fusion, weights)
        found = collection.search_many(list(dataset.queries.values()), k=100, fusion=fusion, weights=weights)
        for (query, ranking), hits in zip(_run(system, dataset).items(), found, strict=True):
            assert query in dataset.queries
            assert [id_ for id_, _ in ranking] == [hit.id for hit in hits]
            assert [score for _, score in ranking] == pytest.approx([hit.score for hit in hits])

    @pytest.mark.slow
    @pytest.mark.parametrize("k", [10, 100, 150])
    def test_a_hybrid_as_it_is_ranks_like_a_search_as_it_is(
        self, dataset: Dataset, encoders: dict[str, Any], monkeypatch: pytest.MonkeyPatch, k: int
    ) -> None:
        """At every depth, in the order of a collection, and with BM25 trusted more for one query than for another."""
        monkeypatch.setattr(BM25Leg, "confidence", lambda leg, query: 1.0 + len(query.terms) % 3)
        models = [encoders["colbert"], encoders["sparse"]]
        with Collection.in_memory(encoders=models, bm25=True) as searched:
            searched.add(list(dataset.documents.values()), ids=list(dataset.documents))
            found = searched.search_many(list(dataset.queries.values()), k=k)
        (_, row) = evaluate(dataset, [Hybrid(models)], k=k).rows
        rankings = {query: [hit.id for hit in hits] for query, hits in zip(dataset.queries, found, strict=True)}
        assert row.metrics["nDCG@10"] == score_rankings(rankings, dataset.relevant)["nDCG@10"].mean()
        system = HybridSystem("hybrid", [LegSystem("c", models[0]), LegSystem("s", models[1]), BM25])
        for (query, ranking), hits in zip(_run(system, dataset, k).items(), found, strict=True):
            assert query in dataset.queries
            assert ranking == [(hit.id, pytest.approx(hit.score)) for hit in hits]

    def test_sparse_facts(self, dataset: Dataset, encoders: dict[str, Any]) -> None:
        facts = LegSystem("s", encoders["sparse"]).run(dataset, k=10, advance=lambda _: None).facts
        filled = [text for text in dataset.documents.values() if text.strip()]
        documents = (encoders["sparse"].encode_documents(filled).toarray() > 0).mean(axis=0)
        queries = (encoders["sparse"].encode_queries(list(dataset.queries.values())).toarray() > 0).mean(axis=0)
        assert facts["corpus_active_dims"] == pytest.approx(documents.sum())
        assert facts["query_active_dims"] == pytest.approx(queries.sum())
        assert facts["flops"] == pytest.approx((documents * queries).sum())

    def test_index_size(self, dataset: Dataset, encoders: dict[str, Any]) -> None:
        """Token vectors of 128 × 2 bytes each, in bytes, and one in four again; and where documents begin."""
        outcome = LegSystem("c", encoders["colbert"]).run(dataset, k=10, advance=lambda _: None)
        filled = [text for text in dataset.documents.values() if text.strip()]
        lengths = [len(vectors) for vectors in encoders["colbert"].encode_documents(filled)]
        half = sum(lengths) * 128 * 2 + (len(filled) + 1) * 8
        codes = sum(-(-length // 8) * (8 + 2) for length in lengths) * 128 + len(filled) * 16
        bounds = len(filled) * 4 + 2 * 4  # of each document, and the scale
        windows = (len(filled) + 1) * 8 + len(filled) * 2 * 4  # where those of each document begin, and their spans
        assert outcome.index_bytes == half + codes + bounds + windows

    def test_index_size_counts_neither_texts_nor_ids(self) -> None:
        with Collection.in_memory(bm25=True) as one, Collection.in_memory(bm25=True) as other:
            one.add(["보증금 반환"], ids=["a"], metadata=[{"쪽": 1}])
            other.add(["보증금 반환"], ids=["긴 " * 100], metadata=[{"쪽": "긴 " * 100}])
            assert one.index_bytes == other.index_bytes > 0


class TestEvaluate:
    @pytest.mark.parametrize("dim", [None, 8])
    def test_static_embeddings(self, dataset: Dataset, tmp_path: Path, dim: int | None) -> None:
        routers.static(tmp_path / "static")
        (_, row) = evaluate(dataset, [load_encoder(tmp_path / "static", dim=dim)]).rows
        assert (row.kind, row.dim) == ("dense", dim or 24)

    def test_dense_models_by_name_are_cut_to_the_dims_asked_for(self, dataset: Dataset) -> None:
        report = evaluate(dataset, ["mini-dense"], dims=[16, 192])
        assert [row.name for row in report.rows] == ["BM25 bigram", "mini-dense @16", "mini-dense"]
        with pytest.raises(UnknownDimError, match="dim=1000"):
            evaluate(dataset, ["mini-dense"], dims=[1000])

    @pytest.mark.slow
    def test_rows(self, dataset: Dataset, encoders: dict[str, Any]) -> None:
        systems = ["mini-colbert", encoders["dense"], Hybrid(["mini-colbert"])]
        report = evaluate(dataset, systems, dims=[32, 128])
        names = [row.name for row in report.rows]
        assert names == [
            "BM25 bigram", "mini-colbert @32", "mini-colbert @128", "mini-dense",
            "hybrid mini-colbert @128 + BM25 bigram",
        ]  # fmt: skip
        assert [row.kind for row in report.rows] == ["bm25", "colbert", "colbert", "dense", "hybrid"]
        assert [row.dim for row in report.rows] == [None, 32, 128, 192, None]
        bm25, small, large, _, hybrid = report.rows
        assert bm25.difference is None
        assert large.difference is not None
        mean, low, high = large.difference
        assert mean == pytest.approx(large.metrics["nDCG@10"] - bm25.metrics["nDCG@10"])
        assert low <= mean <= high
        for row in report.rows:
            assert row.intervals["nDCG@10"][0] <= row.metrics["nDCG@10"] <= row.intervals["nDCG@10"][1]
            assert row.per_query.keys() == dataset.queries.keys()
            assert row.queries_per_second is not None
        assert large.index_bytes is not None
        assert small.index_bytes is not None
        assert 3 < large.index_bytes / small.index_bytes < 4
        assert hybrid.index_bytes == large.index_bytes + bm25.index_bytes
        assert large.metrics["nDCG@10"] > 0.8

    @pytest.mark.slow
    def test_kiwi(self, dataset: Dataset) -> None:
        pytest.importorskip("kiwipiepy")
        report = evaluate(dataset, bm25=["bigram", "kiwi"])
        assert [row.name for row in report.rows] == ["BM25 bigram", "BM25 kiwi"]
        assert report.rows[1].difference is not None

    def test_collections(self, dataset: Dataset, collection: Collection) -> None:
        weights = CollectionLeg(collection, "hybrid", {"weights": {"dense": 0.0}})
        report = evaluate(dataset, {"전부": collection, "낱말": CollectionLeg(collection, "bm25"), "가중": weights})
        assert [row.name for row in report.rows[1:]] == ["전부", "낱말", "가중"]
        assert report.rows[2].metrics == report.rows[0].metrics
        assert report.rows[1].index_bytes is None

    def test_a_collection_without_the_documents(self, dataset: Dataset) -> None:
        empty = Collection.in_memory(bm25=True)
        with pytest.raises(DatasetError, match=r"lacks 6 relevant documents \(such as 'article6'\)"):
            evaluate(dataset, [empty])
        empty.add(list(dataset.documents.values()), ids=list(dataset.documents))
        empty.add(["보증금은 언제 돌려받나요?"], ids=["남의 것"])
        with pytest.raises(DatasetError, match="found '남의 것', which is not a document of '우리 질문'"):
            evaluate(dataset, [empty])

    def test_functions(self, dataset: Dataset) -> None:
        answers = {text: list(dataset.relevant[query]) for query, text in dataset.queries.items()}

        def perfect(query: str) -> list[str]:
            return answers[query]

        report = evaluate(dataset, [perfect, lambda query: [(id_, 1.0) for id_ in [*answers[query], "bus"][::-1]]])
        assert report.rows[1].name == "perfect"
        assert report.rows[1].metrics["nDCG@10"] == 1
        assert report.rows[1].found == 2
        assert report.rows[2].metrics["MRR@10"] == 0.5  # in the order given, whatever the scores
        assert "perfect: 결과가 최대 2개 / at most 2 results a query" in str(report)

    @pytest.mark.parametrize("results", ["lease", None, 3])
    def test_functions_that_return_something_else(self, dataset: Dataset, results: Any) -> None:
        with pytest.raises(DatasetError, match="must return a list of ids"):
            evaluate(dataset, {"이상한 함수": lambda _: results})

    def test_wrong_arguments(self, dataset: Dataset) -> None:
        with pytest.raises(InvalidArgumentError, match="must be a list or a dict"):
            evaluate(dataset, "mini-colbert")
        with pytest.raises(InvalidArgumentError, match="Without BM25"):
            evaluate(dataset, [], bm25=[])
        with pytest.raises(InvalidArgumentError, match="needs at least 10"):
            evaluate(dataset, [], k=5)
        with pytest.raises(InvalidArgumentError, match="cannot be evaluated"):
            evaluate(dataset, [3])
        with pytest.raises(InvalidArgumentError, match="legs of different kinds"):
            evaluate(dataset, [Hybrid(["mini-dense"], bm25=None)])
        with pytest.raises(InvalidArgumentError, match="must be a list: models="):
            evaluate(dataset, [Hybrid("mini-dense")])
        with pytest.raises(InvalidArgumentError, match="weights names 'colbert'"):
            evaluate(dataset, [Hybrid(["mini-dense"], weights={"colbert": 1})])
        with pytest.raises(UnknownDimError, match="dim=48"):
            evaluate(dataset, ["mini-colbert"], dims=[48])

    def test_equal_names_are_told_apart(self, dataset: Dataset) -> None:
        report = evaluate(dataset, [BM25_FUNCTION, BM25_FUNCTION])
        assert [row.name for row in report.rows[1:]] == ["BM25_FUNCTION", "BM25_FUNCTION (2)"]

    def test_autorag_figures(self, dataset: Dataset) -> None:
        autorag = evaluate(dataset, autorag=True).rows[0].autorag
        assert autorag["NDCG@1"] == autorag["legacy NDCG@1"]
        assert autorag["legacy NDCG@5"] < autorag["NDCG@5"]
        assert evaluate(dataset).rows[0].autorag == {}

    def test_without_the_extra(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        import importlib.util

        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *a: None if name == "ir_measures" else find(name, *a)
        )
        with pytest.raises(MissingDependencyError, match=r"pip install 'korag\[eval\]'"):
            evaluate(dataset)


def BM25_FUNCTION(query: str) -> list[str]:  # noqa: N802 (named after what it stands for)
    return ["lease"]


class TestFrameworks:
    def test_langchain(self, dataset: Dataset) -> None:
        pytest.importorskip("langchain_core")
        from langchain_core.documents import Document
        from langchain_core.retrievers import BaseRetriever

        class Chunks(BaseRetriever):
            """Two chunks of the right document, then another: known by id, by metadata, or by text."""

            known_by: str

            def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
                id_ = next(next(iter(dataset.relevant[q])) for q, text in dataset.queries.items() if text == query)
                return [self._document(id_), self._document(id_), self._document("bus")]

            def _document(self, id_: str) -> Document:
                text = dataset.documents[id_]
                if self.known_by == "id":
                    return Document(page_content="조각", id=id_)
                if self.known_by == "metadata":
                    return Document(page_content="조각", id="f00d", metadata={"doc_id": id_})
                return Document(page_content=text if self.known_by == "text" else "모르는 글")

        systems = {by: Chunks(known_by=by) for by in ("id", "metadata", "text")}
        for row in evaluate(dataset, systems).rows[1:]:
            assert row.kind == "retriever"
            assert row.found == 2
            assert row.metrics["Accuracy@1"] == 1
        with pytest.raises(DatasetError, match=r"'Chunks' found .*모르는 글"):
            evaluate(dataset, [Chunks(known_by="nothing")])

    def test_llamaindex(self, dataset: Dataset) -> None:
        pytest.importorskip("llama_index.core")
        from llama_index.core.base.base_retriever import BaseRetriever
        from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

        class Nodes(BaseRetriever):
            def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
                query = query_bundle.query_str
                id_ = next(next(iter(dataset.relevant[q])) for q, text in dataset.queries.items() if text == query)
                chunk = TextNode(text="조각", relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=id_)})
                return [NodeWithScore(node=TextNode(id_="bus", text="버스"), score=0.9), NodeWithScore(node=chunk)]

        row = evaluate(dataset, [Nodes()]).rows[1]
        assert row.name == "Nodes"
        assert row.metrics["MRR@10"] == 0.5


class TestResume:
    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The legs that were run, not taken from the folder."""
        names: list[str] = []
        original = LegSystem.run

        def run(self: LegSystem, *args: Any, **options: Any) -> Any:
            names.append(self.name)
            return original(self, *args, **options)

        monkeypatch.setattr(LegSystem, "run", run)
        return names

    def test_after_a_stop_it_goes_on(self, dataset: Dataset, tmp_path: Path, runs: list[str]) -> None:
        def stop(query: str) -> list[str]:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(dataset, ["mini-dense", stop], output=tmp_path)
        assert runs == ["BM25 bigram", "mini-dense"]
        assert not list(tmp_path.rglob("*.tmp"))
        report = evaluate(dataset, ["mini-dense", Hybrid(["mini-dense"])], output=tmp_path)
        assert len(report.rows) == 3
        assert len(runs) == 2  # both taken from the folder, and the hybrid made of them
        again = evaluate(dataset, ["mini-dense", Hybrid(["mini-dense"])], output=tmp_path)
        assert again == report

    def test_legs_of_a_hybrid_are_run_once(self, dataset: Dataset, runs: list[str]) -> None:
        evaluate(dataset, [Hybrid(["mini-dense"]), "mini-dense"])
        assert runs == ["BM25 bigram", "mini-dense"]

    @pytest.mark.slow
    def test_what_differs_is_run_again(self, dataset: Dataset, tmp_path: Path, runs: list[str]) -> None:
        evaluate(dataset, [], output=tmp_path)
        evaluate(dataset, [], output=tmp_path, k=50)  # cut from the run at 100, where a hybrid's legs are searched to
        evaluate(dataset, [], output=tmp_path, k=150)
        other = Dataset.build("다른", documents=dataset.documents, queries=dict([*dataset.queries.items()][:3]),
                              relevant={q: dataset.relevant[q] for q in ("q1", "q2", "q3")})  # fmt: skip
        evaluate(other, [], output=tmp_path)
        assert len(runs) == 3
        evaluate(dataset, [load_encoder("mini-dense", max_length=16)], output=tmp_path)
        evaluate(dataset, [load_encoder("mini-dense", max_length=32)], output=tmp_path)
        assert runs[3:] == ["mini-dense", "mini-dense"]

    def test_a_function_is_never_taken_from_the_folder(self, dataset: Dataset, tmp_path: Path) -> None:
        results = [["lease"], ["bus"]]
        for expected in results:
            report = evaluate(dataset, {"바뀌는 함수": lambda _, ids=expected: ids}, output=tmp_path)
            assert report.rows[1].per_query["q1"] == float(expected == ["lease"])

    def test_a_tokenizer_of_ones_own_neither(self, dataset: Dataset, tmp_path: Path, runs: list[str]) -> None:
        for _ in range(2):
            evaluate(dataset, [], bm25=[str.split], output=tmp_path)
        assert len(runs) == 2

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"rankings": 3}', '{"rankings": {}}'])
    def test_a_damaged_file_is_run_again(
        self, dataset: Dataset, tmp_path: Path, runs: list[str], content: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        report = evaluate(dataset, [], output=tmp_path)
        (saved,) = (tmp_path / "runs").iterdir()
        saved.write_text(content)
        assert evaluate(dataset, [], output=tmp_path).rows[0].metrics == report.rows[0].metrics
        assert len(runs) == 2
        assert "evaluated again" in caplog.text


def _columns(line: str) -> int:
    return sum(2 if "가" <= character <= "힣" else 1 for character in line)


@pytest.fixture(scope="module")
def report(dataset: Dataset, splade: Any) -> Report:
    systems = {"한글 이름": splade, "mini-colbert": "mini-colbert"}
    return evaluate(dataset, systems, dims=[32, 64], autorag=True)


class TestReport:
    @pytest.mark.slow
    def test_json(self, report: Report, tmp_path: Path) -> None:
        assert Report.from_json(report.to_json()) == report
        report.save(tmp_path)
        assert Report.from_json((tmp_path / "report.json").read_text(encoding="utf-8")) == report
        assert json.loads(report.to_json())["dataset"] == "우리 질문"

    def test_text(self, report: Report) -> None:
        lines = str(report).splitlines()
        assert lines[0] == "우리 질문: 5 queries, 10 documents"
        assert lines[2].split()[:2] == ["system", "nDCG@10"]
        assert [line.split("  ")[0] for line in lines[4:]] == [
            "BM25 bigram", "한글 이름", "mini-colbert @32", "mini-colbert @64",
        ]  # fmt: skip
        assert len({_columns(line) for line in lines[2:]}) == 1  # Hangul takes two columns

    def test_markdown(self, report: Report) -> None:
        text = report.to_markdown()
        assert "| system | nDCG@10 [95%] | vs BM25 [95%] |" in text
        assert "| 한글 이름 |" in text
        assert "| sparse | query_active_dims | corpus_active_dims | flops |" in text
        assert "AutoRAG (legacy, reversed lists)" in text
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert all(line.count("|") == rows[0].count("|") for line in rows[:6])

    @pytest.mark.slow
    @pytest.mark.parametrize("suffix", ["png", "svg"])
    def test_plot(self, report: Report, tmp_path: Path, suffix: str) -> None:
        pytest.importorskip("matplotlib")
        path = report.plot(tmp_path / "새 폴더" / f"plot.{suffix}")
        content = path.read_bytes()
        if suffix == "png":
            assert content.startswith(b"\x89PNG")
        else:
            assert b"<!-- #2 -->" in content  # 한글 이름; a missing glyph would be a warning, and so an error
            assert b"<!-- mini-colbert @32 -->" in content
