"""Splits long documents into windows, at the places between words.

Only the encoder's own count of tokens is used, and only on parts of the text as it is stored: whatever a tokenizer does
to a text, and whatever normalization does to its length, the places of windows are those in the stored text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.legs.windows.settings import Windows
from korag.logs import logger

Span = tuple[int, int]
"""Where a window begins and ends, in characters of the text."""
MAX_WINDOWS = 1_024
"""Windows of a document at most: about a thousand pages. Their vectors are held in memory together."""
_LONGEST = 64
"""Characters of a word, or of a run of spaces, that are not split further."""
_JOINED = "\u0300-\u036f\u1160-\u11ff\u200c\u200d\ud7b0-\ud7ff\ufe00-\ufe0f"
"""Characters that continue the one before: marks, vowels and finals of decomposed Hangul, joiners, variants."""
_BLOCK = 4_096
"""Words counted at a time."""

Count = Callable[[Sequence[str]], list[int]]


def split_documents(encoder: Encoder[Any], texts: Sequence[str], windows: Windows) -> list[list[Span]]:
    """Splits texts into windows that overlap and together cover the whole text, spaces around them aside.

    Args:
        encoder: Counts tokens.
        texts: The documents, as they are stored; none of them empty.
        windows: The windows' size and stride.

    Returns:
        The windows of each text, in order: just the whole text for one that fits into a window. The last window is
        moved back until it is full, so that no window is much shorter than the others.

    Raises:
        InvalidArgumentError: If the prompt and special tokens leave no room for text in a window.
    """
    if not texts:
        return []
    count: Count = lambda parts: encoder.count_tokens(parts)  # noqa: E731
    spans = [[(0, len(text))] for text in texts]
    long = [index for index, tokens in enumerate(count(texts)) if tokens > windows.size]
    if not long:
        return spans
    added = count([""])[0]
    if added >= windows.size:
        raise InvalidArgumentError(
            f"window={windows.size}: '{encoder.model_name}'의 프롬프트와 특수 토큰만 {added}토큰이라 글이 들어갈 "
            "자리가 없습니다. window= 또는 모델의 max_length=를 늘리세요.",
            f"window={windows.size} has no room for text: the prompt and special tokens of '{encoder.model_name}' "
            f"alone take {added}. Use a larger window=, or load the model with a larger max_length=.",
        )
    unread = 0
    known: dict[str, int] = {}
    for index in long:
        spans[index], is_whole = _split(texts[index], count, windows, added, known)
        unread += not is_whole
    if unread:
        logger.warning(
            "문서 %d개 가운데 %d개는 너무 길어 앞의 구간 %s개까지만 모델이 읽습니다. 문서를 나누어 넣으세요. / %d of "
            "%d documents are so long that models read their first %s windows only; split them.",
            len(texts), unread, f"{MAX_WINDOWS:,}", unread, len(texts), f"{MAX_WINDOWS:,}",
        )  # fmt: skip
    return spans


def _split(text: str, count: Count, windows: Windows, added: int, known: dict[str, int]) -> tuple[list[Span], bool]:
    """Returns the windows of a text that is longer than one, and whether they reach its end.

    Args:
        text: The text.
        count: Counts tokens.
        windows: Size and stride.
        added: Tokens of the prompt and special tokens.
        known: Tokens of words that have been counted; more are added to it.
    """
    whole = room = windows.size - added
    while True:
        ends, tokens = _words(text, count, added, room, windows, known)
        assembled = _assemble(ends, tokens, room, windows.stride)
        spans = _trim(text, assembled)
        # Words side by side may have other tokens than each by itself. A single word that is too long stays so.
        over = max(count([text[begin:end] for begin, end in spans])) - windows.size
        if over <= 0 or room <= whole // 2:
            return spans, assembled[-1][1] == len(text)
        room = max(room - over, whole // 2)


def _words(
    text: str, count: Count, added: int, room: int, windows: Windows, known: dict[str, int]
) -> tuple[list[int], list[int]]:
    """Returns the end of each word with the spaces before it, and its tokens; of as many words as are needed."""
    longest = max(1, min(_LONGEST, room // 2))
    pattern = re.compile(rf"\s{{0,{_LONGEST}}}\S{{1,{longest}}}[{_JOINED}]{{0,8}}|\s{{1,{_LONGEST}}}")
    enough = windows.stride * (MAX_WINDOWS - 1) + room
    ends: list[int] = []
    tokens: list[int] = []
    total, end = 0, 0
    while end < len(text) and total < enough:
        words = []
        for match in pattern.finditer(text, end):
            words.append(match.group())
            ends.append(end := match.end())
            if len(words) == _BLOCK:
                break
        new = [word for word in dict.fromkeys(words) if word not in known]
        known |= zip(new, count(new), strict=True) if new else ()
        tokens += [max(0, known[word] - added) for word in words]
        total = sum(tokens)
    return ends, tokens


def _assemble(ends: Sequence[int], tokens: Sequence[int], room: int, stride: int) -> list[Span]:
    """Returns windows of whole words, in characters."""
    places, before = [0, *ends], np.cumsum([0, *tokens])
    last = len(ends)

    def reach(first: int, most: int) -> int:
        """The word behind the last that begins and ends within so many tokens; at least one."""
        return max(first + 1, int(np.searchsorted(before, before[first] + most, "right")) - 1)

    spans: list[Span] = []
    first = 0
    while len(spans) < MAX_WINDOWS:
        behind = reach(first, room)
        if behind >= last:
            first = min(first, int(np.searchsorted(before, before[last] - room)))
            spans.append((places[first], places[last]))
            break
        spans.append((places[first], places[behind]))
        first = min(behind, reach(first, stride))
    return spans


def _trim(text: str, windows: Sequence[Span]) -> list[Span]:
    """Leaves out the spaces around windows, and windows that another one contains."""
    spans: list[Span] = []
    for begin, end in windows:
        part = text[begin:end]
        begin, end = begin + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
        if begin >= end or (spans and end == spans[-1][1]):
            continue
        if spans and begin == spans[-1][0]:
            spans.pop()
        spans.append((begin, end))
    return spans
