"""Words typed with the other keyboard layout, or as loose jamo."""

from __future__ import annotations

import re

from korag.analysis.repair.english import ENGLISH
from korag.analysis.repair.jamo import LOOSE, compose, is_syllable
from korag.analysis.repair.keyboard import readings, to_keys
from korag.analysis.repair.lexicon import Lexicon

_WORD = re.compile(r"\S+")
_LETTERS = re.compile("[A-Za-z]+")
_HANGUL = re.compile("[가-힣ㄱ-ㅎㅏ-ㅣ]+")
_CODE = re.compile(r"[A-Za-z0-9][_@/\\.:=#$&+*^|<>{}\[\]-]+[A-Za-z0-9]|[_$#@]|\(\)")
"""Addresses, names of files and variables, product codes: never a mistake."""
_MANY = 4
"""Syllables whose pairs are evidence without a known word."""


def typed_as_latin(query: str, lexicon: Lexicon) -> str:
    """Turns keys into the Korean they were to type, where the collection knows that and not the keys."""
    found: dict[tuple[int, int], str] = {}
    is_sure = False
    for word in _WORD.finditer(query):
        if _CODE.search(word[0]):
            continue
        for run in _LETTERS.finditer(query, *word.span()):
            if (meant := _meant(run[0], lexicon)) is not None:
                found[run.span()] = meant
                is_a_code = query[run.end() : run.end() + 1].isdigit()
                is_sure = is_sure or (not is_a_code and run[0].lower() not in ENGLISH and _is_sure(meant, lexicon))
    return _replaced(query, found) if is_sure else query


def _meant(keys: str, lexicon: Lexicon) -> str | None:
    """The Korean that some keys type; None if they are a word, or type none."""
    if keys.lower() in lexicon.latin:
        return None
    whole = [text for text in readings(keys) if all(map(is_syllable, text))]
    if whole:
        return next((text for text in whole if lexicon.is_known(text)), whole[0])
    for length in range(len(keys) - 1, 1, -1):  # a Latin word with a Korean ending: Housedml, House의
        if keys[:length].lower() in lexicon.latin:
            endings = [text for text in readings(keys[length:]) if text in lexicon.ends]
            if endings:
                return keys[:length] + endings[0]
    return None


def _is_sure(word: str, lexicon: Lexicon) -> bool:
    """Returns True if a word is evidence enough that the keys of the query type Korean."""
    if len(word) < 2 or not is_syllable(word[0]):
        return False
    least = 2 if len(word) == 2 else 1  # any two syllables begin some word
    if lexicon.starts[word[:2]] >= least and lexicon.is_known(word):
        return True
    return len(word) >= _MANY and lexicon.share_of_pairs(word) >= 0.7


def typed_as_hangul(query: str, lexicon: Lexicon) -> str:
    """Composes loose jamo, and turns Hangul into the Latin keys that typed it if the collection knows that word."""
    found: dict[tuple[int, int], str] = {}
    doubtful: dict[tuple[int, int], str] = {}
    for run in _HANGUL.finditer(query):
        if LOOSE.search(run[0]):
            if (meant := _latin(run[0], lexicon)) is None:
                composed = compose(run[0])
                meant = composed if composed != run[0] and all(map(is_syllable, composed)) else None
            if meant is not None:
                found[run.span()] = meant
        elif (keys := to_keys(run[0]).lower()) in lexicon.latin and not lexicon.is_known(run[0]):
            doubtful[run.span()] = keys
    if doubtful and (found or any(len(keys) >= _MANY for keys in doubtful.values())):
        found |= doubtful
    return _replaced(query, found)


def _latin(run: str, lexicon: Lexicon) -> str | None:
    """The Latin word that keys pressed in Korean were to type, with a Korean ending or without."""
    for length in range(len(run), 0, -1):
        keys, ending = to_keys(run[:length]).lower(), run[length:]
        is_word = len(keys) > 2 and len(set(keys)) > 1 and keys in lexicon.latin
        if is_word and (not ending or ending in lexicon.ends):
            return keys + ending
    return None


def _replaced(query: str, found: dict[tuple[int, int], str]) -> str:
    for (start, end), text in sorted(found.items(), reverse=True):
        query = query[:start] + text + query[end:]
    return query
