"""Korean tokenizers for BM25: character bigrams (no dependency), Kiwi morphemes, or any function.

Whitespace is no word boundary in Korean: particles and endings are written onto the word (``법률은``,
``법률에서``). Both built-in tokenizers undo that, bigrams by overlap and Kiwi by analysis. Which is better
depends on the texts: ``benchmarks/bm25_quality.py`` measures them on yours.

Both keep a reference to a statute whole and in one spelling, because to a reader ``제6조`` and ``제6조의2``
are different articles, and bigrams of them are almost the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import Any, Protocol

from korag._optional import require
from korag.analysis.identifiers import find_identifiers
from korag.analysis.scripts import HAN, HANGUL, KANA, LETTER_OR_DIGIT
from korag.analysis.synonyms import Groups, SynonymsLike, check_synonyms
from korag.analysis.user_words import FULL_WIDTH, UserWords, UserWordsLike, check_user_words, kiwi_with
from korag.analysis.versions import VERSION
from korag.errors import InvalidArgumentError
from korag.keywords import checks_fields
from korag.text import check_texts, to_nfc

TokenizeFunction = Callable[[str], Sequence[str]]
"""A custom tokenizer: a function from a text in NFC to its tokens."""


class Tokenizer(Protocol):
    """Texts to tokens, a list at a time (Kiwi is some 75 times slower one text at a time)."""

    @property
    def name(self) -> str:
        """The name recorded in a saved collection, so that it is never searched with another tokenizer."""
        ...

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Returns the tokens of every text, repeated as often as they occur."""
        ...


_TOKEN = re.compile(
    rf"([{HANGUL}]+|[{HAN}]+|[{KANA}]+)"
    r"|\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)*"
    rf"|{LETTER_OR_DIGIT}+(?:(?<=\d)\.\d+)*"  # begins with a letter: digits have matched above
)


def _fold(text: str) -> str:
    """One spelling of letters: lower case, no ligatures or other compatibility forms."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text.casefold())


def _prepare(texts: Sequence[str]) -> list[str]:
    """Checked texts in NFC, full-width ASCII folded."""
    return [to_nfc(text).translate(FULL_WIDTH) for text in check_texts(texts)]


def _bigrams(text: str, version: int) -> list[str]:
    tokens: list[str] = []
    start = 0
    for identifier in find_identifiers(text, version):
        _add_bigrams(text[start : identifier.start], tokens)
        tokens += identifier.tokens
        start = identifier.end
    _add_bigrams(text[start:], tokens)
    return tokens


def _add_bigrams(text: str, tokens: list[str]) -> None:
    for match in _TOKEN.finditer(text):
        token = match.group()
        if match.lastindex:
            tokens.append(token[0])
            tokens += map(add, token, token[1:])
        else:
            tokens.append(_fold(token.replace(",", "")))


@dataclass(frozen=True)
class BigramTokenizer:
    """Character bigrams; needs nothing, and misses no new word or name.

    - A run of Hangul, Chinese characters or kana gives its first character and its bigrams:
      ``대한민국`` → ``대 대한 한민 민국``, ``법`` → ``법``. The first character lets a noun of one syllable
      find itself with a particle on it (``법``, ``법은``), and weighs the beginnings of words, where Korean
      has its stems: +0.4 to +2.2 nDCG@10 on four Korean data sets over bigrams alone (docs/bm25.md); it costs a
      little where articles are asked for by number, which `korag.analysis.headings` more than makes up for.
    - Latin and other letters, with the digits behind them, are one lower-case token: ``GPT-4`` → ``gpt 4``,
      ``v2.1`` → ``v2.1``, ``useState`` → ``usestate``.
    - Numbers are whole, without thousands separators: ``1,500원`` → ``1500 원``; ``2.1`` stays ``2.1``.
    - References to statutes are whole: ``제6조의2``, ``제 6 조의 2`` and ``6조의2`` → ``제6조의2``;
      ``제12조제1항`` → ``제12조 제1항``. ``6조 원`` is money, not an article.
    - Full-width letters and digits are folded; punctuation, emoji and ``①`` give nothing.

    Args:
        version: Of the analysis; see `korag.analysis.versions`.
    """

    version: int = VERSION

    @property
    def name(self) -> str:
        """``"bigram"``."""
        return "bigram"

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Returns the tokens of every text."""
        return [_bigrams(text, self.version) for text in _prepare(texts)]


_CONTENT_TAGS = frozenset({"VV", "VA", "VX", "MM", "MAG", "XR", "XPN", "XSN", "SL", "SH", "SN"})


def _is_content(tag: str) -> bool:
    tag = tag.partition("-")[0]  # VV-R, VA-I: regular and irregular verbs and adjectives
    return tag[0] in "NW" or tag in _CONTENT_TAGS


@checks_fields
@dataclass(frozen=True)
class KiwiTokenizer:
    """Content morphemes by Kiwi (``pip install 'korag[kiwi]'``).

    Kept: nouns (``N*``), verbs and adjectives (``VV VA VX``), determiners and adverbs (``MM MAG``), roots and
    affixes (``XR XPN XSN``), foreign words, Chinese characters, numbers (``SL SH SN``), addresses, tags and
    emoji (``W_*``); particles, endings and punctuation are dropped. Statute references are treated as
    `BigramTokenizer` treats them. All of the same dictionary share one Kiwi per process, which takes 400 MB.

    >>> KiwiTokenizer(user_words=["달맞이페이", ("해늘 포인트", "NNP")])(["해늘포인트로 달맞이페이 충전"])
    [['해늘포인트', '달맞이페이', '충전']]

    Args:
        user_words: Names and terms that Kiwi would take apart: words, (word, tag) or (word, tag, score), or
            ``{word: tag}``; NNP, a proper noun, where no tag is given. Those with a space are found without it too.
            Recorded with a collection, which cannot be opened with others.
        synonyms: Short for `korag.BM25`'s own: those of the queries of the leg that has this tokenizer.
        version: Of the analysis; see `korag.analysis.versions`.

    Raises:
        InvalidTextError: If a word is not a string.
        InvalidArgumentError: If a word or its tag or score is invalid, or `synonyms` are.
    """

    user_words: UserWordsLike = None
    synonyms: SynonymsLike = field(default=None, kw_only=True)
    version: int = field(default=VERSION, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "user_words", check_user_words(self.user_words))
        object.__setattr__(self, "synonyms", check_synonyms(self.synonyms))

    @property
    def name(self) -> str:
        """``"kiwi"``, whatever the dictionary."""
        return "kiwi"

    def __repr__(self) -> str:
        words = ", ".join(repr(word.form) for word in self.words[:3]) + (", …" if len(self.words) > 3 else "")
        shown = [f"user_words=[{words}]"] if words else []
        shown += ["synonyms=…"] if self.synonyms else []
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def words(self) -> UserWords:
        """The dictionary that `user_words` means."""
        return check_user_words(self.user_words)

    @property
    def synonym_groups(self) -> Groups:
        """The synonyms that the argument means."""
        return check_synonyms(self.synonyms)

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Returns the tokens of every text; Kiwi works on the whole list, on all cores."""
        pieces = [list(_pieces(text)) for text in _prepare(texts)]
        flat = [piece for own in pieces for piece in own]
        words = self.words
        analysed = kiwi_with(words).tokenize(flat, pretokenized=partial(_whole_spans, version=self.version))
        contents = (
            _content(piece, morphemes, self.version, words.spaced)
            for piece, morphemes in zip(flat, analysed, strict=True)
        )
        return [[token for _ in own for token in next(contents)] for own in pieces]


_PIECE = 20_000
_WORD = re.compile(r"\S{1,4096}")
_SENTENCE_END = re.compile(r"[.!?…。][\"'”’」』)\]]*\s+")


def _pieces(text: str) -> Iterator[str]:
    """Splits what would cost Kiwi too much; all other texts are one piece.

    A string without spaces takes it the square of its length (100,000 Latin letters: 14 s), a text of single syllables
    3 KB for each. Lines and sentences stay whole where they can.
    """
    start = 0
    while len(text) - start > _PIECE:
        middle, end = start + _PIECE // 2, start + _PIECE
        sentences = [sentence.end() for sentence in _SENTENCE_END.finditer(text, middle, end)]
        cut = text.rfind("\n", middle, end) + 1 or max(sentences, default=0) or text.rfind(" ", middle, end) + 1 or end
        yield from _without_long_words(text[start:cut])
        start = cut
    yield from _without_long_words(text[start:])


def _without_long_words(text: str) -> Iterator[str]:
    start = 0
    for word in _WORD.finditer(text):
        if word.start() > start and not text[word.start() - 1].isspace():  # the rest of a word that is cut
            yield text[start : word.start()]
            start = word.start()
    yield text[start:]


def _whole_spans(text: str, *, version: int) -> list[tuple[int, int, str]]:
    """Spans that Kiwi must keep whole, as proper nouns; a particle after them remains a particle."""
    return [(identifier.start, identifier.end, "NNP") for identifier in find_identifiers(text, version)]


def _content(text: str, morphemes: Sequence[Any], version: int, spaced: frozenset[str]) -> list[str]:
    identifiers = {identifier.start: identifier.tokens for identifier in find_identifiers(text, version)}
    tokens: list[str] = []
    for morpheme in morphemes:
        if morpheme.start in identifiers:
            tokens += identifiers[morpheme.start]
        elif morpheme.form in spaced:
            tokens.append(_fold(morpheme.form.replace(" ", "")))
        elif _is_content(morpheme.tag):
            tokens.append(_fold(morpheme.form.replace(",", "") if morpheme.tag == "SN" else morpheme.form))
    return tokens


@dataclass(frozen=True)
class CustomTokenizer:
    """A caller's own function from a text (in NFC) to a list of tokens.

    Args:
        function: The function; empty tokens are dropped, everything else is checked and used as it is.
    """

    function: TokenizeFunction

    @property
    def name(self) -> str:
        """``"custom:module.qualname"`` of the function, of the method, or of the object's class."""
        target: Any = self.function
        while isinstance(target, partial):
            target = target.func
        if not hasattr(target, "__qualname__"):
            target = type(target)
        module = getattr(target, "__module__", None) or "builtins"  # methods of built-in types have none
        return f"custom:{module}.{target.__qualname__}"

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Returns the tokens of every text.

        Raises:
            InvalidArgumentError: If the function returns something other than a list (or tuple) of strings.
        """
        return [self._tokens(to_nfc(text)) for text in check_texts(texts)]

    def _tokens(self, text: str) -> list[str]:
        tokens: object = self.function(text)
        if not isinstance(tokens, list | tuple):
            found = f"{tokens!r:.60} ({type(tokens).__name__})"
        elif wrong := [index for index, token in enumerate(tokens) if not isinstance(token, str)]:
            token = tokens[wrong[0]]
            found = f"[{wrong[0]}] = {token!r:.60} ({type(token).__name__})"
        else:
            return [token for token in tokens if token]
        name = self.name.removeprefix("custom:")
        raise InvalidArgumentError(
            f"토크나이저 {name}이(가) {text!r:.60}에 대해 돌려준 값이 잘못되었습니다: {found}. "
            "문자열의 리스트(list[str])를 돌려주어야 합니다.",
            f"The tokenizer {name} returned a wrong value for {text!r:.60}: {found}. "
            "It must return a list of strings (list[str]).",
        )


TokenizerLike = str | TokenizeFunction | Tokenizer | None
"""A tokenizer as an argument: see `resolve_tokenizer`."""


def resolve_tokenizer(tokenizer: TokenizerLike = None) -> Tokenizer:
    """Returns the tokenizer an argument means.

    Args:
        tokenizer: ``None`` or ``"bigram"``, ``"kiwi"``, a function ``str -> list[str]``, or something this
            function returned before, such as a `KiwiTokenizer` with a dictionary.

    Raises:
        InvalidArgumentError: If it is none of these.
        MissingDependencyError: If ``"kiwi"`` is asked for and kiwipiepy is not installed.
    """
    if isinstance(tokenizer, KiwiTokenizer):
        require("kiwipiepy", extra="kiwi")  # an error now rather than after hours of encoding
    if isinstance(tokenizer, BigramTokenizer | KiwiTokenizer | CustomTokenizer):
        return tokenizer
    if tokenizer is None or tokenizer == "bigram":
        return BigramTokenizer()
    if tokenizer == "kiwi":
        return resolve_tokenizer(KiwiTokenizer())
    if callable(tokenizer) and not isinstance(tokenizer, type):
        return CustomTokenizer(tokenizer)  # type: ignore[arg-type]
    raise InvalidArgumentError(
        f"tokenizer={tokenizer!r:.60}은(는) 알 수 없는 토크나이저입니다. "
        "'bigram', 'kiwi', korag.KiwiTokenizer(...) 또는 함수(str -> list[str])를 넣으세요.",
        f"tokenizer={tokenizer!r:.60} is not a tokenizer; pass 'bigram', 'kiwi', korag.KiwiTokenizer(...) or a "
        "function (str -> list[str]).",
    )
