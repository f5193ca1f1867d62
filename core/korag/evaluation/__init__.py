"""Evaluation: compares retrieval systems on documents and judged questions.

>>> from korag.evaluation import evaluate
>>> report = evaluate("my-questions/", ["mini-colbert", "mini-splade"], bm25=["bigram"])  # doctest: +SKIP

``docs/evaluation.md`` explains the report. Needs ``pip install 'korag[eval]'``; importing it loads neither torch,
datasets nor matplotlib.
"""

from korag.errors import DatasetError
from korag.evaluation.autorag import autorag_scores
from korag.evaluation.benchmarks import BENCHMARKS, Benchmark
from korag.evaluation.dataset import Dataset
from korag.evaluation.fitting import FusionFit, fit_fusion
from korag.evaluation.loading import load_dataset
from korag.evaluation.metrics import MEASURES, score_rankings
from korag.evaluation.mteb import as_mteb
from korag.evaluation.report import Report, Row
from korag.evaluation.reranked import Reranked
from korag.evaluation.retrievers import CollectionLeg
from korag.evaluation.runner import evaluate
from korag.evaluation.systems import Hybrid
from korag.evaluation.thresholds import Threshold, recommend_threshold

__all__ = [
    "BENCHMARKS",
    "MEASURES",
    "Benchmark",
    "CollectionLeg",
    "Dataset",
    "DatasetError",
    "FusionFit",
    "Hybrid",
    "Report",
    "Reranked",
    "Row",
    "Threshold",
    "as_mteb",
    "autorag_scores",
    "evaluate",
    "fit_fusion",
    "load_dataset",
    "recommend_threshold",
    "score_rankings",
]
