"""Queries and documents that cost more, or break more, than they should."""

import pytest

from korag import BM25
from korag.analysis.analyzer import Analyzer
from korag.analysis.questions import trim_question


@pytest.mark.parametrize("text", [f"第{'1' * 5_000}條", f"第{'一' * 5_000}條", f"第六條之{'二' * 5_000}"])
def test_an_article_with_a_number_of_any_length_is_indexed(text: str) -> None:
    for analyzer in (Analyzer(), Analyzer(BM25(hanja=True))):
        assert analyzer.documents([text])[0]
        assert analyzer.queries([text])[0]


@pytest.mark.parametrize("mark", ["「", "‘", "(", "<", "〈", "{"])
def test_trimming_looks_at_the_end_of_an_endless_query(mark: str) -> None:
    """Read as a whole, these marks would take minutes."""
    query = mark * 100_000 + " 보증금은 무엇인가요?"
    assert query.startswith(trim_question(query))


def test_a_long_text_is_trimmed_at_its_end() -> None:
    text = "임대차 계약이 끝났는데 집주인이 연락을 받지 않습니다. " * 100
    assert trim_question(f"{text}보증금 반환 절차는 무엇인가요?") == f"{text}보증금 반환 절차"


@pytest.mark.parametrize("query", ["무인가?", "엔진 오일까?", "내일까?"])
def test_a_noun_that_ends_like_a_question_is_whole(query: str) -> None:
    assert trim_question(query) == query


def test_which_is_it_is_a_question() -> None:
    assert trim_question("올해 새로 나온 것인가?") == "올해 새로 나온 것"
