"""The tokenizer of a lexical leg in a manifest: its name, and Kiwi's with a dictionary as a dict."""

from __future__ import annotations

import re
from typing import Any

from korag.analysis.tokenizers import KiwiTokenizer, Tokenizer, TokenizerLike, resolve_tokenizer
from korag.analysis.user_words import UserWords, check_user_words, differences
from korag.errors import FingerprintError, KoragError

_NAMES = re.compile(r"bigram|kiwi|custom:.*", re.DOTALL)


def record_tokenizer(tokenizer: Tokenizer) -> str | dict[str, Any]:
    """Returns what a manifest holds of a tokenizer, as JSON values."""
    if isinstance(tokenizer, KiwiTokenizer) and tokenizer.words:
        return {"name": tokenizer.name, "user_words": [list(word) for word in tokenizer.words]}
    return tokenizer.name


def restore_tokenizer(recorded: Any) -> TokenizerLike:
    """Returns the tokenizer that `record_tokenizer` was given; anything else as it is."""
    return KiwiTokenizer(recorded["user_words"]) if isinstance(recorded, dict) else recorded


def is_recorded_tokenizer(recorded: object) -> bool:
    """Returns False for what `record_tokenizer` does not return."""
    if isinstance(recorded, str):
        return _NAMES.fullmatch(recorded) is not None
    if not isinstance(recorded, dict) or recorded.keys() != {"name", "user_words"}:
        return False
    try:
        words = check_user_words(recorded["user_words"])
    except KoragError:
        return False
    return recorded["name"] == "kiwi" and bool(words) and recorded["user_words"] == [list(word) for word in words]


def check_same_tokenizer(recorded: Any, given: Any, *, name: str, place: str) -> None:
    """Checks that a collection can be opened with a tokenizer.

    Args:
        recorded: From the manifest.
        given: By the caller; None for the recorded one.
        name: The leg's name.
        place: The collection.

    Raises:
        FingerprintError: If the recorded one is a function, which must be given again; or the dictionaries differ.
    """
    if isinstance(recorded, str) and recorded.startswith("custom:") and given is None:
        raise FingerprintError(
            f"{place}의 BM25 색인은 직접 만든 토크나이저 {recorded!r}(으)로 만들었습니다. tokenizer=에 그 함수를 "
            "넣으세요.",
            f"The BM25 index of {place} was made with the custom tokenizer {recorded!r}; pass it as tokenizer=.",
        )
    was, now = _words(recorded), None if given is None else _words(given)
    if was is None or now is None or was == now:
        return
    korean, english = differences(was, now)
    raise FingerprintError(
        f"{place}의 '{name}' 색인은 다른 Kiwi 사용자 사전으로 만들었습니다(색인 {len(was):,}단어, 넣은 사전 "
        f"{len(now):,}단어; {korean}). 토크나이저를 넣지 않으면 색인의 사전으로 열립니다. 사전을 바꾸려면 새 폴더에 "
        "다시 색인하세요.",
        f"The '{name}' index of {place} was made with another user dictionary of Kiwi (words of the index: "
        f"{len(was):,}, given: {len(now):,}; {english}). Without a tokenizer it opens with its own; to "
        "change it, index again into a new folder.",
    )


def _words(tokenizer: Any) -> UserWords | None:
    """The dictionary of a Kiwi tokenizer; None for other tokenizers."""
    resolved = resolve_tokenizer(restore_tokenizer(tokenizer)) if not _is_custom(tokenizer) else None
    return resolved.words if isinstance(resolved, KiwiTokenizer) else None


def _is_custom(tokenizer: object) -> bool:
    return isinstance(tokenizer, str) and tokenizer.startswith("custom:")
