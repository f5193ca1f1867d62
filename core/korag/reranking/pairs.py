"""Pairs of a query and a text for a cross-encoder: counts their tokens, and cuts what is far beyond the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from korag.encoders.cutting import cut_texts
from korag.errors import InvalidArgumentError


@dataclass(frozen=True)
class Pairs:
    """Pairs of one query and several texts.

    Attributes:
        pairs: (query, text), as far as the model may read them.
        lengths: Tokens of each pair before any truncation, with special tokens and those of a chat template. Where
            something was cut, those that are left; they exceed the limit.
        is_cut: True if any text was cut.
    """

    pairs: list[tuple[str, str]]
    lengths: list[int]
    is_cut: bool


def joined_pairs(model: Any, prompt: str, query: str, texts: Sequence[str], limit: int | None) -> Pairs:
    """Makes pairs for a model that reads a query and a text one after the other, the longer one truncated.

    Args:
        model: A `CrossEncoder` of sentence-transformers.
        prompt: Stands before the query.
        query: The query.
        texts: The texts.
        limit: Maximum length of a pair in tokens; None for no limit.
    """
    special = model.tokenizer.num_special_tokens_to_add(pair=True)
    (own,) = _count(model, [prompt + query])
    if limit is None or own <= limit:
        short = cut_texts(model.tokenizer, texts, limit)
        pairs, others = [(query, text) for text in short], _count(model, short)
    else:
        others = _count(model, texts)
        pairs = [
            _cut_both(model, prompt, query, text, limit, query_longer=own > other)
            for text, other in zip(texts, others, strict=True)
        ]
    is_cut = any(len(one) < len(other) for (_, one), other in zip(pairs, texts, strict=True))
    return Pairs(pairs, [own + other + special for other in others], is_cut)


def chat_pairs(model: Any, prompt: str, query: str, texts: Sequence[str], limit: int | None) -> Pairs:
    """Makes pairs for a model whose chat template makes one text of each, which is truncated before its ending.

    Args:
        model: A `CrossEncoder` of sentence-transformers.
        prompt: A message of its own.
        query: The query.
        texts: The texts.
        limit: Maximum length of that text in tokens; None for no limit.

    Raises:
        InvalidArgumentError: If the template alone has as many tokens as the limit.
    """
    (short,) = cut_texts(model.tokenizer, [query], limit)
    pairs = [(short, text) for text in cut_texts(model.tokenizer, texts, limit)]
    lengths = _count_chats(model, prompt, pairs)
    if limit is not None and max(lengths) > limit:
        (template,) = _count_chats(model, prompt, [("", "")])
        if template >= limit:
            raise InvalidArgumentError(
                f"max_length={limit}: 채팅 템플릿만 {template}토큰이어서 질문과 문서가 들어갈 자리가 없습니다. "
                "max_length를 늘리세요.",
                f"max_length={limit}: the chat template alone has {template} tokens, which leaves no room for a query "
                "and a document; increase max_length.",
            )
    is_cut = any(len(one) < len(other) for (_, one), other in zip(pairs, texts, strict=True)) or len(short) < len(query)
    return Pairs(pairs, lengths, is_cut)


def _cut_both(model: Any, prompt: str, query: str, text: str, limit: int, *, query_longer: bool) -> tuple[str, str]:
    """Cuts a long query and its text; the longer one must stay longer, because it may keep a token more."""
    if query_longer:
        (text,) = cut_texts(model.tokenizer, [text], limit)
        limit = max(limit, *_count(model, [text]))
    (query,) = cut_texts(model.tokenizer, [query], limit, prompt=prompt)
    if not query_longer:
        limit = max(limit, *_count(model, [prompt + query]))
        (text,) = cut_texts(model.tokenizer, [text], limit)
    return query, text


def _count(model: Any, texts: Sequence[str]) -> list[int]:
    encoded = model.tokenizer(
        list(texts), add_special_tokens=False, truncation=False, padding=False, return_attention_mask=False,
        verbose=False,
    )  # fmt: skip
    return [len(ids) for ids in encoded["input_ids"]]


def _count_chats(model: Any, prompt: str, pairs: Sequence[tuple[str, str]]) -> list[int]:
    whole = {"text": {"truncation": False, "padding": False, "verbose": False}, "common": {"return_tensors": None}}
    features = model.preprocess(list(pairs), prompt=prompt or None, processing_kwargs=whole)
    return [len(ids) for ids in features["input_ids"]]
