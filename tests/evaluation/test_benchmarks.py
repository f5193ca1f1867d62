"""The named Korean benchmarks, on small copies of their layouts."""

from pathlib import Path
from typing import Any

import pytest

from korag.evaluation import BENCHMARKS, Dataset, DatasetError, load_dataset


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(name: str, folder: Path) -> Dataset:
        return load_dataset(name, local=folder, cache_folder=tmp_path / "cache")

    return load


def _mteb(split: str) -> dict[str, list[dict[str, Any]]]:
    return {
        "corpus/corpus": [
            {"_id": "d1", "title": "세금", "text": "세금은 오월에 낸다."},
            {"_id": "d2", "title": "", "text": "보험료는 매달 낸다."},
        ],
        "queries/queries": [{"_id": "q1", "text": "세금 내는 달"}, {"_id": "q2", "text": "판정 없는 물음"}],
        f"default/{split}": [
            {"query-id": "q1", "corpus-id": "d1", "score": 1},
            {"query-id": "q1", "corpus-id": "d2", "score": 0},
        ],
    }


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize(("name", "split"), [("AutoRAG-ko", "test"), ("Ko-StrategyQA", "dev")])
def test_three_tables(tmp_path: Path, write: Any, load: Any, name: str, split: str, suffix: str) -> None:
    for place, rows in _mteb(split).items():
        write(tmp_path / "twin" / f"{place}{suffix}", rows)
    data = load(name, tmp_path / "twin")
    assert data.name == name.lower()
    assert data.documents == {"d1": "세금 세금은 오월에 낸다.", "d2": "보험료는 매달 낸다."}
    assert data.queries == {"q1": "세금 내는 달"}
    assert data.relevant == {"q1": {"d1": 1}}


def test_a_snapshot_of_the_repository(tmp_path: Path, write: Any, load: Any) -> None:
    """A folder as ``hf download`` writes it; the README lists configurations and splits."""
    twin = tmp_path / "snapshot"
    for place, rows in _mteb("test").items():
        write(twin / "data" / f"{place.replace('/', '-')}.parquet", rows)
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: {split}\n    path: data/{config}-{split}.parquet\n"
        for config, split in (place.split("/") for place in _mteb("test"))
    )
    (twin / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert load("autorag-ko", twin).relevant == {"q1": {"d1": 1}}


def test_belebele(tmp_path: Path, write: Any, load: Any) -> None:
    rows = [
        {"link": "https://a", "flores_passage": "강은 바다로 흐른다.", "question": "강은 어디로 가나?"},
        {"link": "https://a", "flores_passage": "강은 바다로 흐른다.", "question": "무엇이 흐르나?"},
        {"link": "https://b", "flores_passage": "산은 높다.", "question": "무엇이 흐르나?"},
        {"link": "https://c", "flores_passage": "산은 높다.", "question": "산은 어떤가?"},
    ]
    write(tmp_path / "twin/kor_Hang/test.jsonl", rows)
    data = load("belebele-ko", tmp_path / "twin")
    assert list(data.documents) == ["https://a", "https://b", "https://c"]
    assert data.queries == {"Q0": "강은 어디로 가나?", "Q1": "무엇이 흐르나?", "Q2": "산은 어떤가?"}
    assert data.relevant["Q1"] == {"https://a": 1, "https://b": 1}


def test_public_health_qa(tmp_path: Path, write: Any, load: Any) -> None:
    rows = [
        {"question": "손은 얼마나 씻나요?", "answer": "삼십 초 넘게 씻습니다."},
        {"question": None, "answer": "물음 없는 답"},
        {"question": "손 씻는 시간은?", "answer": "삼십 초 넘게 씻습니다."},
        {"question": "답 없는 물음", "answer": None},
        {"question": "열이 나면?", "answer": "의사를 만납니다."},
    ]
    write(tmp_path / "twin/korean/test-00000-of-00001.parquet", rows)
    data = load("PublicHealthQA-ko", tmp_path / "twin")
    assert data.documents == {"D0": "삼십 초 넘게 씻습니다.", "D1": "의사를 만납니다."}
    assert list(data.queries.values()) == ["손은 얼마나 씻나요?", "손 씻는 시간은?", "열이 나면?"]
    assert data.relevant == {"Q0": {"D0": 1}, "Q1": {"D0": 1}, "Q2": {"D1": 1}}


def test_miracl(tmp_path: Path, write: Any, load: Any) -> None:
    twin = tmp_path / "twin"
    write(twin / "corpus-ko/corpus.jsonl", [{"docid": "7#0", "title": "한강", "text": "서울을 지난다."}] * 1)
    write(twin / "queries-ko/queries.jsonl", [{"query_id": "3", "query": "서울을 지나는 강"}])
    judged = [{"query_id": "3", "docid": "7#0", "score": 1}, {"query_id": "3", "docid": "9#9", "score": 0}]
    write(twin / "ko/dev.jsonl", judged)
    data = load("MIRACL-ko", twin)
    assert data.documents == {"7#0": "한강 서울을 지난다."}
    assert data.relevant == {"3": {"7#0": 1}}


def test_mr_tydi(tmp_path: Path, write: Any, load: Any) -> None:
    twin = tmp_path / "twin"
    write(twin / "korean-corpus/train-00000-of-00002.parquet", [{"_id": "1", "title": "섬", "text": "바다 위"}])
    write(twin / "korean-corpus/train-00001-of-00002.parquet", [{"_id": "2", "title": "뭍", "text": "바다 곁"}])
    write(twin / "korean-queries/test.parquet", [{"_id": "0", "text": "바다 위에 있는 것"}])
    write(twin / "korean-queries/train.parquet", [{"_id": "5", "text": "다른 split"}])
    write(twin / "korean-qrels/test.parquet", [{"query-id": "0", "corpus-id": "1", "score": 1}])
    data = load("Mr.TyDi-ko", twin)
    assert data.documents == {"1": "섬 바다 위", "2": "뭍 바다 곁"}
    assert data.queries == {"0": "바다 위에 있는 것"}


def test_mldr(tmp_path: Path, write: Any, load: Any) -> None:
    twin = tmp_path / "twin"
    passages = [{"docid": "doc-2", "text": "둘"}, {"docid": "doc-1", "text": "하나"}]
    write(twin / "corpus-ko/corpus.jsonl", [{"docid": f"doc-{n}", "text": f"긴 문서 {n}"} for n in (1, 2)])
    question = {"query_id": "q-1", "query": "둘째는?", "positive_passages": passages, "negative_passages": []}
    write(twin / "ko/dev.jsonl", [question])
    assert load("mldr-ko", twin).relevant == {"q-1": {"doc-2": 1}}  # the first positive alone


def test_mldr_files_of_the_repository(tmp_path: Path, write: Any, load: Any) -> None:
    """The repository itself: a loading script, which `datasets` no longer runs, and compressed files."""
    import gzip
    import json

    twin = tmp_path / "twin"
    (twin / "mldr-v1.0-ko").mkdir(parents=True)
    question = {"query_id": "q", "query": "물음", "positive_passages": [{"docid": "d", "text": "긴 문서"}]}
    for name, row in (("corpus", {"docid": "d", "text": "긴 문서"}), ("dev", question)):
        with gzip.open(twin / f"mldr-v1.0-ko/{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False))
    assert load("mldr-ko", twin).relevant == {"q": {"d": 1}}


def test_nanobeir(tmp_path: Path, write: Any, load: Any) -> None:
    twin = tmp_path / "twin"
    write(twin / "corpus/NanoSciFact.parquet", [{"_id": "1", "text": "별은 스스로 빛난다."}])
    write(twin / "queries/NanoSciFact.parquet", [{"_id": "9", "text": "스스로 빛나는 것"}])
    write(twin / "qrels/NanoSciFact.parquet", [{"query-id": "9", "corpus-id": "1"}])
    assert load("nanobeir-ko/scifact", twin).relevant == {"9": {"1": 1}}
    with pytest.raises(DatasetError, match="do not name the copy"):
        load_dataset("NanoBEIR-ko/SciFact")


def test_thirteen_nano_sets_and_seven_others() -> None:
    assert sum(name.startswith("nanobeir-ko/") for name in BENCHMARKS) == 13
    assert len(BENCHMARKS) == 20
    assert BENCHMARKS["miracl-ko"].dataset_id == "miracl/mmteb-miracl"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("autorag-kr", "autorag-ko"), ("Mr TyDi", "mrtydi-ko"), ("nanobeir-ko/sci", "nanobeir-ko/scifact")],
)
def test_unknown_names_are_asked_back(name: str, meant: str) -> None:
    with pytest.raises(DatasetError, match=f"Did you mean '{meant}'") as error:
        load_dataset(name)
    assert f"혹시 '{meant}'인가요?" in str(error.value)


def test_a_table_that_cannot_be_read(tmp_path: Path, write: Any, load: Any) -> None:
    with pytest.raises(DatasetError, match="There is no folder"):
        load("autorag-ko", tmp_path / "nowhere")
    write(tmp_path / "twin/corpus/corpus.jsonl", [{"_id": "d", "text": "글"}])
    with pytest.raises(DatasetError, match=r"The table queries of .* cannot be read"):
        load("autorag-ko", tmp_path / "twin")
    for place, rows in _mteb("train").items():
        write(tmp_path / "wrong" / f"{place}.jsonl", [{**rows[0], "score": 1}] if "default" in place else rows[:1])
    with pytest.raises(DatasetError, match=r"(Cannot choose|cannot be read)"):
        load("autorag-ko", tmp_path / "wrong")


def test_offline_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DatasetError, match=r"ConnectionError: no route.*pass the folder as local="):
        load_dataset("yjoonjang/markers_bm", cache_folder=tmp_path)
