"""The size of chunks, in tokens of the models that will read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from korag.checks import check_count
from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError

TokenCounter: TypeAlias = Encoder[Any] | Callable[[str], int]
"""An encoder, or a function that counts the tokens of a text, e.g. ``len`` for characters."""
DEFAULT_TOKENS = 512
"""Tokens of a chunk where the model has no limit of its own."""


@dataclass(frozen=True)
class Measure:
    """Measures texts by several models at once: as a share of the tokens that a chunk may have, of the worst model.

    Attributes:
        counters: Counts the tokens of texts, and how many a chunk may have, of each model.
        before: What a model reads before each text.
    """

    counters: tuple[tuple[Callable[[Sequence[str]], Sequence[int]], int], ...]
    before: str = ""

    def after(self, before: str) -> Measure:
        """Returns the measure of texts that a model reads behind another one.

        Raises:
            InvalidArgumentError: If nothing is left for the text.
        """
        measure = replace(self, before=before)
        if self.shares([before])[0] >= 1:
            count, limit = self.counters[0]
            raise InvalidArgumentError(
                f"{before!r:.80}: 조각마다 앞에 붙는 메타데이터만 {count([before])[0]}토큰이라 {limit}토큰 안에 글이 "
                "들어갈 자리가 없습니다. 메타데이터를 줄이거나 인코딩에서 빼세요.",
                f"{before!r:.80}: the metadata before each chunk alone takes {count([before])[0]} of {limit} tokens, "
                "so there is no room for text. Shorten it, or exclude it from what is encoded.",
            )
        return measure

    def shares(self, texts: Sequence[str]) -> list[float]:
        """Returns the size of each text; up to 1 is a chunk."""
        if not texts:
            return []
        texts = [self.before + text for text in texts] if self.before else texts
        counted = [[tokens / limit for tokens in count(texts)] for count, limit in self.counters]
        return [max(own) for own in zip(*counted, strict=True)]

    def fits(self, text: str) -> bool:
        """Returns whether a text is small enough for a chunk."""
        return self.shares([text])[0] <= 1


def make_measure(encoder: TokenCounter | Iterable[TokenCounter], max_tokens: int | None) -> Measure:
    """Checks what measures chunks.

    Args:
        encoder: An encoder, a function, or several of them: chunks are then small enough for all.
        max_tokens: Tokens of a chunk at most, prompt and special tokens included; None for as many as each encoder
            reads, or 512 for one that reads any number, and for functions.

    Raises:
        InvalidArgumentError: If `encoder` is something else, `max_tokens` is not a positive integer or more than an
            encoder reads, or nothing is left for the text.
    """
    if max_tokens is not None:
        max_tokens = check_count("max_tokens", max_tokens, at_least=1)
    given: list[Any] = list(encoder) if isinstance(encoder, Iterable) and not isinstance(encoder, str) else [encoder]
    if not given or not all(isinstance(one, Encoder) or callable(one) for one in given):
        raise InvalidArgumentError(
            f"encoder={encoder!r:.80}: 불러온 인코더이거나 글의 토큰 수를 세는 함수여야 합니다. "
            "예: encoder=korag.load_encoder('mini-dense').",
            f"encoder={encoder!r:.80} must be a loaded encoder, or a function that counts the tokens of a text, for "
            "example encoder=korag.load_encoder('mini-dense').",
        )
    counters = tuple(_counter(one, max_tokens) for one in given)
    for count, limit in counters:
        if (added := count([""])[0]) >= limit:
            raise InvalidArgumentError(
                f"max_tokens={limit}: 프롬프트와 특수 토큰만 {added}토큰이라 글이 들어갈 자리가 없습니다. 늘리세요.",
                f"max_tokens={limit} has no room for text: the prompt and special tokens alone take {added}. Use more.",
            )
    return Measure(counters)


def _counter(one: TokenCounter, max_tokens: int | None) -> tuple[Callable[[Sequence[str]], Sequence[int]], int]:
    if not isinstance(one, Encoder):
        count: Callable[[str], int] = one
        return lambda texts: [count(text) for text in texts], max_tokens or DEFAULT_TOKENS
    limit = one.fingerprint.document_length
    if limit is not None and max_tokens is not None and max_tokens > limit:
        raise InvalidArgumentError(
            f"max_tokens={max_tokens}: '{one.model_name}'은(는) 한 번에 {limit}토큰까지 읽습니다. {limit} 이하로 "
            "줄이거나 max_length=를 늘려 불러온 모델을 쓰세요.",
            f"max_tokens={max_tokens}: '{one.model_name}' reads up to {limit} tokens at a time. Use at most {limit}, "
            "or load the model with a larger max_length=.",
        )
    return one.count_tokens, max_tokens or limit or DEFAULT_TOKENS
