"""Changes of stored metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace as replaced
from typing import Any

from korag.breadcrumbs import BREADCRUMB, breadcrumb_of
from korag.checks import check_distinct, check_flag, check_ids, check_lengths
from korag.collection.documents import StoredDocument
from korag.errors import InvalidArgumentError
from korag.metadata import check_metadata
from korag.text import to_nfc

_RESERVED = "_korag_"
"""Begins keys under which a framework's adapter keeps what is not metadata, such as the class and links of a node."""
_NAMED = 5
"""Unknown ids in a message."""


class MetadataChange:
    """New metadata of some documents, checked.

    Args:
        ids: The documents.
        metadata: A dict for all of them, or a list with one for each.
        replace: Drop the keys that are not in it, except those of a framework's adapter.
        name: The argument with the ids, for messages.

    Attributes:
        ids: The documents, in order.

    Raises:
        InvalidTextError: If an id is not a string.
        InvalidArgumentError: If an id occurs twice, the numbers differ, or metadata is not JSON.
    """

    def __init__(
        self,
        ids: Iterable[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool,
        name: str = "ids",
    ) -> None:
        self.ids = check_ids(ids, name)
        check_distinct(name, self.ids)
        self._replace = check_flag("replace", replace)
        if isinstance(metadata, Mapping):
            given = [check_metadata(metadata)] * len(self.ids)
        else:
            listed = _listed(metadata)
            check_lengths(**{name: self.ids, "metadata": listed})
            given = [
                check_metadata(fields, index, id_=id_)
                for index, (id_, fields) in enumerate(zip(self.ids, listed, strict=True))
            ]
        self._given = dict(zip(map(to_nfc, self.ids), given, strict=True))

    def apply(self, document: StoredDocument) -> StoredDocument:
        """Returns a document with its new metadata."""
        old = document.metadata
        if self._replace:
            old = {name: value for name, value in old.items() if name.startswith(_RESERVED)}
        new = replaced(document, metadata=_merged(old, self._given[to_nfc(document.id)]))
        if breadcrumb_of(new.metadata) != breadcrumb_of(document.metadata):
            raise InvalidArgumentError(
                f"문서 {document.id!r:.80}의 '{BREADCRUMB}'은(는) 함께 검색하는 글이라 메타데이터만 바꿀 수 없습니다. "
                "add로 문서를 다시 넣으세요. 아무것도 바꾸지 않았습니다.",
                f"'{BREADCRUMB}' of document {document.id!r:.80} is searched with its text, so metadata alone cannot "
                "be changed; add the document again. Nothing was changed.",
            )
        return new


def _listed(metadata: object) -> list[Any]:
    if isinstance(metadata, str | bytes) or not isinstance(metadata, Iterable):
        raise InvalidArgumentError(
            f"metadata={metadata!r:.80}: 모든 문서에 넣을 dict 하나이거나, 문서마다 하나씩인 dict의 리스트여야 합니다. "
            "예: {'상태': '폐지'}.",
            f"metadata={metadata!r:.80} must be a dict for all documents, or a list with a dict for each, for example "
            "{'state': 'repealed'}.",
        )
    return list(metadata)


def check_known(ids: Sequence[str], existing: Iterable[str]) -> None:
    """Raises if a document does not exist.

    Args:
        ids: The ids given.
        existing: Those of them that exist, in any form.

    Raises:
        InvalidArgumentError: With the ids that do not.
    """
    known = set(map(to_nfc, existing))
    if unknown := [id_ for id_ in ids if to_nfc(id_) not in known]:
        named = ", ".join(f"{id_!r:.80}" for id_ in unknown[:_NAMED]) + (", …" if len(unknown) > _NAMED else "")
        raise InvalidArgumentError(
            f"컬렉션에 없는 id가 {len(unknown):,}개 있습니다: {named}. 있는 문서의 메타데이터만 고칠 수 있습니다. "
            "새 문서는 add로 넣으세요. 아무것도 바꾸지 않았습니다.",
            f"{len(unknown):,} of the ids are not in the collection: {named}. Only documents that exist can be given "
            "other metadata; add new ones with `add`. Nothing was changed.",
        )


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """A key in another Unicode form is the same key: of two, filters would go on finding the old value."""
    composed = set(map(to_nfc, new))
    kept = {name: value for name, value in old.items() if name in new or to_nfc(name) not in composed}
    return {**kept, **new}
