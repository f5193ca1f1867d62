"""Cuts texts that are far longer than what a model reads, so that they are not tokenized whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_CHARACTERS_PER_TOKEN = 16
"""Characters a text may have for each token of the limit before it is worth cutting."""
_MARGIN = 16
"""Words behind the last token of a beginning that are there in the whole text but may be others."""


def cut_texts(tokenizer: Any, texts: Sequence[str], limit: int | None, *, prompt: str = "") -> list[str]:
    """Replaces very long texts by a beginning with the same first tokens.

    A tokenizer first splits a text into words and then each word into tokens, so a beginning with words behind the last
    token that is kept has the same tokens up to there, whatever comes next. Of a text without words, or of very long
    ones, a beginning is taken that has the same first tokens as one of a quarter of its length.

    Args:
        tokenizer: A tokenizer of transformers.
        texts: The texts, in the form in which they are tokenized.
        limit: The tokens that must be the same, special tokens not counted; None for all.
        prompt: Stands before every text, and counts.

    Returns:
        The texts, in order; those that were cut have more than `limit` tokens.
    """
    if limit is None or not tokenizer.is_fast or tokenizer.truncation_side != "right":
        return list(texts)
    return [_cut(tokenizer, text, limit, prompt) for text in texts]


def _cut(tokenizer: Any, text: str, limit: int, prompt: str) -> str:
    size = _CHARACTERS_PER_TOKEN * (limit + _MARGIN)
    first: list[int] = []
    while size < len(text):
        encoded = tokenizer(
            prompt + text[:size], add_special_tokens=False, truncation=False, padding=False, verbose=False
        )
        ids, words = encoded["input_ids"], [word for word in encoded.word_ids() if word is not None]
        followed = sum(word < words[-1] - _MARGIN for word in words)
        if followed > limit or (len(first) == limit < len(ids) and ids[:limit] == first):
            return text[:size]
        first = ids[:limit]
        size *= 4
    return text
