"""One run over a folder's files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from korag.breadcrumbs import BREADCRUMB
from korag.collection.documents import StoredDocument, check_documents
from korag.collection.local.collection import LocalCollection
from korag.collection.pacing import Pace
from korag.errors import IndexStateError, KoragError, UnreadableFileError
from korag.folders.changes import Changes
from korag.folders.matching import match_texts
from korag.folders.records import FILE, NOTE, Indexed, Note, digest_of, short_hash
from korag.folders.reports import IndexReport, Progress
from korag.folders.scanning import FoundFile, Problem
from korag.reading.base import Part, ReadOptions
from korag.reading.registry import find_reader
from korag.splitting.chunks import Chunk
from korag.splitting.splitter import Splitter
from korag.storage import storage_error
from korag.text import is_empty

_READING = 1
"""Raised when a reader returns other texts, so that files are read again."""
_MARKDOWN = frozenset((".md", ".markdown", ".html", ".htm", ".xhtml", ".docx", ".hwpx"))
"""Types of files whose texts, as they have been read, are Markdown, whatever tags they show."""
_DOCUMENTS = 2_048
_CHARACTERS = 1_000_000
"""Of documents committed at a time; fewer documents if they take long."""


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
        if self._progress is not None:
            self._progress.begin(sum(file.size for file in due))
        for file in due:
            origin = changes.origins.get(file.name)
            if (read := self._read(file)) is not None:
                self._store(file, read, known.get(origin or file.name), origin)
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
            self._collection.update_metadata(indexed.ids, {NOTE: str(touched)})
        self._report.unchanged += 1
        return False

    def _read(self, file: FoundFile) -> list[StoredDocument] | None:
        """Returns a file's documents; None for one that cannot be read, which is noted."""
        with self._noting(file):
            digest = digest_of(file)
            reader = find_reader(file.path)
            parts = [] if reader is None else reader.read(file.path, self._options)
            facts = file.path.stat()
            is_same = (facts.st_size, facts.st_mtime_ns) == (file.size, file.time)
            # A file without text has an empty document, by which it is known.
            filled = [part for part in parts if not is_empty(part.text)] or [Part("", "")]
            split = [own for part in filled for own in self._split(part, file)]
            note = Note(file.size, file.time if is_same else 0, digest, len(split), self._how)
            documents = [_document(file.name, part, note) for part in split]
            self._check(file.name, documents)
            return documents
        return None

    def _check(self, name: str, documents: Sequence[StoredDocument]) -> None:
        """Finds what the collection would refuse or another file has, so that only this file is left out."""
        check_documents(
            [document.text for document in documents],
            [document.id for document in documents],
            [document.metadata for document in documents],
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
        self._owners.update((document.id, name) for document in documents)

    def _split(self, part: Part, file: FoundFile) -> list[Part]:
        """Returns what becomes a document each; a text that is one chunk keeps its name."""
        if self._splitter is None or is_empty(part.text):
            return [part]
        title = part.metadata.get("title")
        # Not the name of a table, whose texts are rows.
        name = "text.md" if file.path.suffix.lower() in _MARKDOWN else None
        chunks = self._splitter.split(part.text, filename=name, title=title if isinstance(title, str) else None)
        if len(chunks) < 2:  # none of a text without anything to search, such as empty tags
            return [Part(part.name, chunk.text, _metadata(chunk, part)) for chunk in chunks] or [part]
        return [
            Part(f"{part.name}#{number}" if part.name else str(number), chunk.text, _metadata(chunk, part))
            for number, chunk in enumerate(chunks, start=1)
        ]

    def _store(
        self, file: FoundFile, documents: list[StoredDocument], indexed: Indexed | None, origin: str | None
    ) -> None:
        """Keeps what is the same in the collection, and lines up the rest to be added."""
        if indexed is not None:
            self._keep_equal(indexed, documents)
        self._list(file.name, origin, is_new=indexed is None, is_empty=is_empty(documents[0].text))
        for place, document in enumerate(documents, start=1):
            self._documents.append(document)
            self._characters += len(document.text)
            self._bytes += file.size * place // len(documents) - file.size * (place - 1) // len(documents)
            if len(self._documents) >= self._pace.size or self._characters >= _CHARACTERS:
                self._flush()

    def _keep_equal(self, indexed: Indexed, documents: list[StoredDocument]) -> None:
        """Gives documents whose text and headings are still there their new ids, and removes the others."""
        old = {document.id: document.content for document in self._collection.get(indexed.ids)}
        match = match_texts(old, {document.id: document.content for document in documents})
        if match.gone:
            self._collection.delete(match.gone)
        if match.moved:
            self._collection.rename(match.moved)

    def _list(self, name: str, origin: str | None, *, is_new: bool, is_empty: bool) -> None:
        if origin is not None:
            self._report.renamed[origin] = name
        elif is_new:
            self._report.added.append(name)
        else:
            self._report.changed.append(name)
        if is_empty:
            self._report.without_text.append(name)

    def _flush(self) -> None:
        """Adds the documents that are waiting."""
        documents, size = self._documents, self._bytes
        self._documents, self._characters, self._bytes = [], 0, 0
        if not documents:
            return
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
        self._report.problems.append(Problem(file.name, error))


def _metadata(chunk: Chunk, part: Part) -> dict[str, Any]:
    """A chunk's metadata, where the columns of a row are left as they are."""
    metadata = {**chunk.to_metadata(), **part.metadata}
    return metadata | ({BREADCRUMB: chunk.breadcrumb} if chunk.breadcrumb else {})


def _document(name: str, part: Part, note: Note) -> StoredDocument:
    id_ = f"{name}#{part.name}" if part.name else name
    metadata: dict[str, Any] = {**part.metadata, FILE: name, NOTE: str(note)}
    return StoredDocument(id_, part.text, metadata)
