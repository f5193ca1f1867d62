"""Errors of a request's JSON, as pydantic finds them, in Korean and English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from korag.errors import KoragError
from korag.serving.refusals import RefusedError

_KOREAN = {
    "missing": "꼭 필요한 항목이 없습니다",
    "json_invalid": "JSON이 아닙니다",
    "string_type": "문자열이어야 합니다",
    "string_unicode": "올바른 유니코드 문자열이어야 합니다",
    "int_type": "정수여야 합니다",
    "float_type": "수여야 합니다",
    "bool_type": "true 또는 false여야 합니다",
    "list_type": "리스트여야 합니다",
    "dict_type": "객체여야 합니다",
    "literal_error": "쓸 수 없는 값입니다",
    "none_required": "이 서버가 따르지 않는 설정입니다. 빼거나 null을 보내세요",
    "model_attributes_type": "JSON 객체여야 합니다(Content-Type: application/json)",
}
"""By pydantic's kind of error."""
_SHOWN, _LETTERS = 3, 40


def shown(name: object) -> str:
    """Returns a name as a message repeats it: not long, and half characters, which no answer can hold, escaped."""
    return str(name)[:_LETTERS].encode(errors="backslashreplace").decode()


def of_invalid_body(errors: Sequence[Mapping[str, Any]], *, within: int = 1) -> RefusedError:
    """Returns the refusal of a body that has another shape.

    Args:
        errors: As `pydantic.ValidationError.errors` returns them; what was sent is not repeated.
        within: Parts of a place that the sender does not know, such as FastAPI's ``body``.
    """
    korean, english = [], []
    for error in errors[:_SHOWN]:
        if isinstance(own := error.get("ctx", {}).get("error"), KoragError):
            return RefusedError(*own.args[:2])
        place = ".".join(shown(part) for part in error["loc"][within:]) or "body"
        korean.append(f"{place}: {_KOREAN.get(error['type'], '쓸 수 없는 값입니다')}")
        english.append(f"{place}: {error['msg']}")
    return RefusedError(
        f"요청의 형식이 맞지 않습니다. {'; '.join(korean)}.", f"The request has the wrong form. {'; '.join(english)}."
    )
