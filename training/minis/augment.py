"""Queries as people type them: without spaces, with a wrong jamo, without particles, in full-width characters."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np

_FIRST_SYLLABLE, _LAST_SYLLABLE = 0xAC00, 0xD7A3
_VOWELS, _FINALS = 21, 28
_INITIALS = 19
_PARTICLES = (
    "으로부터", "에게서", "에서는", "에서의", "으로서", "으로써", "이라는", "에서", "에게", "부터", "까지", "으로",
    "이나", "라는", "은", "는", "이", "가", "을", "를", "의", "에", "로", "와", "과", "도", "만",
)  # fmt: skip
_PARTICLE = re.compile(rf"(?<=[가-힣]{{2}})(?:{'|'.join(_PARTICLES)})(?=\s|$)")
"""After at least two syllables: after one, most of these are part of the word."""
_SHARES = (0.1, 0.3, 0.4, 0.1, 0.1)
"""Of the ways, in the order of `augment`: the second and third are the ones that are hard to learn."""
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code).isalnum()}


def without_spaces(text: str) -> str:
    """Returns the text without spaces."""
    return "".join(text.split())


def with_random_spaces(text: str, rng: np.random.Generator) -> str:
    """Moves the text's spaces: each is dropped half of the time, and put after one in ten characters."""
    letters = [letter for letter in text if not letter.isspace() or rng.random() < 0.5]
    return "".join(letter + (" " if rng.random() < 0.1 else "") for letter in letters).strip()


def with_a_wrong_jamo(text: str, rng: np.random.Generator) -> str:
    """Replaces one jamo of one syllable by another: its initial, its vowel, or its final, which may also be dropped."""
    places = [place for place, letter in enumerate(text) if _FIRST_SYLLABLE <= ord(letter) <= _LAST_SYLLABLE]
    if not places:
        return text
    place = places[int(rng.integers(len(places)))]
    number = ord(text[place]) - _FIRST_SYLLABLE
    parts = [number // (_VOWELS * _FINALS), number // _FINALS % _VOWELS, number % _FINALS]
    which = int(rng.integers(3))
    size = (_INITIALS, _VOWELS, _FINALS)[which]
    parts[which] = (parts[which] + int(rng.integers(1, size))) % size
    wrong = chr(_FIRST_SYLLABLE + (parts[0] * _VOWELS + parts[1]) * _FINALS + parts[2])
    return text[:place] + wrong + text[place + 1 :]


def without_particles(text: str) -> str:
    """Returns the text without the commonest particles at the end of words of two syllables or more."""
    return _PARTICLE.sub("", text)


def in_full_width(text: str) -> str:
    """Returns the text with Latin letters and digits of full width."""
    return text.translate(_FULL_WIDTH)


def augment(text: str, rng: np.random.Generator) -> str:
    """Changes a query in one of the five ways, at random; the result is never empty.

    Args:
        text: The query.
        rng: Random generator.
    """
    ways: tuple[Callable[[str], str], ...] = (
        without_spaces, partial(with_random_spaces, rng=rng), partial(with_a_wrong_jamo, rng=rng), without_particles,
        in_full_width,
    )  # fmt: skip
    return ways[int(rng.choice(len(ways), p=_SHARES))](text) or text
