"""Documents as a collection stores them: checked texts, ids and metadata."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from korag.checks import check_ids, check_metadata
from korag.errors import InvalidArgumentError
from korag.text import check_texts


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


def check_documents(
    texts: Iterable[str], ids: Sequence[str] | None, metadata: Sequence[Mapping[str, Any]] | None
) -> list[StoredDocument]:
    """Puts texts, ids and metadata together; ids are made where none are given.

    Raises:
        InvalidTextError: If a text is not a string.
        InvalidArgumentError: If the numbers differ, an id is empty or comes twice, or metadata is not JSON.
    """
    texts = check_texts(texts)
    ids = [str(uuid.uuid4()) for _ in texts] if ids is None else check_ids(ids)
    if metadata is not None and not isinstance(metadata, Iterable):
        raise InvalidArgumentError(
            f"metadata={metadata!r:.80}은(는) dict의 리스트가 아닙니다. 문서마다 하나씩 넣으세요.",
            f"metadata={metadata!r:.80} is not a list of dicts; give one for each document.",
        )
    metadata = [{} for _ in texts] if metadata is None else list(metadata)
    for name, values in (("ids", ids), ("metadata", metadata)):
        if len(values) != len(texts):
            raise InvalidArgumentError(
                f"texts는 {len(texts)}개인데 {name}는 {len(values)}개입니다. 수가 같아야 합니다.",
                f"There are {len(texts)} texts and {len(values)} {name}; there must be as many.",
            )
    seen: dict[str, int] = {}
    for index, id_ in enumerate(ids):
        if id_ in seen:
            raise InvalidArgumentError(
                f"ids[{index}]={id_!r}가 ids[{seen[id_]}]와 같습니다. 한 번에 넣는 id는 서로 달라야 합니다.",
                f"ids[{index}]={id_!r} equals ids[{seen[id_]}]; the ids of one call must differ.",
            )
        seen[id_] = index
    return [
        StoredDocument(id_, text, check_metadata(fields, index))
        for index, (id_, text, fields) in enumerate(zip(ids, texts, metadata, strict=True))
    ]
