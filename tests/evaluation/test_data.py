"""Data sets in files: every layout gives the same data set, and errors name the place."""

import json
from pathlib import Path
from typing import Any

import pytest

from korag.errors import InvalidTextError
from korag.evaluation import Dataset, DatasetError, load_dataset

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def beir(tmp_path: Path, beir_rows: Rows, write: Any) -> Any:
    def make(suffix: str = ".jsonl", qrels: str = "qrels/test.tsv") -> Path:
        folder = tmp_path / "우리-질문"
        for part in ("corpus", "queries"):
            write(folder / f"{part}{suffix}", beir_rows[part])
        write(folder / qrels, beir_rows["qrels"])
        return folder

    return make


class TestBeir:
    @pytest.mark.parametrize(
        ("suffix", "qrels"),
        [(".jsonl", "qrels/test.tsv"), (".parquet", "qrels.parquet"), (".parquet", "qrels/test.parquet"),
         (".csv", "qrels.csv"), (".jsonl", "qrels.jsonl")],
    )  # fmt: skip
    def test_every_format_gives_the_same(self, beir: Any, suffix: str, qrels: str) -> None:
        data = load_dataset(beir(suffix, qrels))
        assert data.name == "우리-질문"
        assert data.documents["library"] == "이용 안내 시립 도서관은 매주 월요일과 공휴일에 문을 닫는다."
        assert data.documents["empty"] == ""  # title + " " + text, stripped
        assert list(data.queries) == ["q1", "q2", "q3", "q4", "q5"]  # the unjudged one is left out
        assert data.relevant["q4"] == {"article6-2": 2, "article6": 1}
        assert data.relevant["q2"] == {"library": 1}  # a grade of 0 is no judgement
        assert data.fingerprint == load_dataset(beir(".jsonl", "qrels/test.tsv")).fingerprint

    def test_the_fingerprint_is_of_content(self, dataset: Dataset) -> None:
        other = Dataset.build(
            "다른 이름", documents=dataset.documents, queries=dataset.queries, relevant=dataset.relevant
        )
        assert other.fingerprint == dataset.fingerprint
        changed = {**dataset.documents, "bus": dataset.documents["bus"] + "!"}
        other = Dataset.build("a", documents=changed, queries=dataset.queries, relevant=dataset.relevant)
        assert other.fingerprint != dataset.fingerprint

    def test_a_byte_order_mark_and_integer_ids(self, tmp_path: Path, write: Any) -> None:
        (tmp_path / "corpus.csv").write_bytes("\ufeff_id,text\n1,가을 하늘\n2,겨울 바다\n".encode())
        write(tmp_path / "queries.jsonl", [{"_id": 7, "text": "바다"}])
        write(tmp_path / "qrels.parquet", [{"query-id": 7, "corpus-id": 2}])  # no score: relevant
        assert load_dataset(tmp_path).relevant == {"7": {"2": 1}}

    def test_splits(self, beir: Any) -> None:
        folder = beir(qrels="qrels/dev.tsv")
        assert len(load_dataset(folder, split="dev").queries) == 5
        with pytest.raises(DatasetError, match=r"has no split 'test'; it has: dev"):
            load_dataset(folder)

    @pytest.mark.parametrize(
        ("part", "index", "change", "message"),
        [
            ("corpus", 2, {"_id": None}, r"corpus.jsonl:3: '_id' is None"),
            ("corpus", 2, {"_id": "lease"}, r"corpus.jsonl:3: the id 'lease' is repeated"),
            ("queries", 0, {"text": "  "}, r"queries.jsonl:1: 'text' is '  '"),
            ("qrels", 1, {"corpus-id": "없는 문서"}, r"contain the document id '없는 문서', which is not among its 10"),
            ("qrels", 0, {"query-id": "없는 질의"}, r"contain the query id '없는 질의'"),
            ("qrels", 4, {"score": "높음"}, r"qrels.jsonl:5: the score '높음' must be an integer"),
            ("qrels", 4, {"score": 0.5}, r"the score 0.5 must be an integer"),
        ],
    )
    def test_wrong_values(
        self, beir: Any, beir_rows: Rows, part: str, index: int, change: dict[str, Any], message: str
    ) -> None:
        beir_rows[part][index] |= change
        with pytest.raises(DatasetError, match=message):
            load_dataset(beir(qrels="qrels.jsonl"))

    @pytest.mark.parametrize(
        ("part", "gone", "message"),
        [
            ("corpus", "text", r"no column 'text / contents'; the columns are: _id, title"),
            ("queries", "_id", r"queries.jsonl:1: there is no column '_id / id / query_id / qid'"),
            ("qrels", "corpus-id", r"qrels.jsonl:1: there is no column 'corpus-id"),
        ],
    )
    def test_missing_columns(self, beir: Any, beir_rows: Rows, part: str, gone: str, message: str) -> None:
        for row in beir_rows[part]:
            del row[gone]
        with pytest.raises(DatasetError, match=message):
            load_dataset(beir(qrels="qrels.jsonl"))

    @pytest.mark.parametrize(
        ("part", "message"),
        [("corpus", "has no documents"), ("queries", "has no queries"), ("qrels", "no query with a relevant document")],
    )
    def test_empty_sets(self, beir: Any, part: str, message: str) -> None:
        folder = beir(qrels="qrels.jsonl")
        (folder / f"{part}.jsonl").write_text("\n")
        with pytest.raises(DatasetError, match=message):
            load_dataset(folder)


class TestBrokenFiles:
    def test_a_broken_line_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.jsonl"
        path.write_text('{"query": "하나", "positive": "둘"}\n\n{"query": "셋", \n', encoding="utf-8")
        with pytest.raises(DatasetError, match=r"pairs.jsonl:3: invalid JSON") as error:
            load_dataset(path)
        assert str(error.value).startswith("pairs.jsonl:3: 잘못된 JSON입니다")

    def test_a_line_that_is_no_object(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.jsonl"
        path.write_text('["query", "positive"]\n')
        with pytest.raises(DatasetError, match=r"pairs.jsonl:1: each line must be a JSON object"):
            load_dataset(path)

    def test_a_csv_line_with_too_many_values(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.csv"
        path.write_text("query,positive\n휴가는,신청한다\n셋,넷,다섯\n", encoding="utf-8")
        with pytest.raises(DatasetError, match=r"pairs.csv:3: the number of values differs from the 2 columns"):
            load_dataset(path)

    def test_cp949(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.csv"
        path.write_bytes("query,positive\n휴가,신청한다\n".encode("cp949"))
        assert list(load_dataset(path).documents.values()) == ["신청한다"]

    def test_another_encoding(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.jsonl"
        path.write_bytes(b'{"query": "\xff", "positive": "\xff"}\n')
        with pytest.raises(DatasetError, match="Save it as UTF-8"):
            load_dataset(path)

    def test_a_damaged_parquet_file(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.parquet"
        path.write_bytes(b"PAR1 no more")
        with pytest.raises(DatasetError, match="is damaged"):
            load_dataset(path)

    def test_another_format(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.xlsx"
        path.write_bytes(b"")
        with pytest.raises(DatasetError, match=r"must be one of: .parquet, .jsonl, .csv, .tsv"):
            load_dataset(path)

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(DatasetError, match=r"It contains: notes.txt"):
            load_dataset(tmp_path)


class TestAutoRAG:
    @pytest.fixture
    def folder(self, tmp_path: Path, dataset: Dataset, write: Any) -> Path:
        corpus = [{"doc_id": i, "contents": t, "metadata": {"x": 1}} for i, t in dataset.documents.items()]
        qa = [
            {"qid": q, "query": t, "retrieval_gt": [[i] for i in dataset.relevant[q]], "generation_gt": ["답"]}
            for q, t in dataset.queries.items()
        ]
        qa[0]["retrieval_gt"] = [["lease", "refund"], ["bus"]]
        write(tmp_path / "corpus.parquet", corpus)
        write(tmp_path / "qa.parquet", qa)
        return tmp_path

    def test_nested_judgements(self, folder: Path) -> None:
        data = load_dataset(folder)
        assert data.relevant["q1"] == {"lease": 1, "refund": 1, "bus": 1}
        assert data.groups is not None
        assert data.groups["q1"] == (("lease", "refund"), ("bus",))
        assert data.groups["q4"] == (("article6-2",), ("article6",))

    def test_wrong_judgements(self, folder: Path, write: Any) -> None:
        write(folder / "qa.parquet", [{"qid": "q1", "query": "보증금", "retrieval_gt": [[1]]}])
        with pytest.raises(DatasetError, match=r"qa.parquet:1: retrieval_gt .* must have the form"):
            load_dataset(folder)
        write(folder / "qa.parquet", [{"qid": "q1", "query": "보증금", "retrieval_gt": [["없음"]]}])
        with pytest.raises(DatasetError, match="document id '없음'"):
            load_dataset(folder)
        write(folder / "qa.parquet", [{"qid": "q1", "query": "보증금"}])
        with pytest.raises(DatasetError, match="no column 'retrieval_gt'"):
            load_dataset(folder)


class TestPairs:
    def test_json_lines_with_negatives(self, tmp_path: Path, write: Any) -> None:
        rows = [
            {"query": "보증금 반환", "positive": "집주인이 돌려준다.", "negatives": ["버스를 탄다.", "찌개를 끓인다."]},
            {"query": "버스 요금", "positive": ["버스를 탄다.", "요금을 낸다."], "negatives": []},
            {"query": "보증금 반환", "positive": "계약이 끝난 뒤다.", "neg_0": "요금을 낸다."},
        ]
        data = load_dataset(write(tmp_path / "질문.jsonl", rows))
        assert data.name == "질문"
        assert sorted(data.documents.values()) == sorted(
            ["집주인이 돌려준다.", "버스를 탄다.", "찌개를 끓인다.", "요금을 낸다.", "계약이 끝난 뒤다."]
        )
        found = {data.queries[q]: {data.documents[d] for d in ids} for q, ids in data.relevant.items()}
        assert found == {
            "보증금 반환": {"집주인이 돌려준다.", "계약이 끝난 뒤다."},
            "버스 요금": {"버스를 탄다.", "요금을 낸다."},
        }

    def test_csv_with_lists_as_json(self, tmp_path: Path, write: Any) -> None:
        row = {"query": "[급함] 환불", "positive": "[안내] 이레 안에", "negatives": json.dumps(["늦다", "빠르다"])}
        data = load_dataset(write(tmp_path / "pairs.csv", [row]))
        assert list(data.documents.values()) == ["[안내] 이레 안에", "늦다", "빠르다"]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"query": "", "positive": "답"}, "pairs.jsonl:2: 'query' is ''"),
            ({"query": "물음", "positive": None}, "pairs.jsonl:2: 'positive' is None"),
            ({"query": "물음", "positive": []}, "pairs.jsonl:2: 'positive' is ''"),
            ({"question": "물음", "answer": "답"}, "pairs.jsonl:2: there is no column 'positive / pos / positives'"),
            ({"query": "물음", "positive": "답", "negative": ["오답", "답"]}, "pairs.jsonl:2: a positive .*: '답'"),
        ],
    )
    def test_wrong_rows(self, tmp_path: Path, write: Any, row: dict[str, Any], message: str) -> None:
        path = write(tmp_path / "pairs.jsonl", [{"query": "하나", "positive": "둘"}, row])
        with pytest.raises(DatasetError, match=message):
            load_dataset(path)


class TestBuild:
    def test_ids_alone_are_grade_1(self, dataset: Dataset) -> None:
        assert dataset.relevant["q4"] == {"article6-2": 1, "article6": 1}
        assert repr(dataset) == "Dataset('우리 질문', documents=10, queries=5)"

    def test_what_is_no_text(self) -> None:
        with pytest.raises(InvalidTextError, match=r"documents\['d'\]"):
            Dataset.build("x", documents={"d": 3}, queries={"q": "물음"}, relevant={"q": ["d"]})  # type: ignore[dict-item]
        with pytest.raises(InvalidTextError, match="'d' is a string"):
            Dataset.build("x", documents={"d": "답"}, queries={"q": "물음"}, relevant={"q": "d"})
