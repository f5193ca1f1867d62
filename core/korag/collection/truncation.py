"""Which documents of a collection are longer than what its models read at a time, and what that costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from korag.collection.documents import StoredDocument
from korag.encoders.base import Encoder
from korag.legs.windows.settings import Windows
from korag.legs.windows.splitting import MAX_WINDOWS
from korag.text import is_empty

PAGE = 256
"""Documents measured at a time."""
_PIECE = 4_000
"""Characters of a long text that are counted at a time, because counting stops soon after what a model reads."""
_PIECES = re.compile(rf".{{1,{_PIECE}}}(?:(?=\s)|\Z)|.{{1,{_PIECE}}}", re.DOTALL)
_SHOWN = 3
"""Ids named in a summary."""


@dataclass(frozen=True)
class LongDocument:
    """A document longer than what a model reads at a time.

    Attributes:
        id: Its id.
        tokens: The model's tokens of its text.
        lost: Those that the model does not read.
    """

    id: str
    tokens: int
    lost: int


@dataclass(frozen=True)
class Truncation:
    """The part of a collection that one model reads.

    Attributes:
        leg: The leg that searches with it.
        model: Its name.
        limit: Tokens that it reads at a time; None if there is no limit.
        documents: Documents with text.
        tokens: Tokens of all their texts.
        cut: Documents of which it does not read all.
        windowed: Documents it reads in windows, to the end.
        window: Tokens of a window; None for a leg without windows, whose documents are cut at `limit`.
    """

    leg: str
    model: str
    limit: int | None
    documents: int
    tokens: int
    cut: tuple[LongDocument, ...]
    windowed: tuple[LongDocument, ...]
    window: int | None

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the documents that are cut."""
        return tuple(document.id for document in self.cut)

    @property
    def lost(self) -> float:
        """The share of all tokens that the model does not read, in [0, 1]."""
        return sum(document.lost for document in self.cut) / self.tokens if self.tokens else 0.0

    @property
    def remedy(self) -> tuple[str, str]:
        """What to do about it, in Korean and English; empty if nothing is cut."""
        if not self.cut:
            return "", ""
        if self.window is not None:
            return "문서를 나누어 넣으세요.", "Split the documents before they are added."
        return (
            "window='auto'로(기본값) 새 폴더에 색인하면 구간으로 나누어 끝까지 읽습니다. 더 긴 글을 읽는 모델이라면 "
            "max_length=를 늘려 불러와도 됩니다.",
            "Index into a new folder with window='auto' (the default), which reads them to the end in windows; or load "
            "the model with a larger max_length=, if it can read more.",
        )

    def __str__(self) -> str:
        read = self.window if self.window is not None else self.limit
        limit = f"{read:,}" if read is not None else "-"
        if not self.cut:
            return (
                f"{self.model} ({self.leg}): 문서 {self.documents:,}개를 모두 끝까지 읽습니다. 그 가운데 구간으로 나눈 "
                f"문서는 {len(self.windowed):,}개입니다(한 번에 {limit}토큰).\n"
                f"{self.model} ({self.leg}): reads all {self.documents:,} documents to the end, "
                f"{len(self.windowed):,} of them in windows ({limit} tokens at a time)."
            )
        some = ", ".join(self.ids[:_SHOWN]) + (" …" if len(self.ids) > _SHOWN else "")
        korean, english = self.remedy
        return (
            f"{self.model} ({self.leg}): 문서 {self.documents:,}개 가운데 {len(self.cut):,}개가 잘렸습니다(한도 {limit}"
            f"토큰). 모든 토큰의 {self.lost:.1%}를 읽지 않습니다. {some}. {korean}\n"
            f"{self.model} ({self.leg}): {len(self.cut):,} of {self.documents:,} documents are cut (limit {limit} "
            f"tokens), and {self.lost:.1%} of all tokens are not read. {some}. {english}"
        )


def measure(
    leg: str, encoder: Encoder[Any], pages: Iterable[Sequence[StoredDocument]], windows: Windows | None
) -> Truncation:
    """Counts the tokens of documents.

    Args:
        leg: The leg.
        encoder: Its encoder.
        pages: The documents, some at a time.
        windows: How the leg splits them; None if it does not.
    """
    limit = encoder.fingerprint.document_length
    reach = _reach(limit, windows)
    read_at_once = windows.size if windows is not None else limit
    documents = tokens = 0
    cut: list[LongDocument] = []
    windowed: list[LongDocument] = []
    for page in pages:
        filled = [document for document in page if not is_empty(document.text)]
        counts = count_all_tokens(encoder, [document.searched for document in filled], read_at_once)
        documents, tokens = documents + len(filled), tokens + sum(counts)
        for document, count in zip(filled, counts, strict=True):
            if reach is not None and count > reach:
                cut.append(LongDocument(document.id, count, count - reach))
            elif read_at_once is not None and count > read_at_once:
                windowed.append(LongDocument(document.id, count, 0))
    size = None if windows is None else windows.size
    return Truncation(leg, encoder.model_name, limit, documents, tokens, tuple(cut), tuple(windowed), size)


def count_all_tokens(encoder: Encoder[Any], texts: Sequence[str], limit: int | None) -> list[int]:
    """Counts tokens of texts of any length; `Encoder.count_tokens` may stop soon after the limit.

    Args:
        encoder: The encoder.
        texts: The texts.
        limit: Texts of no more tokens have been counted to the end.
    """
    if not texts:
        return []
    counts = list(encoder.count_tokens(texts))
    long = [index for index, count in enumerate(counts) if limit is not None and count > limit]
    if not long:
        return counts
    (added,) = encoder.count_tokens([""])
    for index in long:
        pieces = _PIECES.findall(texts[index])
        if len(pieces) > 1:
            counted = sum(max(0, count - added) for count in encoder.count_tokens(pieces)) + added
            counts[index] = max(counts[index], counted)
    return counts


def _reach(limit: int | None, windows: Windows | None) -> int | None:
    """Tokens of a document that are read."""
    return limit if windows is None else windows.size + (MAX_WINDOWS - 1) * windows.stride


def windows_of(legs: Mapping[str, Any]) -> dict[str, Windows]:
    """Returns the windows of those legs that have some."""
    return {name: leg.windows for name, leg in legs.items() if isinstance(getattr(leg, "windows", None), Windows)}
