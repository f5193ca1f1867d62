"""Korean benchmarks reported by model cards, with the cards' conventions.

Each row has the benchmark's location on the Hub and one of four constructions that turn it into a retrieval task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from korag.errors import DatasetError
from korag.evaluation.dataset import Dataset, document_text
from korag.evaluation.hub_tables import HubTables, Table
from korag.evaluation.layouts import from_tables
from korag.evaluation.tables import TableRows, column, text_column


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Location of a benchmark, and its construction as a retrieval task.

    Attributes:
        name: Name in KoRAG.
        dataset_id: Id on the Hub; None if the cards do not name the copy they used.
        tables: Tables to read.
        construction: Builds the data set from the tables, given in order.
        queries: Expected number of judged queries; 0 if the cards do not give it.
        documents: Expected number of documents; 0 if the cards do not give it.
    """

    name: str
    dataset_id: str | None
    tables: tuple[Table, ...]
    construction: Callable[..., Dataset] = from_tables
    queries: int = 0
    documents: int = 0

    def load(self, hub: HubTables) -> Dataset:
        """Reads the tables and builds the data set.

        Args:
            hub: Where to read from.

        Raises:
            DatasetError: If a table cannot be read, or there is no copy to read.
        """
        if hub.dataset_id is None and hub.local is None:
            raise DatasetError(
                f"모델 카드에 '{self.name}'의 어느 사본인지 나와 있지 않습니다. dataset_id=나 local=로 지정하세요.",
                f"The model cards do not name the copy of '{self.name}' they used; specify one with dataset_id= or "
                "local=.",
            )
        rows = [hub.rows(table) for table in self.tables]
        return self.construction(self.name, *rows, source=str(hub.local or hub.dataset_id))


def _belebele(name: str, rows: TableRows, *, source: str) -> Dataset:
    """Corpus: ``flores_passage`` per ``link``. Queries: each distinct ``question``, whose links are relevant."""
    documents: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    for where, row in rows:
        link = text_column(row, ("link",), where)
        documents.setdefault(link, text_column(row, ("flores_passage",), where))
        relevant.setdefault(text_column(row, ("question",), where), {})[link] = 1
    return _by_question(name, documents, relevant, source)


def _public_health_qa(name: str, rows: TableRows, *, source: str) -> Dataset:
    """Corpus: each distinct ``answer``. Queries: ``question``. TableRows with None in either are dropped."""
    answers: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    for where, row in rows:
        question, answer = column(row, ("question",), where), column(row, ("answer",), where)
        if question is not None and answer is not None:
            id_ = answers.setdefault(answer, f"D{len(answers)}")
            relevant.setdefault(question, {})[id_] = 1
    return _by_question(name, {id_: answer for answer, id_ in answers.items()}, relevant, source)


def _mldr(name: str, corpus: TableRows, questions: TableRows, *, source: str) -> Dataset:
    """Corpus: ``docid, text``. Relevant: the first of ``positive_passages``."""
    documents = {
        text_column(row, ("docid",), where): document_text(None, column(row, ("text",), where)) for where, row in corpus
    }
    queries: dict[str, str] = {}
    relevant: dict[str, list[str]] = {}
    for where, row in questions:
        query = text_column(row, ("query_id",), where)
        queries[query] = text_column(row, ("query",), where)
        positives = column(row, ("positive_passages",), where)
        if not positives:
            raise DatasetError(f"{where}: positive_passages가 비어 있습니다.", f"{where}: positive_passages is empty.")
        relevant[query] = [text_column(positives[0], ("docid",), where)]
    return Dataset.build(name, documents=documents, queries=queries, relevant=relevant, source=source)


def _by_question(name: str, documents: dict[str, str], relevant: dict[str, dict[str, int]], source: str) -> Dataset:
    ids = {question: f"Q{index}" for index, question in enumerate(relevant)}
    return Dataset.build(
        name,
        documents=documents,
        queries={id_: question for question, id_ in ids.items()},
        relevant={ids[question]: grades for question, grades in relevant.items()},
        source=source,
    )


def _mteb(split: str) -> tuple[Table, ...]:
    """Returns the tables of MTEB's layout: ``corpus``, ``queries``, and ``default`` for the judgements."""
    return Table("corpus"), Table("queries"), Table("default", split)


_NANO = (
    "ArguAna", "ClimateFEVER", "DBPedia", "FEVER", "FiQA2018", "HotpotQA", "MSMARCO", "NFCorpus", "NQ",
    "QuoraRetrieval", "SCIDOCS", "SciFact", "Touche2020",
)  # fmt: skip
_ROWS = (
    Benchmark(
        name="autorag-ko", dataset_id="yjoonjang/markers_bm", tables=_mteb("test"), queries=114, documents=720
    ),
    Benchmark(
        name="ko-strategyqa", dataset_id="taeminlee/Ko-StrategyQA", tables=_mteb("dev"), queries=592, documents=9_251
    ),
    Benchmark(
        name="belebele-ko", dataset_id="facebook/belebele", tables=(Table("kor_Hang", "test"),), construction=_belebele
    ),
    Benchmark(
        name="miracl-ko", dataset_id="miracl/mmteb-miracl",
        tables=(Table("corpus-ko"), Table("queries-ko"), Table("ko", "dev")), queries=213, documents=1_486_752,
    ),
    Benchmark(
        name="mrtydi-ko", dataset_id="mteb/mrtidy",
        tables=(Table("korean-corpus", "train"), Table("korean-queries", "test"), Table("korean-qrels", "test")),
        queries=421, documents=1_496_126,
    ),
    Benchmark(
        name="mldr-ko", dataset_id="Shitao/MLDR", construction=_mldr,
        tables=(
            Table("corpus-ko", "corpus", file="mldr-v1.0-ko/corpus.jsonl.gz"),
            Table("ko", "dev", file="mldr-v1.0-ko/dev.jsonl.gz"),
        ),
    ),
    Benchmark(
        name="publichealthqa-ko", dataset_id="xhluca/publichealth-qa", tables=(Table("korean", "test"),),
        construction=_public_health_qa,
    ),
    *(
        Benchmark(
            name=f"nanobeir-ko/{name.lower()}", dataset_id=None,
            tables=tuple(Table(config, f"Nano{name}") for config in ("corpus", "queries", "qrels")),
        )
        for name in _NANO
    ),
)  # fmt: skip

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ROWS}
"""All known benchmarks by name."""
