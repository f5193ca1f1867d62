"""Lists of documents added a batch at a time: as many as take about 20 seconds to encode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar

from korag.collection.documents import COMMIT_CHARACTERS, COMMIT_DOCUMENTS, StoredDocument, in_batches, warn_empty
from korag.collection.pacing import Pace
from korag.encoders.progress import Progress, Share, progress_bar
from korag.encoders.reports import one_call
from korag.errors import KoragError
from korag.legs.base import Leg
from korag.text import is_empty

Bar = Progress | Share
AddBatch = Callable[[list[StoredDocument], Bar], Sequence[StoredDocument]]
"""``add(documents, bar)`` adds a batch in one commit, and returns those that were not there with the same text."""
_IS_TOGETHER: ContextVar[bool] = ContextVar("_IS_TOGETHER", default=False)


@contextlib.contextmanager
def added_together() -> Iterator[None]:
    """Commits each list added here at once, however long it takes, if it is not larger than a commit may be.

    For parts that must all be stored or none: LlamaIndex takes a document for stored as soon as one of its nodes is.
    """
    token = _IS_TOGETHER.set(True)
    try:
        yield
    finally:
        _IS_TOGETHER.reset(token)


def pace_of(legs: Mapping[str, Leg]) -> Pace:
    """Returns the pace for a collection's own models; without one, nothing takes long."""
    takes_long = any(leg.encoder is not None for leg in legs.values())
    return Pace(COMMIT_DOCUMENTS) if takes_long and not _IS_TOGETHER.get() else even_pace()


def even_pace() -> Pace:
    """Returns the pace for vectors that exist already: all batches are as large as they may be."""
    return Pace(COMMIT_DOCUMENTS, first=COMMIT_DOCUMENTS)


@contextlib.contextmanager
def telling_ids(documents: Sequence[StoredDocument]) -> Iterator[None]:
    """Puts the ids of documents on an error, after which a part of them may be stored."""
    try:
        yield
    except KoragError as error:
        error.ids = tuple(document.id for document in documents)
        raise


def add_in_batches(
    documents: Sequence[StoredDocument], add: AddBatch, *, pace: Pace, show_progress: bool | None = False
) -> None:
    """Adds documents; what is reported about them is reported once.

    Args:
        documents: In order.
        add: Adds one batch.
        pace: The size of the next batch.
        show_progress: Show a progress bar; None shows one for more than 1,000 documents in a terminal or a notebook.
    """
    total = empty = 0
    with one_call(), progress_bar("Adding documents", len(documents), show=show_progress) as bar:
        for batch in in_batches(documents, pace, COMMIT_CHARACTERS):
            pace.begin()
            new = add(batch, bar)
            pace.end(len(new))
            total += len(new)
            empty += sum(is_empty(document.text) for document in new)
    if empty:
        warn_empty(empty, total)
