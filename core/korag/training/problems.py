"""Checks of training pairs: empty texts, duplicates, contradictions. Each problem has its line."""

from __future__ import annotations

import math

from korag.errors import InvalidTextError
from korag.text import check_text, is_empty
from korag.training.pairs import Pair, Problem, key


def find_problems(pairs: list[Pair], problems: list[Problem]) -> list[Pair]:
    """Appends to `problems` and returns the pairs without any.

    Problems are a text that is not a string, is empty or cannot be encoded as UTF-8; scores that are not a finite
    number for the positive and each negative; a query equal to its positive; a repeated (query, positive); a repeated
    negative; and a negative that is a positive of the same query in any line.
    Texts that differ only in Unicode form or white space count as equal.

    Args:
        pairs: The pairs.
        problems: Problems found so far, such as unreadable lines.
    """
    readable = []
    for pair in pairs:
        found = list(_text_problems(pair))
        problems += found
        if not found:
            readable.append(pair)
    positives: dict[str, dict[str, int | None]] = {}
    for pair in readable:
        positives.setdefault(key(pair.query), {}).setdefault(key(pair.positive), pair.line)
    seen: dict[tuple[str, str], int | None] = {}
    good = []
    for pair in readable:
        query, positive = key(pair.query), key(pair.positive)
        found = []
        if query == positive:
            found.append((pair.line, "질문과 정답 문서가 같습니다", "the query and its positive are identical"))
        if (query, positive) in seen:
            first = seen[query, positive]
            found.append((
                pair.line, f"{first}행과 같은 쌍입니다", f"the same query and positive as line {first}",
            ))  # fmt: skip
        seen.setdefault((query, positive), pair.line)
        negatives = [key(negative) for negative in pair.negatives]
        for index, negative in enumerate(negatives):
            if negative in positives[query]:
                where = positives[query][negative]
                found.append((
                    pair.line, f"오답 {index + 1}이(가) 같은 질문의 정답입니다({where}행): {negative:.40}",
                    f"negative {index + 1} is a positive of the same query (line {where}): {negative:.40}",
                ))  # fmt: skip
            elif negative in negatives[:index]:
                found.append((
                    pair.line, f"오답 {index + 1}이(가) 두 번 나옵니다: {negative:.40}",
                    f"negative {index + 1} is given twice: {negative:.40}",
                ))  # fmt: skip
        problems += found
        if not found:
            good.append(pair)
    return good


def _text_problems(pair: Pair) -> list[Problem]:
    named = [("query", pair.query), ("positive", pair.positive)]
    named += [(f"negative {index}", text) for index, text in enumerate(pair.negatives, 1)]
    found: list[Problem] = []
    for name, value in named:
        try:
            if is_empty(check_text(value, name)):
                found.append((pair.line, f"{name}이(가) 비어 있습니다", f"{name} is empty"))
        except InvalidTextError as error:
            found.append((pair.line, str(error.args[0]), str(error.args[1])))
    wanted = 1 + len(pair.negatives)
    numbers = [score for score in pair.scores if isinstance(score, int | float) and math.isfinite(score)]
    if pair.scores and (len(numbers) != wanted or len(pair.scores) != wanted):
        found.append((
            pair.line,
            f"scores는 정답과 오답 {len(pair.negatives)}개의 유한한 수 {wanted}개여야 합니다: {pair.scores!r:.40}",
            f"scores must be {wanted} finite numbers, of the positive and {len(pair.negatives)} negatives: "
            f"{pair.scores!r:.40}",
        ))  # fmt: skip
    return found
