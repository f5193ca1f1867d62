"""The lexical legs that ``bm25=`` and ``tokenizer=`` mean: ``bm25``, and ``bm25_kiwi`` for a second one with Kiwi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from korag.analysis.settings import BM25
from korag.analysis.tokenizers import TokenizerLike, resolve_tokenizer
from korag.errors import InvalidArgumentError

BM25Choice = bool | TokenizerLike | BM25
BM25Like = BM25Choice | Sequence[BM25Choice]
"""``bm25=`` as an argument: see `lexical_settings`."""


def lexical_settings(bm25: BM25Like, tokenizer: TokenizerLike = None) -> dict[str, dict[str, Any]]:
    """Returns the settings of each lexical leg, by name, as keywords of `korag.legs.bm25.BM25Leg`.

    Args:
        bm25: True for one leg with bigrams (or what an existing collection has recorded), a tokenizer (``"bigram"``,
            ``"kiwi"``, a `KiwiTokenizer`, a function from text to tokens) or `BM25` settings for one with these, a list
            of tokenizers or settings for several; False or None for none.
        tokenizer: Short for ``bm25=tokenizer``, beside ``bm25=True`` or None.

    Raises:
        InvalidArgumentError: If `bm25` is none of these, two legs would have the same name, or both arguments name a
            tokenizer.
        MissingDependencyError: If ``"kiwi"`` is asked for and kiwipiepy is not installed.
    """
    if isinstance(bm25, bool) or bm25 is None:
        if tokenizer is not None:
            return {"bm25": {"tokenizer": resolve_tokenizer(tokenizer)}}
        return {"bm25": {}} if bm25 else {}
    if tokenizer is not None:
        raise InvalidArgumentError(
            f"tokenizer={tokenizer!r:.60}과(와) bm25={bm25!r:.60} 모두에 토크나이저를 넣었습니다. 하나만 넣으세요.",
            f"Both tokenizer={tokenizer!r:.60} and bm25={bm25!r:.60} give a tokenizer; give one of them.",
        )
    if not isinstance(bm25, list | tuple):
        return {"bm25": _settings(bm25, bm25)}
    named: dict[str, dict[str, Any]] = {}
    for choice in bm25:
        settings = _settings(choice, bm25)
        kind = settings["tokenizer"].name.partition(":")[0]
        name = f"bm25_{kind}" if named else "bm25"
        if name in named or (named and kind == named["bm25"]["tokenizer"].name):
            raise InvalidArgumentError(
                f"bm25={bm25!r:.80}: 토크나이저 {kind!r}이(가) 두 번 있습니다. 토크나이저마다 하나만 넣으세요.",
                f"bm25={bm25!r:.80} names the tokenizer {kind!r} twice; give each once.",
            )
        named[name] = settings
    if not named:
        raise _invalid(bm25)
    return named


def one_lexical(bm25: BM25Choice) -> BM25Choice:
    """Checks `bm25=` of a class that searches a single lexical leg.

    Raises:
        InvalidArgumentError: If it is a list, or means no leg.
    """
    if isinstance(bm25, list | tuple) or bm25 is None or bm25 is False:
        raise InvalidArgumentError(
            f"bm25={bm25!r:.80}: BM25 검색기는 검색 방식 하나만 씁니다. 토크나이저나 korag.BM25(...) 하나를 넣고, "
            "여럿을 결합하려면 KoHybridRetriever를 쓰세요.",
            f"bm25={bm25!r:.80}: a BM25 retriever searches a single leg; give one tokenizer or korag.BM25(...). "
            "KoHybridRetriever fuses several.",
        )
    return bm25


def _settings(choice: object, bm25: object) -> dict[str, Any]:
    if isinstance(choice, BM25):
        return {field.name: getattr(choice, field.name) for field in fields(choice)}
    if choice is None or isinstance(choice, bool):
        raise _invalid(bm25)
    try:
        return {"tokenizer": resolve_tokenizer(choice)}  # type: ignore[arg-type]
    except InvalidArgumentError:
        raise _invalid(bm25) from None


def _invalid(bm25: object) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"bm25={bm25!r:.80}: True, False, 'bigram', 'kiwi', korag.KiwiTokenizer(...), 함수(str -> list[str]), "
        "korag.BM25(...) 또는 이들의 리스트(['bigram', 'kiwi'])여야 합니다.",
        f"bm25={bm25!r:.80} is invalid; it must be True, False, 'bigram', 'kiwi', korag.KiwiTokenizer(...), a "
        "function (str -> list[str]), korag.BM25(...), or a list of them (['bigram', 'kiwi']).",
    )
