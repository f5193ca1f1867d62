"""Adds documents from an iterable of any length in batches; an interrupted run can be repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from korag.collection.documents import StoredDocument, check_documents, entry_parts
from korag.collection.pacing import Pace
from korag.encoders.progress import is_watched, progress_bar
from korag.encoders.reports import one_call
from korag.errors import InvalidArgumentError, InvalidTextError
from korag.filters.ast import in_nfc
from korag.text import to_nfc

_STORED = (
    "그 앞의 묶음들은 이미 저장되었으니, 이 값을 고쳐 다시 호출하면 이어서 진행합니다.",
    "The batches before it are stored; correct it and call again to continue from there.",
)


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
        size: Documents per batch at most; fewer if they take long.
        get: Returns the stored documents among the given ids.
        add: Encodes and commits documents.
        total: Their number, for the progress bar; None if unknown.
        show_progress: Show a progress bar; None shows one in a terminal.

    Returns:
        How many were added or replaced.
    """
    show = is_watched() if show_progress is None else show_progress
    changed, pace = 0, Pace(size)
    with one_call(), progress_bar("Adding documents", total, show=show) as bar:
        for batch in _checked(documents, pace):
            there = {to_nfc(document.id): document for document in get([document.id for document in batch])}
            new = [document for document in batch if _differs(document, there.get(to_nfc(document.id)))]
            bar.skip(len(batch) - len(new))
            if new:
                pace.begin()
                with bar.part(len(new)):
                    add(new)
                pace.end(len(new))
            changed += len(new)
    return changed


def _differs(document: StoredDocument, stored: StoredDocument | None) -> bool:
    """The forms of ids and metadata do not count: a Mac and a PC give one file's name differently."""
    if stored is None or document.text != stored.text:
        return True
    # As JSON, because 1 and True are equal in Python.
    return json.dumps(in_nfc(document.metadata), sort_keys=True) != json.dumps(in_nfc(stored.metadata), sort_keys=True)


def _checked(documents: Iterable[Any], pace: Pace) -> Iterator[list[StoredDocument]]:
    done, left = 0, iter(documents)
    while batch := list(islice(left, pace.size)):
        parts = [entry_parts(document, done + place, after=_STORED) for place, document in enumerate(batch)]
        ids, texts, metadata = (list(column) for column in zip(*parts, strict=True))
        try:
            checked = check_documents(texts, ids, metadata, first=done)
        except (InvalidArgumentError, InvalidTextError) as error:
            korean, english = error.args
            raise type(error)(f"{korean} {_STORED[0]}", f"{english} {_STORED[1]}") from None
        yield checked
        done += len(batch)
