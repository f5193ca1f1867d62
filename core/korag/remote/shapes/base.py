"""An API as an encoder sees it: the body of a request, and the rows of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class AnswerError(Exception):
    """An answer is not what the API says.

    Args:
        korean: What is wrong with it, in Korean.
        english: The same in English.
    """

    def __init__(self, korean: str, english: str) -> None:
        super().__init__(english)
        self.korean, self.english = korean, english


class Shape(Protocol):
    """An API for one kind of vectors.

    Attributes:
        takes_ids: Requests are made of token ids; otherwise of texts.
    """

    takes_ids: bool

    def body(self, inputs: Sequence[Any], *, model: str | None, normalize: bool) -> dict[str, Any]:
        """Returns the body of a request.

        Args:
            inputs: Texts, or lists of token ids.
            model: The model's name on the server; None for the only one.
            normalize: The vectors should have unit length.
        """
        ...

    def rows(self, answer: Any, count: int) -> list[Any]:
        """Returns a row per input, in the order of the request.

        Raises:
            AnswerError: If the answer is something else.
        """
        ...


def check_list(answer: Any, count: int) -> list[Any]:
    """Returns a list that has an entry per input.

    Raises:
        AnswerError: If it is something else.
    """
    if not isinstance(answer, list):
        raise AnswerError(f"리스트가 아니라 {type(answer).__name__}", f"a {type(answer).__name__} instead of a list")
    if len(answer) != count:
        raise AnswerError(
            f"입력 {count}개에 응답 {len(answer)}개", f"{len(answer)} entries in answer to {count} inputs"
        )
    return answer


def by_index(answer: Any, count: int, *, key: str) -> list[dict[str, Any]]:
    """Returns the entries under a key in the order of the request, by the index each one names.

    Raises:
        AnswerError: If there is no entry, or several, for an index.
    """
    entries = check_list(answer.get(key) if isinstance(answer, dict) else None, count)
    found = [(entry.get("index"), entry) for entry in entries if isinstance(entry, dict)]
    ordered: dict[Any, dict[str, Any]] = {index: entry for index, entry in found if isinstance(index, int)}
    if ordered.keys() != set(range(count)):
        raise AnswerError(
            f"index가 0부터 {count - 1}까지 하나씩이 아님", f"indices that are not those from 0 to {count - 1}"
        )
    return [ordered[index] for index in range(count)]


def floats(values: Any, *, ndim: int) -> NDArray[np.float32]:
    """Returns finite numbers as an array.

    Raises:
        AnswerError: If they are something else.
    """
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros((), np.float32)
    if array.ndim != ndim or not array.size:
        raise AnswerError("수의 리스트가 아닌 벡터", "vectors that are no lists of numbers of one size")
    if not np.isfinite(array).all():
        raise AnswerError("NaN이나 무한대가 있는 벡터", "vectors with NaN or infinity")
    return array
