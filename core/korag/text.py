"""Text checks, empty texts, and the one spelling in which every model and tokenizer reads a text.

macOS file names and many PDFs hold Hangul as conjoining jamo (NFD), and texts copied from web pages hold invisible
characters and several kinds of spaces. To a tokenizer those are different characters, so that such a query finds almost
nothing. Queries and documents are therefore normalized before tokenization; texts are stored and returned as given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import chain, groupby

from korag.characters import is_invisible, is_special, same_characters
from korag.errors import InvalidTextError

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONG_RUN = re.compile(r"[^\w\x00-\u02ff]{31,}")
"""More combining marks than any language has on a letter (UAX 15, stream-safe text), or other symbols."""
_PLAIN = re.compile(r"[ -~가-힣\n\t·‘-”…〈-】]*")
"""Most Korean texts consist of this: found out in a fraction of the time that the other tests take."""


def normalize(text: str) -> str:
    """Returns `text` as models and tokenizers read it: in NFC, characters that look the same spelt the same.

    What differs only in invisible characters, kinds of spaces, or the width of characters is one text, see
    `korag.characters.same_characters`.
    """
    if _PLAIN.fullmatch(text):
        return text
    return to_nfc(same_characters(text) if is_special(text) else text)


def to_nfc(text: str) -> str:
    """Returns `text` in Unicode normalization form C (composed Hangul), in linear time.

    Python sorts the marks on a letter by insertion: 80,000 of them take half a minute. Long runs are sorted before.
    (The stream-safe format of UAX 15 breaks them with joiners, which to a tokenizer are further characters.)
    """
    if unicodedata.is_normalized("NFC", text):
        return text
    return unicodedata.normalize("NFC", _LONG_RUN.sub(_sorted_marks, text))


def _sorted_marks(run: re.Match[str]) -> str:
    """Sorts each run of marks by combining class, as every normalization form does."""
    decomposed = chain.from_iterable(unicodedata.normalize("NFD", character) for character in run.group())
    groups = groupby(decomposed, key=lambda character: unicodedata.combining(character) > 0)
    return "".join(chain.from_iterable(sorted(group, key=unicodedata.combining) for _, group in groups))


def is_empty(text: str) -> bool:
    """Returns True if `text` has no searchable character.

    Separators (Unicode category Z, the ideographic space included), control or format characters (category C: line
    ends, zero-width spaces, byte-order marks, NUL) and other invisible ones (fillers of Hangul) do not count.
    """
    return all(unicodedata.category(character)[0] in "ZC" or is_invisible(character) for character in text)


def shortened(text: str, limit: int = 60) -> str:
    """Returns the beginning of a text on one line, for what is shown of it."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"


def check_text(text: object, position: str) -> str:
    """Returns `text` if it is a string that can be encoded as UTF-8.

    Args:
        text: What the caller passed.
        position: Its name in the error, e.g. ``"texts[3]"``.

    Raises:
        InvalidTextError: If it is not a string, or holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise InvalidTextError(
            f"{position}={_short(text)}: {type(text).__name__}이(가) 아니라 문자열(str)이어야 합니다.",
            f"{position} is {_short(text)} ({type(text).__name__}); it must be a string.",
        )
    if lone := _SURROGATE.search(text):
        raise InvalidTextError(
            f"{position}의 {lone.start()}번째 글자가 짝 없는 서로게이트 {lone.group()!a}입니다. UTF-8로 저장할 수 "
            "없습니다. text.encode('utf-8', 'replace').decode()로 고쳐서 넣으세요.",
            f"{position} contains the lone surrogate {lone.group()!a} at character {lone.start()}, which UTF-8 "
            "cannot store; replace it with text.encode('utf-8', 'replace').decode().",
        )
    return text


def check_texts(texts: Iterable[str], name: str = "texts", *, first: int = 0) -> list[str]:
    """Returns the texts as a new list, each checked by `check_text`.

    Args:
        texts: An iterable of strings, not a single string.
        name: The argument's name in errors.
        first: The position of the first text in errors.

    Raises:
        InvalidTextError: If `texts` is a single string, or contains an invalid one.
    """
    if isinstance(texts, str | bytes):
        raise InvalidTextError(
            f"{name}에 문자열 하나 {_short(texts)}을(를) 넣었습니다. {name}=[...]처럼 리스트로 넣으세요.",
            f"{name} is the single string {_short(texts)}; pass a list of strings: {name}=[...].",
        )
    try:
        items = list(texts)
    except TypeError:
        raise InvalidTextError(
            f"{name}={_short(texts)}: 문자열의 리스트여야 합니다.",
            f"{name} is {_short(texts)}; it must be a list of strings.",
        ) from None
    return [check_text(text, f"{name}[{index}]") for index, text in enumerate(items, start=first)]


def _short(value: object, limit: int = 60) -> str:
    text = ascii(value) if isinstance(value, str) and _SURROGATE.search(value) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
