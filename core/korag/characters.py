r"""Characters that a reader cannot tell from others, or does not see at all; `same_characters` gives them one spelling.

A model's tokenizer takes ``보증\u200b금`` for another word than ``보증금``, and a full-width ``Ａ`` for another letter
than ``A``. What is folded here is so for every leg and every reranker; docs/text.md has the table, and what is left
alone.
"""

from __future__ import annotations

import re
import unicodedata

IGNORED = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters that are neither a space nor the end of a line
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), interlinear annotation marks and control
characters: zero-width spaces, soft hyphens, fillers of Hangul, marks of direction, variation selectors, tags. Without
the two joiners, which some scripts need."""
_JOINERS = "\u200c\u200d"
_LINE_ENDS = "\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029"
_SPACES = "\x1f\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_WIDTHS = "\uff01-\uffee"

_SPECIAL = re.compile(f"[{IGNORED}{_JOINERS}{_LINE_ENDS}{_SPACES}{_WIDTHS}]")
_IGNORED = re.compile(f"[{IGNORED}]+")
_LINE_END = re.compile(f"\r\n|[{_LINE_ENDS}]")
_SPACE = re.compile(f"[{_SPACES}]")
_WIDTH = re.compile(f"[{_WIDTHS}]")
# Arabic to Sinhala, Tibetan and Myanmar, Khmer and Mongolian, and later scripts of their families
_JOINING = (
    "\u0600-\u0dff\u0f00-\u109f\u1780-\u1aaf\u1b00-\u1cff\ua800-\uaaff\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f"
)
_EMOJI = "\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_JOINER = re.compile(
    rf"((?<=[{_JOINING}])[{_JOINERS}]++(?=[{_JOINING}])|(?<=[{_EMOJI}])\u200d(?=[{_EMOJI}]))|[{_JOINERS}]"
)


def _without_width(character: str) -> str:
    """The same character in its usual width: one step of Unicode's decomposition, so that ``ﾡ`` is ``ㄱ``."""
    kind, _, codes = unicodedata.decomposition(character).partition(" ")
    return chr(int(codes, 16)) if kind in ("<wide>", "<narrow>") else character


_USUAL_WIDTH = {code: _without_width(chr(code)) for code in range(0xFF01, 0xFFEF)}


def is_special(text: str) -> bool:
    """Returns True if `same_characters` may change the text."""
    return _SPECIAL.search(text) is not None


def is_invisible(character: str) -> bool:
    """Returns True for a character that `same_characters` removes wherever it stands."""
    return _IGNORED.match(character) is not None


def same_characters(text: str) -> str:
    r"""Gives characters that look the same one spelling.

    - Invisible characters go: see `IGNORED`. So do zero-width joiners and non-joiners, except between letters of
      scripts that are written with them (Arabic, those of India, …) and, a joiner, inside an emoji (👩‍💻).
    - Every space of Unicode is ``" "``, and every end of a line ``"\n"``, ``"\r\n"`` included.
    - Full-width and half-width forms have their usual width: ``Ａ１`` → ``A1``, ``ｶﾞ`` → ``ガ`` in NFC, ``ﾡ`` → ``ㄱ``.

    Args:
        text: Any text; not yet in NFC, because an invisible character may stand between two jamo of a syllable.
    """
    text = _IGNORED.sub("", text)
    text = _JOINER.sub(r"\1", text)
    text = _LINE_END.sub("\n", text)
    text = _SPACE.sub(" ", text)
    return text.translate(_USUAL_WIDTH) if _WIDTH.search(text) else text
