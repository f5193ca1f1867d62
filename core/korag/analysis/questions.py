"""Leaves out of a query what only makes it a question: ``민법 제391조의 내용은 무엇인가?`` → ``민법 제391조``.

To a lexical leg, the bigrams of ``내용은 무엇인가`` count as much as those of the topic, and rank documents that ask
or say the same. The words are data: `korag.analysis.question_words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from korag.analysis import question_words as words

_LONGEST = 1_000
"""Characters at the end of a query in which a question is looked for: some patterns take the square of them."""
_MARKS = "?？!！.。…~"
_END = re.compile(rf"[\s{_MARKS},]*$")
_SENTENCE = re.compile(rf"[{_MARKS}][\s{_MARKS}]*\s(?=\S)")
_NAMED = re.compile(r"(?<=\S)(?:이란|란|이?라는\s?것은)$")
_FORMAL = re.compile("(?:인가요?|입니까|일까요?)$")


def _any(entries: Iterable[str]) -> str:
    return "(?:" + "|".join(entries) + ")"


_PROTECTED = re.compile(_any(words.PROTECTED))
_CLOSING = re.compile(rf"(?:^|(?<=[\s{_MARKS}])){_any(words.CLOSING)}$")
_REQUEST = re.compile(rf"(?:(?:^|(?<=\s)){_any(words.ADVERBS)}\s+)*(?:^|(?<=\s)|(?<=[을를])){_any(words.REQUESTS)}$")
_TOPIC = re.compile(rf"\s*{_any(words.TOPICS)}$")
_WHAT = re.compile(rf"(?:^|\s){_any(words.ASKING_WHAT)}$")
_BARE = re.compile(rf"(?:^|\s){words.BARE_QUESTION_WORDS}$")
_LIGHT = re.compile(rf"(?:^|\s){_any(words.LIGHT_VERBS)}$")
_ASKING = re.compile(rf"(?<=[가-힣]){_any(words.ASKING)}$")
_IF_MARKED = re.compile(rf"(?<=[가-힣]){_any(words.ASKING_IF_MARKED)}$")
_ADVERB = re.compile(rf"(?<!\S){_any(words.QUESTION_ADVERBS)}(?!\S)\s*")


def trim_question(query: str) -> str:
    """Returns the query without what only makes it a question or a request.

    Text in quotation marks or brackets is left alone, and so is everything but the last sentence. A query that
    consists of nothing else is returned as it is; so is one that is no question. Trimming twice is trimming once.

    Args:
        query: In NFC.
    """
    before, trimmed = query[:-_LONGEST], query[-_LONGEST:]
    while (shorter := _trim(trimmed)) != trimmed:
        trimmed = shorter
    return before + trimmed


def _trim(query: str) -> str:
    protected = max((span.end() for span in _PROTECTED.finditer(query)), default=0)
    start = max((end.end() for end in _SENTENCE.finditer(query, protected)), default=protected)
    head, sentence = query[:start], query[start:]
    rest = _trim_sentence(sentence)
    trimmed = (head + rest).rstrip()
    return trimmed if rest != sentence and re.search(r"\w", trimmed) else query


def _trim_sentence(sentence: str) -> str:
    """The sentence without what asks at its end, and without its question words; or as it is."""
    bare = _END.sub("", sentence)
    if (open_ := _CLOSING.sub("", bare)) != bare:
        return open_
    if (rest := _REQUEST.sub("", bare)) != bare:
        rest = rest.rstrip()
        without = _TOPIC.sub("", rest)
        return _without_question(without if without != rest else _without_particle(rest, "을를"), asked=True)
    marked = not {"?", "？"}.isdisjoint(sentence[len(bare) :])
    rest = _BARE.sub("", bare) if marked else bare
    if rest == bare:
        rest = _without_question(bare, asked=marked or _ADVERB.search(bare) is not None)
    return sentence if rest == bare else rest


def _without_question(text: str, *, asked: bool) -> str:
    """Cuts a predicate that asks with what ties it to the topic; else an ending, and then the words that ask."""
    if what := _WHAT.search(text):
        rest = text[: what.start()].rstrip()
        without = _NAMED.sub("", _TOPIC.sub("", rest))
        # 휴가 and 고양이 end in syllables that are particles too, and so does 정은: 은 only where people write it.
        particles = "은는" if _FORMAL.search(what.group()) and "누" not in what.group() else "는"
        return without if without != rest else _without_particle(rest, particles)
    for endings in (_LIGHT, _ASKING, _IF_MARKED) if asked else (_LIGHT, _ASKING):
        if ending := endings.search(text):
            return _ADVERB.sub("", text[: ending.start()]).rstrip()
    return text


def _without_particle(text: str, particles: str) -> str:
    """Cuts a particle that agrees with the syllable before it: 은 and 을 follow a final consonant, 는 and 를 do not."""
    if text[-1:] not in set(particles):
        return text
    before = text[-2:-1]
    if "가" <= before <= "힣" and ((ord(before) - ord("가")) % 28 > 0) != (text[-1] in "은을"):
        return text
    return text[:-1]
