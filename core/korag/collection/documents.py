"""Documents as a collection stores them: checked texts, ids and metadata."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from korag.breadcrumbs import breadcrumb_of, check_breadcrumb, searched_text
from korag.checks import check_distinct, check_ids, check_lengths, check_list
from korag.collection.pacing import Pace
from korag.errors import InvalidArgumentError, InvalidTextError
from korag.logs import logger
from korag.metadata import check_metadata
from korag.text import check_text, check_texts

COMMIT_DOCUMENTS = 2_048
"""Documents encoded and committed together."""
COMMIT_CHARACTERS = 2_000_000
"""Characters above which fewer documents are: the vectors of all their windows are in memory at once."""
MAX_CHARACTERS = 200_000_000
"""Of a text: SQLite stores no more than 1 GB in a row, and a character may take 4 bytes."""


@dataclass(frozen=True)
class StoredDocument:
    """A document of a collection.

    Attributes:
        id: Its id.
        text: The text as it was added.
        metadata: A copy of the metadata as it was added.
    """

    id: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def searched(self) -> str:
        """The text as legs represent it: behind its breadcrumb, if the metadata has one (see `korag.breadcrumbs`)."""
        return searched_text(self.text, breadcrumb_of(self.metadata))

    @property
    def content(self) -> str:
        """Equal for documents with the same text and breadcrumb, whose vectors are the same then."""
        breadcrumb = breadcrumb_of(self.metadata)
        return f"{breadcrumb}\0{self.text}" if breadcrumb else self.text


def is_same(one: StoredDocument, other: StoredDocument) -> bool:
    """Returns True if nothing differs, not even ``1`` and ``True``, which are equal in Python."""
    return one == other and to_json(one.metadata) == to_json(other.metadata)


def to_json(metadata: Mapping[str, Any]) -> str:
    """Returns metadata as it is stored."""
    return json.dumps(metadata, ensure_ascii=False)


def check_documents(
    texts: Iterable[str],
    ids: Sequence[str] | None,
    metadata: Sequence[Mapping[str, Any]] | None,
    *,
    names: Sequence[str | None] | None = None,
    first: int = 0,
) -> list[StoredDocument]:
    """Puts texts, ids and metadata together; ids are generated if not given.

    Args:
        texts: The texts.
        ids: Their ids, all different.
        metadata: A dict of JSON values for each; copied.
        names: Ids of documents for errors of their metadata, where `ids` is not given; None where there is none.
        first: Position of the first document in what the caller was given, for errors.

    Raises:
        InvalidTextError: If a text is not a string, or longer than 200 million characters.
        InvalidArgumentError: If the numbers differ, an id is empty or repeated, or metadata is not JSON.
    """
    texts = check_texts(texts, first=first)
    for index, text in enumerate(texts, first):
        if len(text) > MAX_CHARACTERS:
            raise InvalidTextError(
                f"texts[{index}]의 길이가 {len(text):,}자입니다. {MAX_CHARACTERS:,}자까지 저장합니다. 나누어 넣으세요.",
                f"texts[{index}] has {len(text):,} characters; {MAX_CHARACTERS:,} can be stored. Split it.",
            )
    if ids is not None:
        names = ids = check_ids(ids, first=first)
    else:
        ids = [str(uuid.uuid4()) for _ in texts]
    metadata = [{} for _ in texts] if metadata is None else check_list("metadata", metadata)
    check_lengths(texts=texts, ids=ids, metadata=metadata)
    check_distinct("ids", ids, first=first)
    documents = [
        StoredDocument(id_, text, check_metadata(fields, first + index, id_=names[index] if names else None))
        for index, (id_, text, fields) in enumerate(zip(ids, texts, metadata, strict=True))
    ]
    for index, document in enumerate(documents, first):
        check_breadcrumb(document.metadata, f"metadata[{index}]")
    return documents


def entry_parts(
    entry: object, place: int, *, after: tuple[str, str] = ("고쳐서 다시 넣으세요.", "Correct it.")
) -> tuple[Any, Any, Any]:
    """Returns id, text and metadata of a document that is given as a tuple; no metadata is an empty dict.

    Args:
        entry: (id, text) or (id, text, metadata).
        place: Its position, for messages.
        after: Ends the message for anything else, in both languages.

    Raises:
        InvalidTextError: If the id or text is not a string.
        InvalidArgumentError: If the entry is something else.
    """
    if not isinstance(entry, tuple | list) or len(entry) not in (2, 3):
        raise InvalidArgumentError(
            f"documents[{place}]의 값 {entry!r:.80}은(는) (id, text) 또는 (id, text, metadata)가 아닙니다. {after[0]}",
            f"documents[{place}] is {entry!r:.80}, neither (id, text) nor (id, text, metadata). {after[1]}",
        )
    id_, text, *rest = entry
    check_text(id_, f"documents[{place}][0]")
    check_text(text, f"documents[{place}][1]")
    return id_, text, (rest[0] if rest and rest[0] is not None else {})


def in_batches(documents: Iterable[StoredDocument], pace: Pace, characters: int) -> Iterator[list[StoredDocument]]:
    """Yields documents in order: `pace.size` of them, or fewer if they have more characters; at least one."""
    batch: list[StoredDocument] = []
    total = 0
    for document in documents:
        if batch and (len(batch) >= pace.size or total + len(document.text) > characters):
            yield batch
            batch, total = [], 0
        batch.append(document)
        total += len(document.text)
    if batch:
        yield batch


def warn_empty(empty: int, total: int) -> None:
    """Logs a warning about texts that match nothing."""
    logger.warning(
        "텍스트 %d개 가운데 %d개가 비어 있어 검색되지 않습니다. / %d of %d texts are empty and match nothing.",
        total, empty, empty, total,
    )  # fmt: skip
