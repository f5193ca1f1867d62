"""Hangul syllables ↔ the jamo they are typed as, with the automaton of an input method.

Jamo are those of U+3131–U+3163, as an input method shows them. A syllable is 0xAC00 + (initial · 21 + vowel) · 28 +
final (Unicode Standard, chapter 3.12).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
_COMPOUND = {
    "ㅗㅏ": "ㅘ", "ㅗㅐ": "ㅙ", "ㅗㅣ": "ㅚ", "ㅜㅓ": "ㅝ", "ㅜㅔ": "ㅞ", "ㅜㅣ": "ㅟ", "ㅡㅣ": "ㅢ",
    "ㄱㅅ": "ㄳ", "ㄴㅈ": "ㄵ", "ㄴㅎ": "ㄶ", "ㄹㄱ": "ㄺ", "ㄹㅁ": "ㄻ", "ㄹㅂ": "ㄼ", "ㄹㅅ": "ㄽ", "ㄹㅌ": "ㄾ",
    "ㄹㅍ": "ㄿ", "ㄹㅎ": "ㅀ", "ㅂㅅ": "ㅄ",
}  # fmt: skip
_PARTS = {compound: parts for parts, compound in _COMPOUND.items()}
_FIRST, _LAST = 0xAC00, 0xD7A3
LOOSE = re.compile("[ㄱ-ㅎㅏ-ㅣ]")
"""A jamo that belongs to no syllable."""


def is_syllable(character: str) -> bool:
    """Returns True for one of the 11,172 composed syllables."""
    return _FIRST <= ord(character) <= _LAST


def parts(syllable: str) -> tuple[int, int, int]:
    """Returns the places of a syllable's jamo in `INITIALS`, `VOWELS` and `FINALS`."""
    rest, final = divmod(ord(syllable) - _FIRST, 28)
    return *divmod(rest, 21), final


def syllable(initial: int, vowel: int, final: int = 0) -> str:
    """Returns the syllable of jamo given by their places."""
    return chr(_FIRST + (initial * 21 + vowel) * 28 + final)


def typed_jamo(text: str) -> str:
    """Returns a text with Hangul as single jamo in the order they are typed: ``값`` → ``ㄱㅏㅂㅅ``."""
    return "".join(_typed(character) for character in text)


def _typed(character: str) -> str:
    if not is_syllable(character):
        return _PARTS.get(character, character)
    initial, vowel, final = parts(character)
    own = VOWELS[vowel], FINALS[final]
    return INITIALS[initial] + "".join(_PARTS.get(jamo, jamo) for jamo in own)


def compose(jamo: Iterable[str]) -> str:
    """Returns what an input method makes of jamo typed one after the other: ``ㄷㅏㄹㄱㅣ`` → ``달기``.

    A consonant joins the syllable before it until a vowel claims it. Compound vowels and finals may come whole or in
    two parts. Other characters end a syllable.
    """
    done: list[str] = []
    initial = vowel = final = ""

    def end() -> None:
        nonlocal initial, vowel, final
        if initial and vowel:
            done.append(syllable(INITIALS.index(initial), VOWELS.index(vowel), FINALS.index(final)))
        else:
            done.append(initial + vowel)
        initial = vowel = final = ""

    for key in jamo:
        if key in VOWELS:
            if final:  # the last consonant begins a new syllable
                whole = _PARTS.get(final, final)
                stays, moves = whole[:-1], whole[-1]
                if moves in INITIALS:
                    final = stays
                    end()
                    initial = moves
                else:
                    end()
                vowel = key
            elif vowel:
                if (joined := _COMPOUND.get(vowel + key)) is not None:
                    vowel = joined
                else:
                    end()
                    vowel = key
            else:
                vowel = key
        elif key in INITIALS or key in FINALS:
            if initial and vowel and key in FINALS and not final:
                final = key
            elif final and (joined := _COMPOUND.get(final + key)) is not None:
                final = joined
            else:
                end()
                initial = key
                if key not in INITIALS:  # a compound final on its own
                    end()
        else:
            end()
            done.append(key)
    end()
    return "".join(done)
