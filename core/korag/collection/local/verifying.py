"""Verifies everything that a collection's folder holds, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from korag.checkpoints.fingerprint import Fingerprint
from korag.collection.local.database import DATABASE_FILE, Database
from korag.collection.local.fitted import read_fusion
from korag.collection.local.manifest import read_manifest, resolve_codecs
from korag.collection.local.remains import check_database_there
from korag.collection.local.rows import from_row
from korag.collection.local.segment_stores import SEGMENT_FOLDER, SegmentFolder
from korag.collection.local.tables import Keys
from korag.collection.local.upgrade import missing_collection
from korag.errors import FormatVersionError, IndexStateError
from korag.legs.base import damaged_entry
from korag.storage import storage_errors
from korag.text import is_empty

_NAMED = 5
"""Documents that one problem names."""


@dataclass(frozen=True)
class VerifyReport:
    """Everything that is wrong with a collection.

    Attributes:
        documents: How many documents were read.
        segments: How many segments were read.
        problems: An error for each thing that is wrong, which says what to do; ``str`` gives its message.
    """

    documents: int
    segments: int
    problems: tuple[IndexStateError, ...]

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


def verify_folder(folder: Path, *, timeout: float) -> VerifyReport:
    """Reads every page, document and segment of a collection, and compares them with each other.

    Args:
        folder: The collection; absolute.
        timeout: Seconds to wait for another process, where SQLite must.

    Raises:
        ForeignFolderError: If the folder holds something else.
        FormatVersionError: If a newer KoRAG made it, or one that is too old.
        IndexStateError: If there is no collection, or one of its legs or codecs is not registered here.
    """
    with storage_errors(folder, writing=False):
        check_database_there(folder / DATABASE_FILE)
        if not (folder / DATABASE_FILE).exists():
            raise missing_collection(folder)
    database = Database(folder / DATABASE_FILE, timeout=timeout)
    try:
        damage = database.find_damage()
        if database.is_new():
            raise missing_collection(folder)
        while True:
            verifier = _Verifier(database, SegmentFolder(folder / SEGMENT_FOLDER), damage)
            with database.reading():  # all of one moment
                generation = database.generation()
                report = verifier.verify()
            # Another process may have merged segments since, and removed those of that moment.
            if report.ok or database.generation() == generation:
                break
        try:
            database.remember()
        except IndexStateError as error:  # it has lost commits; what is left may be whole
            return replace(report, problems=(*report.problems, error))
        return report
    finally:
        database.close()


class _Verifier:
    """Notes whatever is wrong, and goes on."""

    def __init__(self, database: Database, store: SegmentFolder, problems: Sequence[IndexStateError]) -> None:
        self._database = database
        self._store = store
        self._documents = self._segments = 0
        self._problems = list(problems)

    def verify(self) -> VerifyReport:
        """Verifies everything."""
        filled = self._read_documents()
        with self._noting():
            keys, complete = self._read_segments()
            self._compare(keys, filled, complete=complete)
        with self._noting():
            read_fusion(self._database, read_manifest(self._database)[0])
        with self._noting():
            self._database.check_forms()
        with self._noting():
            self._database.all_keys()
        return VerifyReport(self._documents, self._segments, tuple(self._problems))

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except FormatVersionError:
            raise
        except IndexStateError as error:
            self._problems.append(error)

    def _read_documents(self) -> dict[int, str]:
        """The ids of documents that are not empty, by key."""
        filled = {}
        with self._noting():
            for row in self._database.rows():
                self._documents += 1
                with self._noting():
                    key, document = from_row(row, self._database.place)
                    if not is_empty(document.text):
                        filled[key] = document.id
        return filled

    def _read_segments(self) -> tuple[Keys, bool]:
        """The keys in all segments, and whether all of them could be read."""
        manifest, _ = read_manifest(self._database)
        codecs = resolve_codecs(manifest, self._database.place)
        dims = {}
        for leg, entry in manifest.items():
            if "fingerprint" in entry:
                try:
                    dims[leg] = Fingerprint.from_dict(entry["fingerprint"]).dim
                except ValueError:
                    self._problems.append(damaged_entry(leg, self._database.place, "fingerprint"))
        keys, infos = [np.zeros(0, np.int64)], self._database.segments()
        for info in infos:
            with self._noting():
                keys.append(self._store.read(info).read(codecs, dims=dims, file=info.name, whole=True).keys)
                self._segments += 1
        return np.concatenate(keys), self._segments == len(infos)

    def _compare(self, keys: Keys, filled: Mapping[int, str], *, complete: bool) -> None:
        """Notes documents that a search finds twice, or never."""
        last = self._database.last_key()
        if len(keys) and int(keys.max()) > last:
            self._problems.append(self._database.damaged(f"sqlite_sequence: {last} < {keys.max()}"))
        distinct, counts = np.unique(keys, return_counts=True)
        known = set(distinct.tolist())
        twice = [filled[key] for key in distinct[counts > 1].tolist() if key in filled]
        never = [id_ for key, id_ in filled.items() if key not in known] if complete else []
        for found, reason in ((twice, "segments > 1"), (never, "segments = 0")):
            if found:
                named = ", ".join(f"{id_!r:.40}" for id_ in found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
                self._problems.append(_unsearchable(self._database.place, len(found), named, reason))


def _unsearchable(place: str, count: int, named: str, reason: str) -> IndexStateError:
    return IndexStateError(
        f"{place}의 문서 {count:,}개는 검색 결과에 정확히 한 번 나올 수 없습니다({reason}): {named}. 같은 id로 다시 "
        "추가하면 고쳐집니다. 백업에서 폴더를 되살려도 됩니다.",
        f"{count:,} documents of {place} cannot be found exactly once by a search ({reason}): {named}. Add them again "
        "under the same ids, or restore the folder from a backup.",
    )
