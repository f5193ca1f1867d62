"""Layouts of data sets in files: BEIR folders, AutoRAG parquet, and tables of pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from korag.errors import DatasetError
from korag.evaluation.dataset import Dataset, Groups, document_text
from korag.evaluation.tables import TableRows, column, find_table, read_rows, text_column

ID = ("_id", "id")
DOCUMENT_ID = ("_id", "id", "docid", "doc_id")
QUERY_ID = ("_id", "id", "query_id", "qid")
QUERY_TEXT = ("text", "query")
JUDGED_QUERY = ("query-id", "query_id", "qid")
JUDGED_DOCUMENT = ("corpus-id", "corpus_id", "docid", "doc_id")
_PAIR_QUERY = ("query", "anchor", "question")
_PAIR_POSITIVE = ("positive", "pos", "positives")
_OWN_NAMES = (
    " 열의 이름이 다르면 알려 주세요. 예: --column query=질문 --column positive=본문 (파이썬: "
    "columns={'query': '질문', 'positive': '본문'}).",
    " For columns of other names, say which they are: --column query=질문 --column positive=본문 (in Python: "
    "columns={'query': '질문', 'positive': '본문'}).",
)


def read_folder(folder: Path, *, split: str = "test") -> Dataset:
    """Reads a BEIR or an AutoRAG folder, recognised by its files.

    - BEIR: ``corpus`` (``_id, title, text``; the title is optional), ``queries`` (``_id, text``) and ``qrels`` or
      ``qrels/<split>`` (``query-id, corpus-id, score``; the score defaults to 1), each JSONL, parquet, CSV or TSV.
    - AutoRAG: ``corpus`` (``doc_id, contents``) and ``qa`` (``qid, query, retrieval_gt``).

    Raises:
        DatasetError: If the folder is neither, or a file is invalid.
    """
    corpus, queries, qa = (find_table(folder, name) for name in ("corpus", "queries", "qa"))
    if corpus and qa:
        return read_autorag(corpus, qa, name=folder.name)
    qrels = find_table(folder, "qrels") or find_table(folder / "qrels", split)
    if corpus and queries and qrels:
        return from_tables(folder.name, read_rows(corpus), read_rows(queries), read_rows(qrels), source=str(folder))
    if corpus and queries and (folder / "qrels").is_dir():
        splits = ", ".join(sorted(path.stem for path in (folder / "qrels").iterdir()))
        raise DatasetError(
            f"'{folder}/qrels'에 split '{split}'이(가) 없습니다. 있는 split: {splits or '없음'}.",
            f"'{folder}/qrels' has no split '{split}'; it has: {splits or 'none'}.",
        )
    found = ", ".join(sorted(path.name for path in folder.iterdir())) or "-"
    raise DatasetError(
        f"'{folder}'은(는) 평가 데이터 폴더가 아닙니다. BEIR(corpus, queries, qrels)이나 AutoRAG(corpus, qa) 파일이 "
        f"필요합니다. 있는 파일: {found:.200}",
        f"'{folder}' is not an evaluation data folder: it needs the files of BEIR (corpus, queries, qrels) or AutoRAG "
        f"(corpus, qa). It contains: {found:.200}",
    )


def from_tables(name: str, corpus: TableRows, queries: TableRows, qrels: TableRows, *, source: str = "") -> Dataset:
    """Builds a data set from three tables with the column names of BEIR, MTEB and MIRACL.

    Raises:
        DatasetError: If a column is missing, an id is repeated or unknown, or a score is not an integer.
    """
    documents: dict[str, str] = {}
    for where, row in corpus:
        id_ = text_column(row, DOCUMENT_ID, where)
        _add_once(documents, id_, document_text(row.get("title"), column(row, ("text", "contents"), where)), where)
    texts: dict[str, str] = {}
    for where, row in queries:
        _add_once(texts, text_column(row, QUERY_ID, where), text_column(row, QUERY_TEXT, where), where)
    relevant: dict[str, dict[str, int]] = {}
    for where, row in qrels:
        query, document = text_column(row, JUDGED_QUERY, where), text_column(row, JUDGED_DOCUMENT, where)
        relevant.setdefault(query, {})[document] = _grade(row.get("score", 1), where)
    return Dataset.build(name, documents=documents, queries=texts, relevant=relevant, source=source)


def read_autorag(corpus: Path, qa: Path, *, name: str) -> Dataset:
    """Reads AutoRAG's two tables. All ids in ``retrieval_gt`` are relevant; `groups` keeps the nesting.

    Raises:
        DatasetError: If a column is missing, or an id is repeated or unknown.
    """
    documents: dict[str, str] = {}
    for where, row in read_rows(corpus):
        contents = column(row, ("contents",), where)
        _add_once(documents, text_column(row, ("doc_id",), where), document_text(None, contents), where)
    queries: dict[str, str] = {}
    groups: dict[str, Groups] = {}
    for where, row in read_rows(qa):
        query = text_column(row, ("qid",), where)
        _add_once(queries, query, text_column(row, ("query",), where), where)
        groups[query] = _groups(column(row, ("retrieval_gt",), where), where)
    relevant = {query: [id_ for group in needed for id_ in group] for query, needed in groups.items()}
    return Dataset.build(
        name, documents=documents, queries=queries, relevant=relevant, groups=groups, source=str(qa.parent)
    )


def read_pairs(path: Path, *, columns: Mapping[str, str] | None = None) -> Dataset:
    """Reads a table with the columns ``query``, ``positive`` and optionally ``negative…``.

    ``positive`` and ``negatives`` may be lists (in CSV: as JSON). The corpus consists of all distinct positives and
    negatives, so a larger table makes a harder task.

    Args:
        path: The table.
        columns: Its own names for these columns, by them: ``{"query": "질문", "positive": "본문"}``.

    Raises:
        DatasetError: If a column is missing, a text is empty, or a text is both a positive and a negative of a
            query; the message has the line.
    """
    ids: dict[str, str] = {}
    queries: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    rejected: dict[str, dict[str, str]] = {}
    names = {own: name for name, own in (columns or {}).items()}
    for where, given in read_rows(path):
        for own in names:
            column(given, (own,), where)
        row = {
            names.get(str(own), own): value for own, value in given.items() if own in names or own not in names.values()
        }
        query = queries.setdefault(text_column(row, _PAIR_QUERY, where, advice=_OWN_NAMES), f"q{len(queries)}")
        positives = list(_texts(column(row, _PAIR_POSITIVE, where, advice=_OWN_NAMES), "positive", where))
        if not positives:
            text_column({"positive": ""}, ("positive",), where)
        for text in positives:
            relevant.setdefault(query, {})[ids.setdefault(text, f"d{len(ids)}")] = 1
        for name, value in row.items():
            if str(name).startswith("neg") and value not in (None, ""):
                for text in _texts(value, str(name), where):
                    rejected.setdefault(query, {})[ids.setdefault(text, f"d{len(ids)}")] = where
    for query, negatives in rejected.items():
        if both := negatives.keys() & relevant[query].keys():
            where, id_ = min((negatives[id_], id_) for id_ in both)
            text = next(text for text, other in ids.items() if other == id_)
            raise DatasetError(
                f"{where}: 같은 질문의 정답(positive)이 오답(negative)에도 있습니다: {text!r:.80}",
                f"{where}: a positive of the same query is also a negative: {text!r:.80}",
            )
    documents, texts = ({id_: text for text, id_ in table.items()} for table in (ids, queries))
    return Dataset.build(path.stem, documents=documents, queries=texts, relevant=relevant, source=str(path))


def _add_once(table: dict[str, str], id_: str, text: str, where: str) -> None:
    if id_ in table:
        raise DatasetError(f"{where}: id {id_!r}이(가) 중복됩니다.", f"{where}: the id {id_!r} is repeated.")
    table[id_] = text


def _grade(score: Any, where: str) -> int:
    try:
        grade = int(score)
        if grade == float(score):
            return grade
    except (TypeError, ValueError):
        pass
    raise DatasetError(
        f"{where}: score {score!r}은(는) 정수여야 합니다.", f"{where}: the score {score!r} must be an integer."
    )


def _groups(value: Any, where: str) -> Groups:
    """Parses ``retrieval_gt``; like AutoRAG, also accepts a single id or a flat list of alternatives."""
    if isinstance(value, str):
        value = [[value]]
    elif isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = [value]
    try:
        groups: Groups = tuple(tuple(group) for group in value)
        good = all(isinstance(id_, str) and id_ for group in groups for id_ in group)
    except TypeError:
        groups, good = (), False
    if not good:
        raise DatasetError(
            f"{where}: retrieval_gt {value!r:.80}은(는) [['문서 id', …], …] 형식이어야 합니다.",
            f"{where}: retrieval_gt {value!r:.80} must have the form [['document id', …], …].",
        )
    return tuple(group for group in groups if group)


def _texts(value: Any, name: str, where: str) -> Iterator[str]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = None  # a text that starts with a bracket
        value = parsed if isinstance(parsed, list) else value
    row: Mapping[str, Any]
    for item in value if isinstance(value, list | tuple) else [value]:
        row = {name: item}
        yield text_column(row, (name,), where)
