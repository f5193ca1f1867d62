"""The layout of a point: its id, and the fields of its payload."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from korag.filters.ast import MAX_INT, MIN_INT, in_nfc
from korag.text import to_nfc

ID, TEXT = "id", "text"
METADATA = "metadata"
"""Metadata as the server's conditions read it: in NFC, large integers as floats."""
STORED_METADATA = "korag_metadata"
"""Metadata as JSON text, as it was added: the server changes the last digits of floats."""
DIGEST = "korag_digest"
"""Of the text, so that it need not be fetched to be compared."""
SEQUENCE = "korag_sequence"
"""Ascends in insertion order; another text gives another one."""
EMPTIES, DOTTED = "korag_empties", "korag_dotted"
"""Fields that hold ``[]``, and names with a dot: what no condition of the server asks for."""

_NAMESPACE = uuid.UUID("6b6f7261-6700-5000-8000-000000000000")


def point_id(id_: str) -> str:
    """Returns the id of a document's point: the same for every Unicode form, so that adding twice stores once."""
    return str(uuid.uuid5(_NAMESPACE, to_nfc(id_)))


def terms_field(leg: str) -> str:
    """Returns the field with the terms of a lexical leg."""
    return f"korag_{leg}"


def digest(text: str) -> str:
    """Returns a digest of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def searchable(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields by which filters find a document: `METADATA`, `EMPTIES` and `DOTTED`."""
    composed = in_nfc(metadata)
    empties: list[str] = []
    _find_empties(composed, (), empties)
    return {METADATA: _within_range(composed), EMPTIES: empties, DOTTED: [key for key in composed if "." in key]}


def _find_empties(fields: dict[str, Any], path: tuple[str, ...], empties: list[str]) -> None:
    for key, value in fields.items():
        if value == [] and isinstance(value, list):
            empties.append(".".join((*path, key)))
        elif isinstance(value, dict):
            _find_empties(value, (*path, key), empties)


def _within_range(value: Any) -> Any:
    """Integers beyond 64 bits as floats, which is how `korag.filters` compares them."""
    if isinstance(value, dict):
        return {key: _within_range(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_within_range(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and not MIN_INT <= value <= MAX_INT:
        return float(value)
    return value
