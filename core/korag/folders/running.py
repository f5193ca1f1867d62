"""One run over a folder's files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from korag.collection.documents import StoredDocument, check_documents
from korag.collection.local.collection import LocalCollection
from korag.collection.pacing import Pace
from korag.encoders.batching import batched
from korag.errors import IndexStateError, KoragError, UnreadableFileError
from korag.folders.changes import Changes
from korag.folders.matching import match_texts
from korag.folders.parts import FileParts, characters_of
from korag.folders.records import FILE, NOTE, Indexed, Note, content_hash, digest_of, short_hash
from korag.folders.reports import IndexReport, Progress
from korag.folders.scanning import FoundFile, Problem
from korag.reading.base import Part, ReadOptions
from korag.splitting.splitter import Splitter
from korag.storage import storage_error
from korag.text import is_empty

_READING = 2
"""Raised when a reader returns other texts, so that files are read again."""
_DOCUMENTS = 2_048
_CHARACTERS = 1_000_000
"""Of documents committed at a time; fewer documents if they take long."""
_CHECKED = 64
"""Documents checked at a time."""


@dataclass(frozen=True)
class _CheckedFile:
    """A file that can be stored.

    Attributes:
        parts: The texts of its documents.
        note: Stands with each of them.
        hashes: Of their contents, by id and in order; the contents themselves may exceed memory.
        is_without_text: There is no text in it, such as in a scan.
    """

    parts: FileParts
    note: Note
    hashes: dict[str, bytes]
    is_without_text: bool


class Run:
    """One run.

    Args:
        collection: Where to.
        options: How tables are read.
        splitter: Splits texts into documents; None for texts as they are.
        report: Filled as the work goes on.
        progress: Is told about the work.
    """

    def __init__(
        self,
        collection: LocalCollection,
        options: ReadOptions,
        splitter: Splitter | None,
        report: IndexReport,
        progress: Progress | None,
    ) -> None:
        self._collection, self._options, self._report, self._progress = collection, options, report, progress
        self._splitter = splitter
        split = () if splitter is None else (splitter.splitter, splitter.sentences, splitter.size)
        self._how = short_hash((_READING, options.text_columns, options.id_column, *split))
        self._documents: list[StoredDocument] = []
        self._moved: dict[str, str] = {}
        self._gone: list[str] = []
        self._touched: dict[str, dict[str, str]] = {}
        self._pace = Pace(_DOCUMENTS)
        self._characters = self._bytes = 0
        self._foreign: Set[str] = frozenset()
        self._owners: dict[str, str] = {}

    def index(self, files: Mapping[str, FoundFile], known: Mapping[str, Indexed], changes: Changes) -> None:
        """Does all there is to do.

        Args:
            files: Those in the folder.
            known: Those in the collection.
            changes: The difference.
        """
        new_names = {old: new for new, old in changes.origins.items()}
        self._owners = {id_: new_names.get(name, name) for name, indexed in known.items() for id_ in indexed.ids}
        self._foreign = {id_ for id_ in self._collection.ids() if id_ not in self._owners}
        if changes.removed:
            gone = [id_ for name in changes.removed for id_ in known[name].ids]
            self._collection.delete(gone)
            for id_ in gone:
                del self._owners[id_]
            self._report.removed += changes.removed
        due = [file for name, file in files.items() if name not in known or self._is_due(file, known[name])]
        self._flush_touched()
        if self._progress is not None:
            self._progress.begin(sum(file.size for file in due))
        for file in due:
            origin = changes.origins.get(file.name)
            if (checked := self._check(file)) is not None:
                self._store(file, checked, known.get(origin or file.name), origin)
        self._flush()

    def _is_due(self, file: FoundFile, indexed: Indexed) -> bool:
        """Returns True for a file that must be read; if only its time has changed, that is noted."""
        note = indexed.note
        if note is None or note.how != self._how or note.size != file.size:
            return True
        if note.time != file.time:
            digest = None
            with self._noting(file):
                digest = digest_of(file)
            if digest is None:
                return False
            if digest != note.digest:
                return True
            touched = Note(file.size, file.time, note.digest, note.parts, note.how)
            self._touched |= {id_: {NOTE: str(touched)} for id_ in indexed.ids}
            if len(self._touched) >= _DOCUMENTS:
                self._flush_touched()
        self._report.unchanged += 1
        return False

    def _check(self, file: FoundFile) -> _CheckedFile | None:
        """Goes through a file to the end; None for one that cannot be read or stored, which is noted."""
        with self._noting(file):
            digest = digest_of(file)
            parts = FileParts(file, self._options, self._splitter)
            hashes: dict[str, bytes] = {}
            is_without_text = False
            for batch in batched(parts, _CHECKED):
                documents = [_document(file.name, part) for part in batch]
                self._check_documents(file.name, documents, hashes)
                is_without_text = is_without_text if hashes else is_empty(documents[0].text)
                hashes.update((document.id, content_hash(document)) for document in documents)
            self._owners.update(dict.fromkeys(hashes, file.name))
            if (error := parts.missing.error(file.name)) is not None:
                self._report.problems.append(Problem(file.name, error, in_part=True))
            facts = file.path.stat()
            is_same = (facts.st_size, facts.st_mtime_ns) == (file.size, file.time)
            note = Note(file.size, file.time if is_same else 0, digest, len(hashes), self._how)
            return _CheckedFile(parts, note, hashes, is_without_text)
        return None

    def _check_documents(self, name: str, documents: Sequence[StoredDocument], before: Mapping[str, bytes]) -> None:
        """Finds what the collection would refuse or another file has, so that only this file is left out."""
        ids = [document.id for document in documents]
        self._check_ids(name, documents, before)
        check_documents(
            [document.text for document in documents],
            ids,
            [document.metadata for document in documents],
            first=len(before),
        )
        for document in documents:
            if document.id in self._foreign:
                raise IndexStateError(
                    f"색인에 다른 곳에서 넣은 문서 '{document.id}'이(가) 있어 덮어쓰지 않았습니다. 파일의 이름을 "
                    "바꾸거나 그 문서를 지우세요.",
                    f"The index has a document '{document.id}' that was added by something else, and was not "
                    "overwritten. Rename the file, or delete that document.",
                )
            if (owner := self._owners.get(document.id, name)) != name:
                raise IndexStateError(
                    f"문서의 id '{document.id}'이(가) 파일 '{owner}'의 것과 같습니다. 표의 id나 파일의 이름을 "
                    "바꾸세요.",
                    f"A document would have the id '{document.id}', which is one of the file '{owner}'. Change the id "
                    "in the table, or rename the file.",
                )

    def _check_ids(self, name: str, documents: Sequence[StoredDocument], before: Mapping[str, bytes]) -> None:
        """Finds a row whose id is that of a chunk of another one; equal ids of rows are found by the reader."""
        seen: set[str] = set()
        for document in documents:
            if document.id in before or document.id in seen:
                id_, row = document.id.removeprefix(f"{name}#"), document.metadata.get("row", "?")
                raise UnreadableFileError(
                    f"'{name}' {row}행: 문서의 id '{id_}'이(가) 앞에도 있습니다. 나뉜 행의 조각은 id 뒤에 #1, #2, …가 "
                    "붙습니다. 표의 id를 바꾸거나 --id-column으로 다른 열을 고르세요.",
                    f"'{name}', row {row}: the document id '{id_}' is there before, too. Chunks of a row have its id "
                    "with #1, #2, …. Change the id in the table, or choose another column with --id-column.",
                )
            seen.add(document.id)

    def _store(self, file: FoundFile, checked: _CheckedFile, indexed: Indexed | None, origin: str | None) -> None:
        """Keeps what is the same in the collection, and lines up the rest to be added."""
        gone = [] if indexed is None else self._keep_equal(indexed, checked.hashes)
        self._list(file.name, origin, is_new=indexed is None, is_empty=checked.is_without_text)
        count = len(checked.hashes)
        for place, document in enumerate(self._documents_of(file, checked), start=1):
            self._documents.append(document)
            self._characters += characters_of(document)
            self._bytes += file.size * place // count - file.size * (place - 1) // count
            if len(self._documents) >= self._pace.size or self._characters >= _CHARACTERS:
                self._flush()
        self._gone += gone

    def _documents_of(self, file: FoundFile, checked: _CheckedFile) -> Iterator[StoredDocument]:
        """Yields a file's documents, if they are still those that were checked; otherwise that is noted."""
        with self._noting(file):
            expected = iter(checked.hashes.items())
            for part in checked.parts:
                document = _document(file.name, part, str(checked.note))
                if (document.id, content_hash(document)) != next(expected, None):
                    raise _changed(file)
                yield document
            if next(expected, None) is not None:
                raise _changed(file)

    def _keep_equal(self, indexed: Indexed, hashes: Mapping[str, bytes]) -> list[str]:
        """Lines up new ids for documents whose text and headings are still there; returns ids that will be gone."""
        old: dict[str, bytes] = {}
        for ids in batched(indexed.ids, _CHECKED):
            old.update((document.id, content_hash(document)) for document in self._collection.get(ids))
        match = match_texts(old, hashes)
        self._moved |= match.moved
        # One whose id another document gets waits under an id that this leaves.
        targets = set(match.moved.values())
        left = (id_ for id_ in match.moved if id_ not in targets)
        displaced = {id_: next(left) for id_ in match.gone if id_ in targets}
        self._moved |= displaced
        gone = (displaced.get(id_, id_) for id_ in match.gone)
        return [id_ for id_ in gone if id_ not in hashes]

    def _list(self, name: str, origin: str | None, *, is_new: bool, is_empty: bool) -> None:
        if origin is not None:
            self._report.renamed[origin] = name
        elif is_new:
            self._report.added.append(name)
        else:
            self._report.changed.append(name)
        if is_empty:
            self._report.without_text.append(name)

    def _flush_touched(self) -> None:
        """Notes the times of files that have no other change."""
        if self._touched:
            self._collection.update_metadata(list(self._touched), list(self._touched.values()))
            self._touched = {}

    def _flush(self) -> None:
        """Adds the documents that are waiting, before those that they replace are removed."""
        documents, size, moved, gone = self._documents, self._bytes, self._moved, self._gone
        self._documents, self._characters, self._bytes, self._moved, self._gone = [], 0, 0, {}, []
        if moved:
            self._collection.rename(moved)
        if documents:
            self._add(documents, size)
        if gone:
            self._collection.delete(gone)

    def _add(self, documents: Sequence[StoredDocument], size: int) -> None:
        self._pace.begin()
        with self._progress.encoding(len(documents), size) if self._progress is not None else contextlib.nullcontext():
            self._collection.add(
                [document.text for document in documents],
                ids=[document.id for document in documents],
                metadata=[document.metadata for document in documents],
                show_progress=False,
            )
        self._pace.end(len(documents))

    @contextlib.contextmanager
    def _noting(self, file: FoundFile) -> Iterator[None]:
        """Notes a file that cannot be read, and goes on."""
        error: KoragError
        try:
            yield
            return
        except KoragError as known:
            error = known
        except OSError as system:  # of a library, or of a file that was removed since the folder was looked at
            error = storage_error(system, file.path, writing=False)
        except RecursionError:
            error = UnreadableFileError(
                f"'{file.name}': 리스트나 객체가 너무 깊이 겹쳐 있습니다. 얕게 고쳐 다시 저장하세요.",
                f"'{file.name}': lists or objects are nested too deeply. Save it with fewer levels.",
            )
        except Exception as unknown:  # whatever a library stumbles over, other files are indexed
            reason = f"{type(unknown).__name__}: {unknown}"
            error = UnreadableFileError(
                f"'{file.name}'을(를) 읽을 수 없습니다({reason:.200}). 파일이 온전한지 확인하세요.",
                f"'{file.name}' cannot be read ({reason:.200}); check that the file is whole.",
            )
            error.__cause__ = unknown
        self._report.problems.append(Problem(file.name, error))


def _document(name: str, part: Part, note: str = "") -> StoredDocument:
    id_ = f"{name}#{part.name}" if part.name else name
    return StoredDocument(id_, part.text, {**part.metadata, FILE: name, NOTE: note})


def _changed(file: FoundFile) -> UnreadableFileError:
    return UnreadableFileError(
        f"'{file.name}': 읽는 동안 파일이 바뀌어 일부만 색인했습니다. 같은 명령을 다시 실행하세요.",
        f"'{file.name}' was changed while it was read, and is in the index in part. Run the same command again.",
    )
