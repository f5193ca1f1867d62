"""Encoders as models of mteb: the same vectors and scores, and nothing added to the texts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from assertions import assert_bilingual

from korag import Collection, load_encoder
from korag.errors import MissingDependencyError, WrongFamilyError
from korag.evaluation import Dataset, as_mteb, score_rankings
from korag.testing import FakeDenseEncoder

mteb = pytest.importorskip("mteb")
from mteb.mocks.mock_tasks import MockRerankingTask, MockRetrievalTask, MockSTSTask  # noqa: E402 (once it is there)
from mteb.models.model_meta import ScoringFunction  # noqa: E402

FAMILIES = ["dense", "splade", "colbert"]
TITLES = {"lease": "주택임대차보호법", "server": "서버 점검 안내"}
SCORES = {"nDCG@10": "ndcg_at_10", "MRR@10": "mrr_at_10", "Recall@3": "recall_at_3", "Precision@5": "precision_at_5"}


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    datasets.disable_progress_bars()


class KoreanTask(MockRetrievalTask):
    """Our own sentences in a task of mteb; two documents have titles."""

    questions: Dataset
    candidates: dict[str, list[str]] | None = None

    def load_data(self, *_: Any, **__: Any) -> None:
        asked, documents = self.questions.queries, self.questions.documents
        split = {
            "queries": datasets.Dataset.from_list([{"id": id_, "text": text} for id_, text in asked.items()]),
            "corpus": datasets.Dataset.from_list(
                [{"id": id_, "title": TITLES.get(id_, ""), "text": text} for id_, text in documents.items()]
            ),
            "relevant_docs": {query: dict(grades) for query, grades in self.questions.relevant.items()},
            "top_ranked": self.candidates,
        }
        self.dataset = {"default": {"test": split, "val": split}}
        self.data_loaded = True


class KoreanReranking(KoreanTask):
    metadata = MockRerankingTask.metadata


def run(model: Any, task: Any) -> dict[str, float]:
    task.load_data()
    results = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
    (scores,) = results.task_results[0].scores["test"]
    return scores


@pytest.mark.parametrize("family", FAMILIES)
def test_a_retrieval_task_scores_what_a_collection_finds(family: str, dataset: Dataset, request) -> None:
    encoder = request.getfixturevalue(family)
    task = KoreanTask()
    task.questions = dataset
    got = run(as_mteb(encoder), task)
    collection = Collection.in_memory(encoders=[encoder])
    joined = [f"{TITLES.get(id_, '')} {text}".strip() for id_, text in dataset.documents.items()]
    collection.add(joined, ids=list(dataset.documents))
    rankings = {id_: [hit.id for hit in collection.search(text, k=10)] for id_, text in dataset.queries.items()}
    expected = score_rankings(rankings, dataset.relevant, depth=10)
    for ours, theirs in SCORES.items():
        assert got[theirs] == pytest.approx(expected[ours].mean(), abs=1e-5), ours


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reranking_task(family: str, dataset: Dataset, request) -> None:
    task = KoreanReranking()
    task.questions = dataset
    task.candidates = {query: ["stew", "bus", *list(grades)] for query, grades in dataset.relevant.items()}
    assert run(as_mteb(request.getfixturevalue(family)), task)["main_score"] > 0.5


@pytest.mark.parametrize("family", ["dense", "splade"])
def test_similarity_of_sentences(family: str, request) -> None:
    assert np.isfinite(run(as_mteb(request.getfixturevalue(family)), MockSTSTask())["main_score"])


class Listening(FakeDenseEncoder):
    """Records what it is asked to encode."""

    def __init__(self) -> None:
        super().__init__(dim=32)
        self.queries: list[str] = []
        self.documents: list[str] = []

    def encode_queries(self, texts: Any, **settings: Any) -> Any:
        self.queries += texts
        return super().encode_queries(texts, **settings)

    def encode_documents(self, texts: Any, **settings: Any) -> Any:
        self.documents += texts
        return super().encode_documents(texts, **settings)


def test_nothing_is_put_before_texts_and_titles_are_joined(dataset: Dataset) -> None:
    encoder, task = Listening(), KoreanTask()
    task.questions = dataset
    run(as_mteb(encoder), task)
    assert set(encoder.queries) == set(dataset.queries.values())
    documents = [f"{TITLES.get(id_, '')} {text}".strip() for id_, text in dataset.documents.items()]
    assert set(encoder.documents) == set(documents)


def test_sparse_vectors_stay_sparse_in_searches(splade, dataset: Dataset) -> None:
    model, task = as_mteb(splade), KoreanTask()
    batches = [{"text": list(dataset.queries.values())}]
    vectors = model.encode(batches, task_metadata=task.metadata, show_progress_bar=False)
    assert vectors.is_sparse
    expected = splade.encode_queries(dataset.queries.values())
    torch.testing.assert_close(vectors.to_dense(), torch.from_numpy(expected.toarray()))
    torch.testing.assert_close(model.similarity(vectors, vectors), torch.from_numpy((expected @ expected.T).toarray()))


def test_what_is_known_about_a_bundled_model(colbert) -> None:
    meta = as_mteb(colbert).mteb_model_meta
    assert meta.name == "korag/mini-colbert"
    assert meta.revision == str(colbert.fingerprint)
    assert (meta.embed_dim, meta.max_tokens, meta.license) == (128, 512, "apache-2.0")
    assert meta.n_parameters == 3_552_576
    assert meta.similarity_fn_name is ScoringFunction.MAX_SIM
    assert (meta.model_type, meta.use_instructions, meta.experiment_kwargs) == (["late-interaction"], True, None)
    assert (meta.languages, meta.training_datasets, meta.memory_usage_mb) == (None, None, None)


def test_a_folder_and_settings_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(load_encoder("mini-dense").weights_folder(), tmp_path / "우리 모델")
    meta = as_mteb(load_encoder(tmp_path / "우리 모델", query_prompt="질문: ", max_length=128)).mteb_model_meta
    assert meta.name == "local/우리 모델"
    assert meta.license is None
    assert meta.experiment_kwargs == {"query_prompt": "질문: ", "max_length": 128}
    assert meta.similarity_fn_name is ScoringFunction.COSINE


def test_names_are_loaded_and_other_models_refused(cross_encoder_folder: Path) -> None:
    assert as_mteb("mini-splade").mteb_model_meta.model_type == ["sparse"]
    with pytest.raises(WrongFamilyError):
        as_mteb(cross_encoder_folder)


def test_without_mteb(monkeypatch: pytest.MonkeyPatch, dense) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mteb", None)
    with pytest.raises(MissingDependencyError, match=r"korag\[mteb\]") as caught:
        as_mteb(dense)
    assert_bilingual(caught.value)
