"""The tokenizers of the BM25 leg."""

import copy
import pickle
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korag.analysis.tokenizers import BigramTokenizer, CustomTokenizer, KiwiTokenizer, resolve_tokenizer
from korag.errors import InvalidArgumentError, InvalidTextError, MissingDependencyError

SENTENCE = "서울특별시는 제6조의2에 따라 GPT-4를 2대 빌렸다."


def bigrams(text):
    return BigramTokenizer()([text])[0]


@pytest.fixture(scope="module")
def kiwi():
    pytest.importorskip("kiwipiepy")
    return lambda text: KiwiTokenizer()([text])[0]


def words(text):
    return text.split()


class Splitter:
    def __init__(self, separator):
        self.separator = separator

    def __call__(self, text):
        return text.split(self.separator)

    def split(self, text):
        return self(text)


class TestBigrams:
    def test_a_run_gives_its_first_syllable_and_its_bigrams(self):
        assert bigrams("대한민국") == ["대", "대한", "한민", "민국"]

    def test_runs_do_not_join_over_a_space_or_a_middle_dot(self):
        assert bigrams("설치ㆍ운영 관리") == bigrams("설치") + bigrams("운영") + bigrams("관리")

    def test_a_one_syllable_run_gives_the_syllable(self):
        assert bigrams("법") == ["법"]
        assert "법" in bigrams("법은 길다")

    def test_repetitions_count(self):
        assert bigrams("물 물 물") == ["물"] * 3

    @pytest.mark.parametrize(
        ("text", "tokens"),
        [
            ("GPT-4", ["gpt", "4", "gpt4"]),
            ("useState", ["usestate"]),
            ("v2.1", ["v2.1"]),
            ("RTX4090", ["rtx", "4090", "id:rtx4090"]),
            ("100km", ["100", "km"]),
            ("2024", ["2024"]),
            ("1,500,000.5", ["1500000.5"]),
            ("3.14.", ["3.14"]),
            ("12,34", ["12", "34"]),
            ("Straße", ["strasse"]),
            ("ＡＢＣ１２", ["abc12"]),
            ("Москва", ["москва"]),
        ],
    )
    def test_latin_and_digit_runs_stay_whole(self, text, tokens):
        assert bigrams(text) == tokens
        assert bigrams(f"가방{text}나무") == bigrams("가방") + tokens + bigrams("나무")

    def test_chinese_characters_and_kana_are_runs_of_their_own(self):
        assert bigrams("漢字는") == ["漢", "漢字", "는"]
        assert bigrams("東京タワー") == ["東", "東京", "タ", "タワ", "ワー"]

    @pytest.mark.parametrize("text", ["", " \n\t", "...!? “”(){}", "😀🎉", "①②③", "ㆍ", "___"])
    def test_nothing_to_search_for(self, text):
        assert bigrams(text) == []

    def test_decomposed_hangul_gives_the_same_tokens(self):
        assert bigrams(unicodedata.normalize("NFD", SENTENCE)) == bigrams(SENTENCE)

    @pytest.mark.slow
    @given(st.text())
    def test_any_text_gives_clean_tokens_and_its_nfd_the_same(self, text):
        tokens = bigrams(text)
        assert all(tokens)
        assert bigrams(unicodedata.normalize("NFD", text)) == tokens

    def test_no_text_no_tokens(self):
        assert BigramTokenizer()([]) == []

    @pytest.mark.parametrize("texts", ["하나", [None], [SENTENCE, 3], ["\ud800"]])
    def test_what_is_no_list_of_texts_is_refused(self, texts):
        with pytest.raises(InvalidTextError):
            BigramTokenizer()(texts)


STATUTES = [
    ("제6조", ["제6조"]),
    ("제6조의2", ["제6조의2"]),
    ("제 6 조의 2", ["제6조의2"]),
    ("제6조 의 2", ["제6조의2"]),
    ("6조의2", ["제6조의2"]),
    ("제06조의２", ["제6조의2"]),
    ("제15조의2의3", ["제15조의2의3"]),
    ("제12조제1항제3호", ["제12조", "제1항", "제12조제1항", "제3호"]),
    ("제 12 조 제 1 항", ["제12조", "제1항", "제12조제1항"]),
    ("제12,345호", ["제12345호"]),
    ("제2장", ["제2장"]),
    ("750조", ["제750조"]),
    ("750조 1항", ["제750조", "제1항", "제750조제1항"]),
]


class TestStatuteReferences:
    @pytest.mark.slow
    @pytest.mark.parametrize(("text", "tokens"), STATUTES)
    def test_one_token_in_one_spelling(self, text, tokens, kiwi):
        assert bigrams(text) == tokens
        assert kiwi(text) == tokens

    @pytest.mark.slow
    def test_an_article_and_its_branch_share_nothing(self, kiwi):
        for tokenize in (bigrams, kiwi):
            assert not set(tokenize("제6조")) & set(tokenize("제6조의2"))
            assert not set(tokenize("제6조")) & set(tokenize("제60조"))

    def test_written_onto_the_name_of_the_law(self):
        assert bigrams("민법제750조") == ["민", "민법", "제750조"]

    def test_particles_behind_it_do_not_change_it(self, kiwi):
        assert bigrams("제6조의2는")[0] == "제6조의2"
        assert kiwi("제6조의2에 따라 신고한다.") == ["제6조의2", "따르", "신고"]

    @pytest.mark.parametrize("text", ["제6조의 2항", "제6조의 3가지 요건", "제6조의12항"])
    def test_what_counts_something_is_no_branch(self, text):
        assert bigrams(text)[0] == "제6조"

    @pytest.mark.parametrize(
        "text", ["6조 원", "6조원", "6조 5천억", "16.5조", "6조각", "문제 3호", "경제 6조원", "제1항공"]
    )
    def test_sums_and_other_words_are_no_references(self, text):
        assert not any(token.startswith("제") and len(token) > 1 for token in bigrams(text))


class TestKiwi:
    def test_content_morphemes_only(self, kiwi):
        assert kiwi("아름다운 학교에서 선생님을 만났다.") == ["아름답", "학교", "선생", "님", "만나"]

    def test_inflections_meet(self, kiwi):
        assert set(kiwi("먹었습니다")) & set(kiwi("먹는다")) == {"먹"}

    def test_latin_is_lower_case_and_numbers_have_no_separators(self, kiwi):
        assert kiwi("React는 1,500원") == ["react", "1500", "원"]
        assert kiwi("ＡＢＣ") == ["abc"]

    def test_decomposed_hangul_gives_the_same_tokens(self, kiwi):
        assert kiwi(unicodedata.normalize("NFD", SENTENCE)) == kiwi(SENTENCE)

    def test_a_character_outside_the_basic_plane_shifts_nothing(self, kiwi):
        assert kiwi("😀 제6조의 2의 신고")[-2:] == ["제6조의2", "신고"]

    @pytest.mark.parametrize("text", ["", "  ", "...!?"])
    def test_nothing_to_search_for(self, text, kiwi):
        assert kiwi(text) == []

    def test_order_is_kept_and_an_empty_list_is_one(self, kiwi):
        texts = [f"{number}번 문서" if number % 3 else "" for number in range(50)]
        assert KiwiTokenizer()(texts) == [kiwi(text) for text in texts]
        assert KiwiTokenizer()([]) == []

    def test_threads_do_not_disturb_each_other(self, kiwi):
        texts = [f"{SENTENCE} 제{number}조" for number in range(20)]
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: KiwiTokenizer()(texts), range(32)))
        assert all(result == results[0] for result in results)

    def test_an_ordinary_text_is_analysed_whole(self, kiwi):
        from kiwipiepy import Kiwi

        text = "집주인은 보증금을 돌려준다.\n그렇지 않으면 어떻게 될까? " * 60
        kept = {"NNG", "NNP", "NNB", "NP", "NR", "VV", "VA", "VX", "MM", "MAG", "XR", "XPN", "XSN", "SL", "SH", "SN"}
        whole = [one.form for one in Kiwi().tokenize(text) if one.tag.partition("-")[0] in kept]
        assert kiwi(text) == whole

    @pytest.mark.parametrize("end", ["\n", ". ", "! ", ".” ", " "])
    def test_a_very_long_text_is_cut_where_a_line_or_a_sentence_ends(self, kiwi, end):
        """So that memory is bounded: single syllables take 8 KB each."""
        first = "가 나 다 " * 4_700 + f"세입자가 이사했다{end}"
        second = "라마 " * 3_000
        assert kiwi(first + second) == kiwi(first) + kiwi(second)

    @pytest.mark.slow
    def test_a_string_without_spaces_takes_no_more_time_than_others(self, kiwi):
        """Kiwi alone takes the square of its length: six minutes for this one."""
        assert {token[:1] for token in kiwi("a" * 500_000 + " 끝")} == {"a", "끝"}

    def test_missing_package_is_named_at_once(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "kiwipiepy", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'korag\[kiwi\]'"):
            resolve_tokenizer("kiwi")


class TestCustom:
    def test_sees_composed_hangul_and_loses_empty_tokens(self):
        seen = []
        tokenizer = resolve_tokenizer(lambda text: seen.append(text) or ["", "가", "나 다"])
        assert tokenizer([unicodedata.normalize("NFD", "한글")]) == [["가", "나 다"]]
        assert seen == ["한글"]

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("가 나", "'가 나' (str)"),
            (None, "None (NoneType)"),
            (["가", 3], "[1] = 3 (int)"),
            ([b"a"], "[0] = b'a'"),
        ],
    )
    def test_a_wrong_value_is_named(self, value, said):
        with pytest.raises(InvalidArgumentError) as raised:
            resolve_tokenizer(lambda text: value)(["하늘이 맑다"])
        korean, english = str(raised.value).splitlines()
        assert said in korean
        assert said in english
        assert "하늘이 맑다" in korean
        assert "list[str]" in english

    @pytest.mark.parametrize(
        ("function", "name"),
        [
            (words, f"custom:{__name__}.words"),
            (partial(words), f"custom:{__name__}.words"),
            (Splitter(","), f"custom:{__name__}.Splitter"),
            (Splitter(",").split, f"custom:{__name__}.Splitter.split"),
            (str.split, "custom:builtins.str.split"),
            (lambda text: [text], f"custom:{__name__}.TestCustom.<lambda>"),
        ],
    )
    def test_name(self, function, name):
        assert resolve_tokenizer(function).name == name


class TestResolve:
    def test_names(self):
        assert resolve_tokenizer().name == "bigram"
        assert resolve_tokenizer("bigram").name == "bigram"
        pytest.importorskip("kiwipiepy")
        assert resolve_tokenizer("kiwi").name == "kiwi"

    def test_a_resolved_tokenizer_passes_through(self):
        for tokenizer in (BigramTokenizer(), KiwiTokenizer(), CustomTokenizer(words)):
            assert resolve_tokenizer(tokenizer) is tokenizer

    @pytest.mark.parametrize("value", ["mecab", "", 3, ["kiwi"], BigramTokenizer, list])
    def test_anything_else_is_refused(self, value):
        with pytest.raises(InvalidArgumentError, match="'bigram', 'kiwi'") as raised:
            resolve_tokenizer(value)
        assert repr(value) in str(raised.value)

    @pytest.mark.parametrize("tokenizer", [BigramTokenizer(), KiwiTokenizer(), CustomTokenizer(words)])
    @pytest.mark.parametrize(
        "duplicate",
        [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))],  # noqa: S301
    )
    def test_copies_and_pickles(self, tokenizer, duplicate):
        if isinstance(tokenizer, KiwiTokenizer):
            pytest.importorskip("kiwipiepy")
        before = tokenizer([SENTENCE])  # Kiwi is loaded now, and must not be copied
        twin = duplicate(tokenizer)
        assert (twin, twin.name) == (tokenizer, tokenizer.name)
        assert twin([SENTENCE]) == before
        assert len(pickle.dumps(tokenizer)) < 300
