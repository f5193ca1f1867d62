"""Pruning: whole sentences and rows with what they need to be understood, their places, and nothing lost silently."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import expanding_colbert
from hypothesis import given, settings
from hypothesis import strategies as st

from korag import DenseEncoder, LateInteractionEncoder, Pruner, load_encoder
from korag.errors import InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.pruning.pieces import find_pieces
from korag.testing.encoders import FakeMultiVectorEncoder

QUERY = "보증금은 언제 돌려받나요?"
DEPOSIT = "보증금은 계약이 끝난 날부터 열흘 안에 돌려받는다."
PASSAGES = [
    f"창고 열쇠는 사무실에서 받는다. {DEPOSIT} 엘리베이터는 밤에 쉰다.",
    "도서관은 월요일에 문을 닫는다. 강아지는 들어올 수 없다.",
]
MARKDOWN = """# 창고 안내

## 정산
보증금은 다음과 같다:
- 소형 창고 10만 원
- 대형 창고 30만 원

## 요금
| 크기 | 한 달 요금 |
|------|-----------|
| 소형 | 3만 원 |
| 대형 | 9만 원 |

```py
fee = 3

print(fee)
```
"""


@pytest.fixture(scope="module")
def pruner(colbert: LateInteractionEncoder) -> Pruner:
    return Pruner(colbert, threshold=0.8)


def _pieces(text: str, **options: Any) -> list[tuple[str, list[int]]]:
    found = find_pieces(text, **options)
    return [(found.text[one.start : one.end].strip(), list(one.heads)) for one in found.pieces]


class TestPieces:
    def test_markdown(self) -> None:
        assert _pieces(MARKDOWN) == [
            ("# 창고 안내", []), ("## 정산", [0]), ("보증금은 다음과 같다:", [0, 1]),
            ("- 소형 창고 10만 원", [0, 1, 2]), ("- 대형 창고 30만 원", [0, 1, 2]), ("## 요금", [0]),
            ("| 크기 | 한 달 요금 |\n|------|-----------|", [0, 5]), ("| 소형 | 3만 원 |", [0, 5, 6]),
            ("| 대형 | 9만 원 |", [0, 5, 6]), ("```py\nfee = 3\n\nprint(fee)\n```", [0, 5]),
        ]  # fmt: skip

    def test_statutes_and_tables(self) -> None:
        statute = "창고 규정\n\n제1조(목적) 절차를 정한다.\n제2조(보증금) ① 다음 각 호를 낸다.\n1. 요금\n② 이자는 없다."
        assert _pieces(statute) == [
            ("창고 규정", []), ("제1조(목적)", [0]), ("절차를 정한다.", [0, 1]), ("제2조(보증금)", [0]),
            ("① 다음 각 호를 낸다.", [0, 3]), ("1. 요금", [0, 3, 4]), ("② 이자는 없다.", [0, 3]),
        ]  # fmt: skip
        table = '이름,뜻\n가,"첫째\n글자"\n나,둘째'
        assert _pieces(table, filename="낱말.csv") == [
            ("이름,뜻", []), ('가,"첫째\n글자"', [0]), ("나,둘째", [0])
        ]  # fmt: skip

    def test_a_line_may_end_within_a_sentence(self) -> None:
        first = "이 글은 종이에서 옮긴 것이라 줄이 문장과 상관없이 끝나는데 그래도\n한 문장은 한 문장이다."
        assert [text for text, _ in _pieces(f"{first} 다음 문장이다.\n면적 30\n인구 5만")] == [
            first, "다음 문장이다.", "면적 30", "인구 5만"
        ]  # fmt: skip

    @settings(max_examples=25, deadline=None)
    @given(st.text('가나다. ?!\n#|-:,"1①제조()<p>th\u1100\u1161\u200b', max_size=60))
    def test_nothing_is_lost(self, text: str) -> None:
        found = find_pieces(text)
        joined = "".join(found.text[one.start : one.end] for one in found.pieces)
        assert joined == found.text or not found.text.strip() or not joined
        assert all(head < index for index, one in enumerate(found.pieces) for head in one.heads)


def test_keeps_the_sentences_that_match(pruner: Pruner) -> None:
    first, second = pruner.prune(QUERY, PASSAGES)
    assert first.text == DEPOSIT
    assert [PASSAGES[0][begin:end] for begin, end in first.spans] == [DEPOSIT]
    assert first.score == 1.0
    assert second.is_dropped
    assert (second.text, second.spans) == ("", ())
    assert second.score < pruner.threshold
    best = Pruner(pruner.encoder, threshold=0.8, when_empty="best").prune(QUERY, PASSAGES)[1]
    assert best.text in PASSAGES[1].split(". ")[0] + "."
    everything = Pruner(pruner.encoder, threshold=0, when_empty="best").prune(QUERY, PASSAGES)
    assert everything[0].text == PASSAGES[0]
    scores = pruner.score(QUERY, PASSAGES)
    assert [[PASSAGES[0][begin:end].strip() for begin, end, _ in scores[0]][1]] == [DEPOSIT]
    assert max(score for own in scores for _, _, score in own) == 1.0


def test_words_tell_names_apart_that_a_model_takes_for_one_another(pruner: Pruner) -> None:
    names = ["한라산의 높이는 1,947미터이다. 제주도에 있다.", "지리산의 높이는 1,915미터이다. 세 도에 걸쳐 있다."]
    right, wrong = pruner.score("한라산은 얼마나 높나요?", names)
    assert right[0][2] == 1.0
    assert wrong[0][2] < 0.4  # 0.55 by the vectors alone
    ((first, second),) = pruner.score("library hours?", ["도서관은 아홉 시에 연다. 강아지는 못 들어온다."])
    assert first[2] > second[2]  # no word in common: the vectors decide


def test_places_are_those_of_the_text_as_it_was_given(pruner: Pruner) -> None:
    spelled = unicodedata.normalize("NFD", PASSAGES[0])
    (pruned,) = pruner.prune(unicodedata.normalize("NFD", QUERY), [f"\n {spelled}"])
    assert [f"\n {spelled}"[begin:end] for begin, end in pruned.spans] == [unicodedata.normalize("NFD", DEPOSIT)]
    page = f"<html><body><h2>정산</h2><p>{PASSAGES[0]}</p></body></html>"
    (pruned,) = pruner.prune(QUERY, [page])
    assert pruned.text == f"정산\n{DEPOSIT}"
    assert [page[begin:end] for begin, end in pruned.spans] == ["정산", DEPOSIT]


def test_rows_keep_their_header_and_headings(pruner: Pruner) -> None:
    (pruned,) = Pruner(pruner.encoder, threshold=1).prune("대형 창고 보증금은 얼마인가요?", [MARKDOWN])
    assert pruned.text == "# 창고 안내\n\n## 정산\n보증금은 다음과 같다:\n- 대형 창고 30만 원"
    (pruned,) = Pruner(pruner.encoder, threshold=1).prune("소형 한 달 요금 크기", [MARKDOWN])
    assert pruned.text.splitlines()[-3:] == ["| 크기 | 한 달 요금 |", "|------|-----------|", "| 소형 | 3만 원 |"]


def test_a_passage_longer_than_the_model_reads_is_read_to_its_end(
    pruner: Pruner, caplog: pytest.LogCaptureFixture
) -> None:
    long = " ".join(f"{number}번 서랍에는 {number % 7}월의 영수증이 있다." for number in range(120))
    assert pruner.encoder.count_tokens([long])[0] > 2 * (pruner.encoder.max_length or 0)
    (pruned,) = pruner.prune(QUERY, [f"{long} {DEPOSIT}"])
    assert pruned.text == DEPOSIT
    assert pruned.spans == ((len(long) + 1, len(long) + 1 + len(DEPOSIT)),)
    assert "잘렸습니다" not in caplog.text


def test_each_passage_is_encoded_once_and_together(pruner: Pruner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str]] = []
    encode = LateInteractionEncoder.encode_placed

    def watched(self: LateInteractionEncoder, texts: list[str], task: str = "document") -> object:
        seen.append((len(texts), task))
        return encode(self, texts, task)  # type: ignore[arg-type]

    monkeypatch.setattr(LateInteractionEncoder, "encode_placed", watched)
    pruned = pruner.prune(QUERY, [*PASSAGES, "", PASSAGES[0]])
    assert seen == [(2, "document"), (1, "query")]
    assert pruned[0] == pruned[3]
    assert pruned[2].text == ""
    assert not pruned[2].is_dropped


def test_without_a_question_nothing_is_pruned(pruner: Pruner, caplog: pytest.LogCaptureFixture) -> None:
    assert [one.text for one in pruner.prune(" \n", PASSAGES)] == PASSAGES
    assert "질문이 비어 있습니다" in caplog.text
    assert pruner.prune(QUERY, []) == []
    assert [one.text for one in Pruner(pruner.encoder, threshold=0).prune("?!", ["...", PASSAGES[0]])] == [
        "...", PASSAGES[0]
    ]  # fmt: skip


def test_token_vectors_are_those_of_the_encoder(colbert: LateInteractionEncoder, tmp_path: Path) -> None:
    """In batches, with the places of the tokens; queries without their mask tokens."""
    text = f"“{DEPOSIT}” OK"
    placed = colbert.encode_placed([text, "짧다."])
    whole = colbert.encode_documents([text])[0]
    assert np.allclose(placed[0].vectors, whole, atol=1e-5)
    words = [text[begin:end] for begin, end in placed[0].places]
    assert "".join(words) == "".join(text.split()).replace(".", "")
    expanding: Any = load_encoder(expanding_colbert(tmp_path / "model"))
    (query,) = expanding.encode_placed([QUERY], "query")
    assert len(query.vectors) < len(expanding.encode_queries([QUERY])[0])
    assert np.allclose(
        colbert.encode_placed([QUERY], "query")[0].vectors, colbert.encode_queries([QUERY])[0], atol=1e-5
    )


def test_bad_arguments(colbert: LateInteractionEncoder, dense: DenseEncoder, pruner: Pruner) -> None:
    wrong_values = ({"threshold": 2}, {"threshold": None}, {"when_empty": "keep"}, {"sentences": "kss"})
    for wrong in wrong_values:
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            Pruner(colbert, **wrong)  # type: ignore[arg-type]
    with pytest.raises(WrongFamilyError):
        Pruner(dense)
    with pytest.raises(InvalidArgumentError, match="FakeMultiVectorEncoder"):
        Pruner(FakeMultiVectorEncoder())
    with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
        pruner.prune(QUERY, ["가", None])  # type: ignore[list-item]
    with pytest.raises(InvalidArgumentError, match="filenames"):
        pruner.prune(QUERY, PASSAGES, filenames=["하나.md"])
