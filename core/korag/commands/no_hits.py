"""Why a filter lets no document through, as far as its fields show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from korag.collection.base import Collection

_SAMPLE = 200
"""Documents whose fields are named, from all parts of the collection."""


def reasons_of(collection: Collection, where: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is wrong with a filter, in Korean and English: fields of no document, and numbers for texts.

    Args:
        collection: The collection.
        where: The filter, which has been checked.
    """
    ids = collection.ids()
    sample = collection.get(ids[:: len(ids) // _SAMPLE + 1])
    names = dict.fromkeys(name for document in sample for name in document.metadata if not name.startswith("_"))
    for field, operand in _conditions(where):
        if field in names:
            texts = (document.metadata[field] for document in sample if field in document.metadata)
            value = next(texts)
            if _has_number(operand) and isinstance(value, str):
                yield (
                    f"'{field}' 필드의 값은 수가 아니라 글자입니다. 예: {value!r:.40}. 조건의 값도 따옴표로 "
                    "묶으세요. / "
                    f"The values of the field '{field}' are texts, not numbers, such as {value!r:.40}; put quotes "
                    "around the filter's."
                )
        elif "." not in field and not collection.count({field: {"$exists": True}}):
            listed = f"{', '.join(names) or '-':.300}"
            yield (
                f"'{field}' 필드가 있는 문서가 없습니다. 있는 필드: {listed}. / No document has the field '{field}'; "
                f"there are: {listed}."
            )


def _conditions(where: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the fields of a filter and what they are compared with."""
    for name, operand in where.items():
        if not name.startswith("$"):
            yield name, operand
        else:
            for inner in operand if isinstance(operand, list) else [operand]:
                yield from _conditions(inner)


def _has_number(operand: Any) -> bool:
    if isinstance(operand, Mapping):
        return any(map(_has_number, operand.values()))
    if isinstance(operand, list):
        return any(map(_has_number, operand))
    return isinstance(operand, int | float) and not isinstance(operand, bool)
