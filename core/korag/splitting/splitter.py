"""The public entry: `split`, and `Splitter` for settings that are used again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias, TypedDict, Unpack

from korag.checks import check_choice
from korag.keywords import checks_call, checks_fields
from korag.splitting.choosing import choose
from korag.splitting.chunks import Chunk
from korag.splitting.finding import DIVIDES, SentenceRule, check_sentences, find_sections
from korag.splitting.html import Page, read_html
from korag.splitting.kinds import KINDS, Kind
from korag.splitting.measure import Measure, TokenCounter, make_measure
from korag.splitting.packing import Packer
from korag.splitting.views import view_of
from korag.text import check_text, is_empty

SplitterKind: TypeAlias = Literal["auto"] | Kind
"""``"auto"``, or a splitter by name."""
_LONGEST_TITLE = 200


@checks_fields
@dataclass(frozen=True, kw_only=True)
class Splitter:
    """Splits texts into chunks that a model reads whole. Safe for use by many threads.

    Attributes:
        encoder: The model that will read the chunks, whose own tokens are counted, prompt and special tokens included;
            or a function that counts the tokens of a text; or several of them, all of which must be able to read each
            chunk: ``encoder=collection.encoders.values()``.
        max_tokens: Tokens of a chunk at most, its breadcrumb included; None for as many as the encoder reads, or 512
            for one that reads any number, and for functions.
        splitter: ``"statutes"``, ``"markdown"``, ``"html"``, ``"table"`` (CSV, TSV), ``"code"``, ``"prose"``, or
            ``"auto"`` for the one that fits a text and its file.
        sentences: ``"rules"`` divides prose by punctuation, ``"kiwi"`` by Kiwi (``pip install 'korag[kiwi]'``).

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
        MissingDependencyError: If Kiwi is asked for and not installed.
    """

    encoder: TokenCounter | Iterable[TokenCounter]
    max_tokens: int | None = None
    splitter: SplitterKind = "auto"
    sentences: SentenceRule = "rules"

    def __post_init__(self) -> None:
        check_choice("splitter", self.splitter, ("auto", *KINDS))
        check_sentences(self.sentences)
        if isinstance(self.encoder, Iterable) and not isinstance(self.encoder, str | tuple):
            object.__setattr__(self, "encoder", tuple(self.encoder))
        _ = self._measure

    @cached_property
    def _measure(self) -> Measure:
        return make_measure(self.encoder, self.max_tokens)

    @property
    def size(self) -> int:
        """Tokens of a chunk at most, of the model that reads the fewest."""
        return min(limit for _, limit in self._measure.counters)

    def count(self, text: str) -> int:
        """Counts the tokens of a text by the first of the models, prompt and special tokens included."""
        return self._measure.counters[0][0]([text])[0]

    def split(
        self,
        text: str,
        *,
        filename: str | os.PathLike[str] | None = None,
        title: str | None = None,
        before: str = "",
    ) -> list[Chunk]:
        """Splits a text.

        No part of it is lost but the spaces around chunks, chunks do not overlap, and they are in order. A single
        character that has more tokens than a chunk may have is a chunk of its own, with a warning.

        Args:
            text: The text, in any Unicode normalization form.
            filename: Its file; only its type is looked at, by ``"auto"``.
            title: The heading above all others, e.g. the name of the document; for a statute that does not begin with
                its name, that.
            before: What else the model reads before each chunk, e.g. metadata; its tokens count.

        Returns:
            The chunks; none for a text without a searchable character.

        Raises:
            InvalidTextError: If the text, title or `before` is not a string.
            InvalidArgumentError: If `before` leaves no room for text.
        """
        check_text(text, "text")
        measure = self._measure.after(check_text(before, "before"))
        name = None if title is None else " ".join(check_text(title, "title").split())[:_LONGEST_TITLE]
        file = None if filename is None else os.fspath(filename)
        view = view_of(text)
        kind = choose(view.text, file) if self.splitter == "auto" else self.splitter
        page = read_html(text) if kind == "html" else None
        if page is not None:
            view = view_of(page.text)
        source = text if page is None else page.text
        if is_empty(source):
            return []
        packer = Packer(source, view, measure, name or "")
        chunks = packer.pack(find_sections(kind, view, page, divide=DIVIDES[self.sentences], title=name or None))
        return chunks if page is None else [_in_source(chunk, page) for chunk in chunks]


class SplitSettings(TypedDict, total=False):
    """The fields of `Splitter` as keywords of `split`, besides `encoder`."""

    max_tokens: int | None
    splitter: SplitterKind
    sentences: SentenceRule


@checks_call
def split(
    text: str,
    *,
    encoder: TokenCounter | Iterable[TokenCounter],
    filename: str | os.PathLike[str] | None = None,
    title: str | None = None,
    **settings: Unpack[SplitSettings],
) -> list[Chunk]:
    """Splits a text into chunks that a model reads whole.

    >>> for chunk in split(text, encoder=korag.load_encoder("mini-dense")):
    ...     collection.add([chunk.text], metadata=[chunk.to_metadata()])

    Args:
        text: The text.
        encoder: As for `Splitter`.
        filename: As for `Splitter.split`.
        title: As for `Splitter.split`.
        settings: `max_tokens`, `splitter` and `sentences` of `Splitter`.

    Returns:
        The chunks, in order.

    Raises:
        InvalidTextError: If the text is not a string.
        InvalidArgumentError: If an argument breaks its rule.
        MissingDependencyError: If Kiwi is asked for and not installed.
    """
    return Splitter(encoder=encoder, **settings).split(text, filename=filename, title=title)


def _in_source(chunk: Chunk, page: Page) -> Chunk:
    return replace(chunk, start=int(page.begins[chunk.start]), end=int(page.ends[chunk.end - 1]))
