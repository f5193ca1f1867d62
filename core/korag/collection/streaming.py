"""Adds documents from an iterable of any length in batches; an interrupted run can be repeated."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from korag.collection.documents import StoredDocument, check_documents
from korag.encoders.batching import batched
from korag.errors import InvalidArgumentError
from korag.filters.ast import in_nfc
from korag.text import check_text, to_nfc


def stream_into(
    documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
    size: int,
    *,
    get: Callable[[Sequence[str]], list[StoredDocument]],
    add: Callable[[list[StoredDocument]], None],
    total: int | None,
    show_progress: bool | None,
) -> int:
    """Adds documents a collection does not have yet.

    Args:
        documents: (id, text) or (id, text, metadata) for each.
        size: Documents per batch.
        get: Returns the stored documents among the given ids.
        add: Encodes and commits documents.
        total: Their number, for the progress bar; None if unknown.
        show_progress: Show a progress bar; None shows one in a terminal.

    Returns:
        How many were added or replaced.
    """
    from tqdm.auto import tqdm

    show = sys.stderr.isatty() if show_progress is None else show_progress
    changed = 0
    with tqdm(total=total, desc="Adding documents", disable=not show) as bar:
        for batch in _checked(documents, size):
            there = {to_nfc(document.id): document for document in get([document.id for document in batch])}
            new = [document for document in batch if _differs(document, there.get(to_nfc(document.id)))]
            if new:
                add(new)
            changed += len(new)
            bar.update(len(batch))
    return changed


def _differs(document: StoredDocument, stored: StoredDocument | None) -> bool:
    """The forms of ids and metadata do not count: a Mac and a PC give one file's name differently."""
    if stored is None or document.text != stored.text:
        return True
    # As JSON, because 1 and True are equal in Python.
    return json.dumps(in_nfc(document.metadata), sort_keys=True) != json.dumps(in_nfc(stored.metadata), sort_keys=True)


def _checked(documents: Iterable[Any], size: int) -> Iterator[list[StoredDocument]]:
    done = 0
    for batch in batched(documents, size):
        parts = [_parts(document, done + place) for place, document in enumerate(batch)]
        ids, texts, metadata = (list(column) for column in zip(*parts, strict=True))
        yield check_documents(texts, ids, metadata)
        done += len(batch)


def _parts(document: object, place: int) -> tuple[Any, Any, Any]:
    if not isinstance(document, tuple | list) or len(document) not in (2, 3):
        raise InvalidArgumentError(
            f"documents[{place}]의 값 {document!r:.80}은(는) (id, text) 또는 (id, text, metadata)가 아닙니다. "
            "그 앞의 묶음들은 이미 저장되었으니, 이 값을 고쳐 다시 호출하면 이어서 진행합니다.",
            f"documents[{place}] is {document!r:.80}, neither (id, text) nor (id, text, metadata). The batches before "
            "it are stored; correct it and call again to continue from there.",
        )
    id_, text, *rest = document
    check_text(id_, f"documents[{place}][0]")
    check_text(text, f"documents[{place}][1]")
    return id_, text, (rest[0] if rest and rest[0] is not None else {})
