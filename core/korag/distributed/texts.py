"""A folder of vectors that is found by texts, and adding it to a collection."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from korag.breadcrumbs import breadcrumb_of, searched_text
from korag.checkpoints.fingerprint import Fingerprint
from korag.checks import check_count
from korag.collection.base import Collection
from korag.collection.documents import entry_parts
from korag.distributed.files import (
    KEY_BYTES,
    SUFFIX,
    check_digest,
    read_keys,
    read_rows,
    remove_unfinished,
    stack_terms,
    write_file,
)
from korag.encoders.batching import batched
from korag.errors import FingerprintError, IndexStateError
from korag.paths import check_path
from korag.text import is_empty, normalize


class EncodedTexts:
    """A folder of vectors, found by their texts. Any number of processes may write to it.

    A file holds the vectors of a batch, is written whole and then renamed, and is named after the texts in it, so that
    writing the same again changes nothing.

    Args:
        folder: The folder; made when something is written.
        fingerprints: The models to read or write vectors of, by leg; None for those of the files.

    Raises:
        FingerprintError: If a file is of other models.
        IndexStateError: If one is damaged.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, fingerprints: Mapping[str, Fingerprint] | None = None
    ) -> None:
        self.folder = check_path("folder", folder)
        self._fingerprints = None if fingerprints is None else dict(fingerprints)
        self._files: set[str] = set()
        self._intact: set[str] = set()
        self._places: dict[bytes, tuple[str, int]] = {}
        self._refresh()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_fingerprints": self._fingerprints}  # the files are looked for again

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"], fingerprints=state["_fingerprints"])  # type: ignore[misc]

    @property
    def fingerprints(self) -> dict[str, Fingerprint]:
        """Of the models that made the vectors, by leg.

        Raises:
            IndexStateError: If there is no file yet.
        """
        if self._fingerprints is None:
            raise IndexStateError(
                f"'{self.folder}'에 벡터 파일이 없습니다. EncodeDocuments(..., folder=...)를 먼저 실행하세요.",
                f"'{self.folder}' has no files of vectors; run EncodeDocuments(…, folder=…) first.",
            )
        return self._fingerprints

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Returns the texts that have no vectors yet, each once, in order."""
        self._refresh()
        keys = text_keys(texts, self.fingerprints)
        return list(
            dict.fromkeys(text for text, key in zip(texts, keys, strict=True) if bytes.fromhex(key) not in self._places)
        )

    def add(self, texts: Mapping[str, str], encode: Callable[[list[str]], Mapping[str, Any]]) -> None:
        """Encodes the texts that are not there yet, and writes their vectors.

        Args:
            texts: By key (`text_keys`).
            encode: Makes vectors by leg of a list of texts.
        """
        self._refresh()
        new = {key: text for key, text in texts.items() if bytes.fromhex(key) not in self._places}
        if new:
            name = hashlib.sha256("".join(sorted(new)).encode()).hexdigest()[:32] + SUFFIX
            keys = [bytes.fromhex(key) for key in new]
            write_file(self.folder / name, keys, encode(list(new.values())), self.fingerprints)

    def vectors(self, texts: Sequence[str]) -> dict[str, Any]:
        """Returns the vectors of texts by leg, as `Collection.add_encoded` takes them; an empty text needs none.

        Raises:
            IndexStateError: If a text has none, or a file is damaged.
        """
        filled = [text for text in texts if not is_empty(text)]
        if absent := self.missing(filled):
            raise IndexStateError(
                f"'{self.folder}'에 텍스트 {len(absent)}개의 벡터가 없습니다. 첫 번째: {absent[0]!r:.60}. 같은 문서로 "
                "EncodeDocuments를 다시 실행하세요. 이미 있는 것은 다시 인코딩하지 않습니다.",
                f"'{self.folder}' has no vectors of {len(absent)} texts, the first being {absent[0]!r:.60}. Run "
                "EncodeDocuments with the same documents again; what is there is not encoded again.",
            )
        keys = text_keys(texts, self.fingerprints)
        places = [
            None if is_empty(text) else self._places[bytes.fromhex(key)] for text, key in zip(texts, keys, strict=True)
        ]
        wanted: dict[str, dict[int, None]] = {}
        for file, row in filter(None, places):
            wanted.setdefault(file, {})[row] = None
        rows: dict[str, dict[tuple[str, int], Any]] = {name: {} for name in self.fingerprints}
        for file, numbers in wanted.items():
            if file not in self._intact:
                check_digest(self.folder / file)
                self._intact.add(file)
            for name, found in read_rows(self.folder / file, list(numbers)).items():
                rows[name] |= {(file, number): row for number, row in zip(numbers, found, strict=True)}
        return {
            name: _joined([_nothing(one) if place is None else rows[name][place] for place in places], one)
            for name, one in self.fingerprints.items()
        }

    def _refresh(self) -> None:
        """Notes the files that others have written or deleted meanwhile."""
        try:
            found = {entry.name for entry in os.scandir(self.folder)}
        except FileNotFoundError:
            found = set()
        remove_unfinished(self.folder, found)
        names = {name for name in found if name.endswith(SUFFIX)}
        if gone := self._files - names:
            self._files -= gone
            self._intact -= gone
            self._places = {key: place for key, place in self._places.items() if place[0] not in gone}
        for name in sorted(names - self._files):
            path = self.folder / name
            fingerprints, keys = read_keys(path)
            if self._fingerprints is None:
                self._fingerprints = fingerprints
            if fingerprints != self._fingerprints:
                raise FingerprintError(
                    f"'{path}'의 벡터는 다른 모델이나 설정으로 만든 것입니다. 모델마다 폴더를 따로 쓰세요.",
                    f"The vectors in '{path}' were made by other models or settings; use a folder for each.",
                )
            for row, key in enumerate(keys):
                self._places.setdefault(key, (name, row))
            self._files.add(name)


def text_keys(texts: Sequence[str], fingerprints: Mapping[str, Fingerprint]) -> list[str]:
    """Returns a hash of each text and the models that encode it.

    Args:
        texts: In any Unicode normalization form.
        fingerprints: Of the models, by leg.
    """
    models = json.dumps({name: str(one) for name, one in fingerprints.items()}, sort_keys=True).encode()
    return [
        hashlib.blake2b(models + b"\0" + normalize(text).encode(), digest_size=KEY_BYTES).hexdigest() for text in texts
    ]


def add_encoded_texts(
    collection: Collection,
    documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
    folder: str | os.PathLike[str],
    *,
    block: int = 2_048,
) -> int:
    """Adds documents with the vectors of their texts in a folder. Loads no model.

    In memory are a place for every text of the folder, and the vectors of a block. A file is read once as a whole, a
    piece at a time, to compare its digest.

    Of a part of a document (`korag.splitting`), whose metadata have a breadcrumb, ``chunk.searched`` must have been
    encoded: the breadcrumb with the text.

    After an interruption, the same call goes on: documents that are stored with the same text keep their vectors.

    Args:
        collection: With the models that made the vectors.
        documents: (id, text) or (id, text, metadata) for each.
        folder: From `EncodeDocuments`.
        block: Documents at a time.

    Returns:
        The number of documents.

    Raises:
        FingerprintError: If the collection's models are others.
        IndexStateError: If a text has no vectors in the folder; preceding blocks have been added by then.
        InvalidArgumentError: As `Collection.add_encoded`.
    """
    check_count("block", block, at_least=1)
    encoded, count = EncodedTexts(folder), 0
    for chunk in batched(documents, block):
        entries = [entry_parts(entry, place) for place, entry in enumerate(chunk, count)]
        texts = [text if is_empty(text) else searched_text(text, _breadcrumb(fields)) for _, text, fields in entries]
        collection.add_encoded(entries, encoded.vectors(texts), fingerprints=encoded.fingerprints)
        count += len(chunk)
    return count


def _breadcrumb(metadata: Any) -> str:
    return breadcrumb_of(metadata) if isinstance(metadata, Mapping) else ""  # `add_encoded` refuses what it is


def _nothing(fingerprint: Fingerprint) -> Any:
    """Stands for the vectors of an empty text."""
    if fingerprint.family == "dense":
        return np.zeros(fingerprint.dim, np.float32)
    if fingerprint.family == "late_interaction":
        return np.zeros((0, fingerprint.dim), np.float16)
    return np.zeros(0, np.int32), np.zeros(0, np.float32)


def _joined(rows: list[Any], fingerprint: Fingerprint) -> Any:
    """Returns vectors as an encoder returns them."""
    if fingerprint.family == "dense":
        return np.array(rows, np.float32).reshape(len(rows), fingerprint.dim)
    return rows if fingerprint.family == "late_interaction" else stack_terms(rows, fingerprint.dim)
