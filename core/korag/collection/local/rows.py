"""Documents as rows of the database, each with a checksum: what was stored is read, or an error."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from korag.collection.documents import StoredDocument, to_json
from korag.errors import IndexStateError


def to_row(key: int, document: StoredDocument) -> tuple[int, str, str, str, int]:
    """Returns key, id, text, metadata and checksum."""
    metadata = to_json(document.metadata)
    return key, document.id, document.text, metadata, checksum(key, document.id, document.text, metadata)


def checksum(key: int, id_: str, text: str, metadata: str) -> int:
    """CRC-32 of a row; the lengths keep neighbouring columns apart."""
    return zlib.crc32(f"{key} {len(id_)} {len(text)} {id_}{text}{metadata}".encode())


def from_row(row: Sequence[Any], place: str) -> tuple[int, StoredDocument]:
    """Returns the key and the document of a row.

    Args:
        row: As of `to_row`. The checksum is None, or not there, where an older KoRAG stored the document.
        place: The collection, for the message.

    Raises:
        IndexStateError: If it is not what was stored.
    """
    key, id_, text, metadata, *stored = row
    try:
        intact = stored in ([], [None], [checksum(key, id_, text, metadata)])
        fields = json.loads(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise damaged_document(key, id_, place) from error
    if not intact or not isinstance(id_, str) or not isinstance(text, str) or not isinstance(fields, dict):
        raise damaged_document(key, id_, place)
    return key, StoredDocument(id_, text, fields)


def damaged_document(key: int, id_: object, place: str) -> IndexStateError:
    """Returns the error for a document that is not what was stored."""
    return IndexStateError(
        f"{place}의 문서 {id_!r:.80}(키 {key})이(가) 손상되었습니다. 저장한 내용과 다릅니다. 아무것도 고쳐 쓰지 "
        "않았습니다. 이 문서를 같은 id로 다시 추가하거나, 백업에서 폴더를 되살리세요.",
        f"The document {id_!r:.80} (key {key}) of {place} is damaged: it is not what was stored. Nothing was changed; "
        "add the document again under the same id, or restore the folder from a backup.",
    )
