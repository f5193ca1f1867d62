"""A small data set of our own sentences, and helpers that write tables."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from korag.evaluation import Dataset

DOCUMENTS = {
    "lease": "임대차 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 한다.",
    "library": "시립 도서관은 매주 월요일과 공휴일에 문을 닫는다.",
    "stew": "김치찌개는 돼지고기와 잘 익은 묵은지를 넣고 푹 끓인다.",
    "refund": "결제한 날부터 이레 안에 환불을 신청하면 전액을 돌려받는다.",
    "leave": "연차 휴가는 사용하기 사흘 전까지 팀장에게 신청한다.",
    "article6": "제6조(목적) 이 규정은 사내 문서의 보존 기간을 정한다.",
    "article6-2": "제6조의2(적용 범위) 이 규정은 전자 문서에도 적용한다.",
    "server": "GPU 서버는 매일 새벽 두 시에 자동으로 점검한다.",
    "empty": " ",
    "bus": "시내버스는 삼십 분 안에 갈아타면 요금을 다시 내지 않는다.",
}
QUERIES = {
    "q1": "보증금은 언제 돌려받나요?",
    "q2": "도서관 쉬는 날",
    "q3": "묵은지로 끓이는 찌개",
    "q4": "제6조의2는 무엇을 정하나요?",
    "q5": "환불 신청 기한",
}
RELEVANT = {"q1": ["lease"], "q2": ["library"], "q3": ["stew"], "q4": ["article6-2", "article6"], "q5": ["refund"]}


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return Dataset.build("우리 질문", documents=DOCUMENTS, queries=QUERIES, relevant=RELEVANT)


@pytest.fixture
def beir_rows() -> dict[str, list[dict[str, Any]]]:
    """The same in BEIR's columns, with a title, a grade of 0, a grade of 2 and an unjudged query."""
    corpus = [{"_id": id_, "title": "", "text": text} for id_, text in DOCUMENTS.items()]
    corpus[1]["title"] = "이용 안내"
    queries = [{"_id": id_, "text": text} for id_, text in {**QUERIES, "q9": "아무도 판정하지 않은 질문"}.items()]
    qrels = [{"query-id": q, "corpus-id": d, "score": 1} for q, ids in RELEVANT.items() for d in ids]
    qrels[3]["score"] = 2
    qrels += [{"query-id": "q2", "corpus-id": "bus", "score": 0}]
    return {"corpus": corpus, "queries": queries, "qrels": qrels}


Write = Callable[[Path, Sequence[dict[str, Any]]], Path]


@pytest.fixture
def write() -> Write:
    """Writes rows in the format of the file's suffix."""

    def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(list(rows)), path)
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
                table.writeheader()
                table.writerows(rows)
        return path

    return write
