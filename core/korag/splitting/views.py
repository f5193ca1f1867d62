r"""Texts as splitters read them, with the place of every character in the source.

Patterns are written for composed Hangul and plain spaces and digits. A text in another spelling (NFD, full-width forms,
no-break spaces, ``\r\n``) is read in that one spelling, and cut where it was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from korag.text import normalize

JOINED = "\u0300-\u036f\u1160-\u11ff\u200c\u200d\u3099\u309a\ud7b0-\ud7ff\ufe00-\ufe0f\U0001f3fb-\U0001f3ff"
"""Characters that continue the one before: marks, vowels and finals of decomposed Hangul, joiners, variants, tones."""
_PIECE = re.compile(rf"[ -~가-힣\n\t·‘-”…〈-】]+(?![{JOINED}])|\r\n|[\s\S](?:[{JOINED}]|(?<=\u200d)[^\s{JOINED}])*")


@dataclass(frozen=True)
class View:
    """A text in one spelling.

    Attributes:
        text: What splitters read.
        places: Where each of its characters is in the source, and behind them the source's length; None if they are
            the same text. Never falling. Shape: (len(text) + 1,).
    """

    text: str
    places: NDArray[np.int64] | None

    def place(self, position: int) -> int:
        """Returns where a position of `text` is in the source."""
        return position if self.places is None else int(self.places[position])


def view_of(source: str) -> View:
    """Reads a text."""
    if normalize(source) == source:
        return View(source, None)
    parts: list[str] = []
    places: list[NDArray[np.int64]] = []
    for match in _PIECE.finditer(source):
        begin, end = match.span()
        own = match.group()
        read = normalize(own)
        parts.append(read)
        if read == own:
            places.append(np.arange(begin, end))
        elif read:  # nothing is cut within a piece: its other characters are where it ends
            places.append(np.array([begin] + [end] * (len(read) - 1), np.int64))
    found = np.concatenate([*places, np.array([len(source)], np.int64)])
    found[0] = 0  # what is invisible before the first character is part of it
    return View("".join(parts), found)
