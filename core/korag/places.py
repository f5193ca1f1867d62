"""Places in a text as it was given, of characters in the spelling that models and tokenizers read."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from korag.characters import is_invisible
from korag.text import normalize

_CONTINUING = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff\uff9e\uff9f\uffa0\uffc2-\uffdc\u200c\u200d]")
"""Vowels and finals of decomposed Hangul, voicing marks of half-width kana, and joiners."""
_SPACES = re.compile(r"\s*")


@dataclass(frozen=True)
class Spelling:
    """A text in the spelling of `korag.text.normalize`, with the place of each character in the text as it was given.

    Attributes:
        text: The text in that spelling.
        starts: Where each of its parts begins in `text`; None if both texts are equal.
        origins: Where each of its parts begins and ends in the text that was given.
    """

    text: str
    starts: Sequence[int] | None = None
    origins: Sequence[tuple[int, int]] = ()

    def place(self, begin: int, end: int) -> tuple[int, int]:
        """Returns the place in the text that was given, without spaces at its beginning.

        Args:
            begin: Place in `text`.
            end: Its end, exclusive; beyond `begin`.
        """
        begin += len(_SPACES.match(self.text, begin, end)[0])  # type: ignore[index]  # (matches everywhere)
        if self.starts is None or begin >= end:
            return begin, end
        first, last = bisect_right(self.starts, begin) - 1, bisect_right(self.starts, end - 1) - 1
        return self.origins[first][0], self.origins[last][1]


def spell(text: str) -> Spelling:
    """Normalizes a text and keeps the places of its characters.

    Characters that normalization may join (the jamo of a syllable, a letter and its marks, an emoji of several) are one
    part. Where parts do not normalize to what the whole does, words are parts, or else the whole text is.
    """
    whole = normalize(text)
    if whole == text:
        return Spelling(text)
    for parts in (_characters(text), re.findall(r"\s+|\S+", text), [text]):
        spelled = [normalize(part) for part in parts]
        if "".join(spelled) == whole:
            break
    starts, origins, length, origin = [], [], 0, 0
    for part, own in zip(parts, spelled, strict=True):
        if own:
            starts.append(length)
            origins.append((origin, origin + len(part)))
            length += len(own)
        origin += len(part)
    return Spelling(whole, starts, origins)


def _characters(text: str) -> list[str]:
    """Splits a text into characters, with whatever continues them."""
    parts: list[str] = []
    for before, character in zip(["", *text], text, strict=False):
        continues = (
            unicodedata.category(character)[0] == "M"
            or _CONTINUING.match(character) is not None
            or is_invisible(character)
            or before in ("\u200c", "\u200d")
            or (before == "\r" and character == "\n")
        )
        if continues and parts:
            parts[-1] += character
        else:
            parts.append(character)
    return parts
