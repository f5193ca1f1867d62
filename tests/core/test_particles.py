"""Particles in messages agree with the word before them, whatever it is."""

import logging
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.errors import InvalidArgumentError, PairsError
from korag.evaluation.dataset import Dataset
from korag.evaluation.runner import evaluate
from korag.logs import logger
from korag.particles import agree


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("보증금을(를)", "보증금을"), ("'도서'을(를)", "'도서'를"), ("서울(으)로", "서울로"),
        ("부산(으)로", "부산으로"), ("dim=32을(를)", "dim=32를"), ("k=10은(는)", "k=10은"), ("k=7(으)로", "k=7로"),
        ("k=3(으)로", "k=3으로"),
        ("model이(가)", "model이"), ("where을(를)", "where를"), ("filters이(가)", "filters가"),
        ("top_k이(가)", "top_k가"), ("None은(는)", "None은"), ("True(으)로", "True로"),
        ("'file.json'와(과)", "'file.json'과"),
        ("set이(가)", "set이"), ("codec을(를)", "codec을"), ("topic은(는)", "topic은"),
        ("NoneType이(가)", "NoneType이"), ("pipe이(가)", "pipe가"), ("async을(를)", "async를"),
        ("web(으)로", "web으로"), ("hub을(를)", "hub를"), ("notebook을(를)", "notebook을"), ("group이(가)", "group이"),
        ("client=이(가)", "client=가"), ("{1: 2}이(가)", "{1: 2}이(가)"), ("그림(가)", "그림(가)"),
    ],
)  # fmt: skip
def test_forms(written: str, read: str) -> None:
    assert agree(f"값 {written} 빼세요") == f"값 {read} 빼세요"


def test_errors_agree() -> None:
    error = InvalidArgumentError("weights에 'colbert'이(가) 있습니다.", "weights names 'colbert'.")
    assert str(error) == "weights에 'colbert'가 있습니다.\nweights names 'colbert'."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 (its own)
    pairs = PairsError("2행을(를) 고치세요", "Correct line 2", ((2, "정답이(가) 비어 있습니다", "it is empty"),))
    assert (str(pairs), pairs.problems[0][1]) == ("2행을 고치세요\nCorrect line 2", "정답이 비어 있습니다")


@settings(max_examples=25)
@given(st.text("가각갈라\u1100abcn_ 0179'\"(", min_size=1, max_size=8))
def test_one_form_is_left_and_nothing_else_changes(word: str) -> None:
    for both, closed, opened in (("을(를)", "을", "를"), ("이(가)", "이", "가"), ("(으)로", "으로", "로")):
        read = agree(word + both)
        assert read in {word + both, word + closed, word + opened}
        assert agree(read) == read
    if "가" <= word[-1] <= "힣":
        assert agree(f"{word}은(는)") == word + ("은" if (ord(word[-1]) - ord("가")) % 28 else "는")


def test_what_is_logged_agrees(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="korag"):
        logger.info("질문 %r을(를) %r(으)로 고쳐 찾습니다. / Searching for %r.", "model", "전세보증금", "x")
        logger.warning("'%s'이(가) 손상되었습니다.", Path("색인/결과"))
        logger.warning("%d개를 뺐습니다(모두 %d개).", 3, 7)
        logger.warning("'서울'(으)로")
        logging.getLogger("korag").warning("모델은(는) %s", "100%")
    assert [record.getMessage() for record in caplog.records] == [
        "질문 'model'을 '전세보증금'으로 고쳐 찾습니다. / Searching for 'x'.", "'색인/결과'가 손상되었습니다.",
        "3개를 뺐습니다(모두 7개).", "'서울'로", "모델은 100%",
    ]  # fmt: skip
    assert caplog.records[2].args == (3, 7)  # handlers may count by it


@pytest.mark.parametrize("package", ["core/korag", "langchain_korag", "llamaindex_korag"])
def test_every_module_logs_by_the_one_logger(package: str) -> None:
    root = Path(__file__).parents[2] / package
    own = [path for path in root.rglob("*.py") if 'getLogger("korag")' in path.read_text(encoding="utf-8")]
    assert [path.name for path in own] == (["logs.py"] if package == "core/korag" else [])


def test_a_damaged_evaluation_is_told_with_one_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = Dataset.build(
        "시험", documents={"가": "보증금은 돌려준다."}, queries={"q": "보증금"}, relevant={"q": ["가"]}
    )
    evaluate(data, output=tmp_path)
    runs = [path for path in tmp_path.rglob("*.json") if "rankings" in path.read_text(encoding="utf-8")]
    for path in runs:
        path.write_text("{")
    evaluate(data, output=tmp_path)
    assert runs
    assert re.search(r"\.json'이 손상되어 다시 평가합니다\(", caplog.text)
