"""`LocalCollection`: documents and their vectors in one folder, or in memory."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.checks import check_deletion, check_ids
from korag.collection.base import COMMIT_DOCUMENTS, Collection, Hit, SearchOptions
from korag.collection.documents import StoredDocument, check_documents
from korag.collection.local.database import DATABASE_FILE, Database
from korag.collection.local.manifest import (
    EncoderLike,
    TokenizerLike,
    describe,
    match_encoders,
    match_tokenizer,
    name_encoders,
)
from korag.collection.local.saving import SEGMENT_FOLDER, save_copy
from korag.collection.local.search import Searcher, warn_empty
from korag.collection.local.segments import SegmentFolder, SegmentMemory, SegmentStore
from korag.collection.local.snapshot import SnapshotReader, choose_merge, merge_views
from korag.encoders.base import Encoder
from korag.errors import CollectionLockedError, ForeignFolderError, IndexStateError, InvalidArgumentError
from korag.filters import parse, to_sql
from korag.legs.base import Leg
from korag.legs.bm25 import BM25Leg
from korag.legs.registry import make_leg
from korag.legs.tokenizers import Tokenizer, resolve_tokenizer
from korag.text import is_empty


class LocalCollection(Collection):
    """Documents with one representation a leg: ``"dense"``, ``"sparse"``, ``"colbert"``, ``"bm25"``.

    Made by `open` or `in_memory`. Searches are exact. Many threads may use one collection, and many processes
    one folder: one writes at a time, the others wait. Whatever `add` or `delete` has returned from survives a
    kill at any moment.

    Texts are stored and returned as they were given; searching goes by their NFC form. Empty documents are
    kept, and never found.
    """

    def __init__(
        self,
        database: Database,
        segments: SegmentStore,
        encoders: Mapping[str, Encoder[Any]],
        tokenizer: Tokenizer | None,
    ) -> None:
        self._database = database
        self._segments = segments
        self._encoders = dict(encoders)
        self._tokenizer = tokenizer
        self._legs: dict[str, Leg] = {name: make_leg(encoder) for name, encoder in encoders.items()}
        if tokenizer is not None:
            self._legs["bm25"] = BM25Leg(tokenizer)
        self._reader = SnapshotReader(database, segments)
        self._searcher = Searcher(database, self._reader, self._legs)
        self._cleaned = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoders: Sequence[EncoderLike] | None = None,
        bm25: bool | None = None,
        tokenizer: TokenizerLike = None,
        timeout: float = 30.0,
    ) -> Self:
        """Opens the collection in a folder, or makes a new one there.

        Args:
            path: The folder. A new collection needs one that is empty or does not exist.
            encoders: Names, paths or loaded encoders, one of each family at most. An existing collection
                knows its own; those given must be the ones it was built with.
            bm25: Also search by words. None takes what the collection has (False for a new one).
            tokenizer: For BM25: None for character bigrams, ``"kiwi"``, or a function from text to tokens.
            timeout: Seconds to wait for another process that is writing.

        Raises:
            ForeignFolderError: If the folder holds something else.
            FormatVersionError: If a newer KoRAG made it.
            FingerprintError: If it was built with another encoder or tokenizer.
            InvalidArgumentError: If a new collection is given nothing to search by.
        """
        folder = Path(path).absolute()  # the working directory may change
        named = name_encoders([] if encoders is None else encoders)
        file = folder / DATABASE_FILE
        # Asked in this order: where another process is making it, the database is the first file there.
        if folder.exists() and (folder.is_file() or any(folder.iterdir())) and not file.exists():
            raise ForeignFolderError(
                f"'{folder}'에는 KoRAG 컬렉션이 아닌 것이 있습니다. 비어 있거나 없는 폴더를 쓰세요. "
                "아무것도 바꾸지 않았습니다.",
                f"'{folder}' holds something other than a KoRAG collection. Use a folder that is empty or does not "
                "exist; nothing was changed.",
            )
        # Worked out before anything is made, so that a wrong argument leaves no folder behind.
        manifest = None if file.exists() else describe(named, cls._new_tokenizer(named, bm25, tokenizer))
        if manifest is not None:
            folder.mkdir(parents=True, exist_ok=True)
        database = Database(file, timeout=timeout)
        try:
            if database.version() == 0:  # new, or a process was killed between making the file and its tables
                database.create(manifest or describe(named, cls._new_tokenizer(named, bm25, tokenizer)))
            stored = {name: database.setting(name) for name in ("legs", "tokenizer")}
            place = f"'{folder}'"
            resolved = match_tokenizer(stored, bm25, tokenizer, place)
            return cls(database, SegmentFolder(folder / SEGMENT_FOLDER), match_encoders(stored, named, place), resolved)
        except BaseException:
            database.close()
            raise

    @classmethod
    def in_memory(
        cls,
        *,
        encoders: Sequence[EncoderLike] | None = None,
        bm25: bool = False,
        tokenizer: TokenizerLike = None,
    ) -> Self:
        """Makes a collection that lives as long as the object; arguments as for `open`."""
        named = name_encoders([] if encoders is None else encoders)
        resolved = cls._new_tokenizer(named, bm25, tokenizer)
        database = Database(None)
        database.create(describe(named, resolved))
        return cls(database, SegmentMemory(), named, resolved)

    @staticmethod
    def _new_tokenizer(
        encoders: Mapping[str, Encoder[Any]],
        bm25: bool | None,  # noqa: FBT001 (private, mirrors the public keyword)
        tokenizer: TokenizerLike,
    ) -> Tokenizer | None:
        if not encoders and not bm25:
            raise InvalidArgumentError(
                "새 컬렉션에는 검색 방식이 하나는 있어야 합니다: encoders=['mini-colbert'] 또는 bm25=True.",
                "A new collection needs something to search by: encoders=['mini-colbert'] or bm25=True.",
            )
        if tokenizer is not None and not bm25:
            raise InvalidArgumentError(
                f"tokenizer={tokenizer!r:.60}를 넣었지만 쓸 BM25가 없습니다. bm25=True도 넣거나 빼세요.",
                f"tokenizer={tokenizer!r:.60} was given, but there is no BM25 for it; add bm25=True or leave it out.",
            )
        return resolve_tokenizer(tokenizer) if bm25 else None

    # -- documents ----------------------------------------------------------------------------------------

    def add(
        self,
        texts: Iterable[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """Adds documents; those with an id that exists replace it and count as newly inserted.

        Everything is checked first. Documents are then encoded and committed 2,048 at a time; a process
        killed in between keeps the batches that were committed, and adding the same ids again repairs it.

        Args:
            texts: The documents.
            ids: Their ids, all different; made up where not given.
            metadata: A dict of JSON values for each; copied.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If a text or id is not a string.
            InvalidArgumentError: If numbers differ, an id comes twice, or metadata is not JSON.
            CollectionLockedError: If another process is still writing after the time-out.
            ReadOnlyError: If the folder cannot be written to.
        """
        documents = check_documents(texts, ids, metadata)
        if documents:
            self._reader.read()  # merging reads every segment: a damaged one is an error before any work
        for start in range(0, len(documents), COMMIT_DOCUMENTS):
            self._add_batch(documents[start : start + COMMIT_DOCUMENTS], show_progress)
        return [document.id for document in documents]

    def _add_batch(self, documents: list[StoredDocument], show_progress: bool | None) -> None:  # noqa: FBT001
        filled = [index for index, document in enumerate(documents) if not is_empty(document.text)]
        texts = [documents[index].text for index in filled]
        if len(filled) < len(documents):
            warn_empty(len(documents) - len(filled), len(documents))
        arrays: dict[str, Any] = {}
        for name, leg in self._legs.items():
            vectors = leg.encode_documents(texts, show_progress=show_progress)
            arrays |= {f"{name}.{array}": value for array, value in leg.pack(vectors).items()}
        with self._writing():
            keys = self._database.upsert(documents)
            if filled:
                entry = self._segments.write({"keys": keys[filled], **arrays}, len(filled))
                self._database.replace_segments([], [entry])
        self._merge_if_worth()

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Removes documents by id, by filter, or those among `ids` that the filter matches.

        Returns:
            How many were removed. Ids that do not exist are passed over.

        Raises:
            InvalidArgumentError: If neither is given.
        """
        check_deletion("where={}", ids=ids, where=where)
        checked = None if ids is None else check_ids(ids)
        condition = self._condition(where)
        with self._writing():
            keys = self._database.keys(*condition)
            if checked is not None:
                keys = np.intersect1d(keys, self._database.keys_of(checked))
            if len(keys):
                self._database.delete(keys)
        return len(keys)

    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        """Returns the documents that exist: by id in the order asked for, otherwise in the order added."""
        if ids is not None:
            checked = check_ids(ids)
            keys = np.intersect1d(self._database.keys(*self._condition(where)), self._database.keys_of(checked))
            found = {document.id: document for document in self._database.documents(keys).values()}
            return [copy.deepcopy(found[id_]) for id_ in checked if id_ in found]  # an id may be asked for twice
        keys = self._database.keys(*self._condition(where))
        documents = self._database.documents(keys)
        return [documents[int(key)] for key in keys if int(key) in documents]

    def __len__(self) -> int:
        return self._database.count()

    def compact(self) -> None:
        """Rewrites all segments without the vectors of deleted and replaced documents."""
        self._merge(lambda snapshot: snapshot.views)

    # -- search -------------------------------------------------------------------------------------------

    @property
    def legs(self) -> tuple[str, ...]:
        """The names `using` can take, ``"hybrid"`` aside."""
        return tuple(self._legs)

    @property
    def encoders(self) -> dict[str, Encoder[Any]]:
        """The encoders by leg."""
        return dict(self._encoders)

    @property
    def index_bytes(self) -> int:
        """Bytes of the vectors and postings of all legs; texts and metadata are not counted."""
        views = self._reader.read().views
        return sum(array.nbytes for view in views for name, array in view.arrays.items() if name != "keys")

    @property
    def path(self) -> Path | None:
        """The folder; None in memory."""
        return self._database.path.parent if self._database.path else None

    def _search(self, queries: list[str], options: SearchOptions) -> list[list[Hit]]:
        return self._searcher.search(queries, options)

    def search_by_vector(
        self,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        min_relevance: float | None = None,
    ) -> list[Hit]:
        """As `korag.collection.base.Collection.search_by_vector`."""
        return self._searcher.search_by_vector(vector, SearchOptions(k=k, where=where, min_relevance=min_relevance))

    def _similarities(self, ids: Sequence[str], using: str | None) -> tuple[list[str], NDArray[np.float32]]:
        return self._searcher.similarities(ids, using)

    def _condition(self, where: Mapping[str, Any] | None) -> tuple[str, list[object]]:
        return to_sql(parse(where))

    # -- writing ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A write transaction; the first one also removes files that a killed process left behind.

        Segment files are written inside the transaction, so whoever holds it knows that every file the
        database does not name is nobody's.
        """
        with self._database.transaction():
            self._database.check_writable()  # before any file is touched
            if not self._cleaned:
                self._segments.keep_only({entry.name for entry in self._database.segments()})
                self._cleaned = True
            yield

    def _merge_if_worth(self) -> None:
        if choose_merge(self._reader.read()):
            # The documents are committed: another process that writes for long is no reason to say they are not.
            with contextlib.suppress(CollectionLockedError):
                self._merge(choose_merge)

    def _merge(self, choose: Any) -> None:
        with self._writing():
            views = choose(self._reader.read())
            entries = [self._segments.write(arrays, rows) for arrays, rows in merge_views(views, self._legs)]
            self._database.replace_segments([view.entry for view in views], entries)
        with self._database.transaction():
            self._segments.keep_only({entry.name for entry in self._database.segments()})

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes a copy of the whole collection into a folder, for `open`.

        The copy is written beside it and then renamed, so that a folder of that name is always whole.

        Args:
            path: The folder; empty or not there, unless `overwrite`. The collection's own folder is left as it is:
                everything is in it already.
            overwrite: Replace a collection that is there.

        Returns:
            The folder.

        Raises:
            InvalidArgumentError: If there is a collection and `overwrite` is False.
            ForeignFolderError: If there is something else; that is never replaced.
            ReadOnlyError: If the folder cannot be written.
        """
        folder = Path(path).absolute()
        if self.path is not None and folder.exists() and folder.samefile(self.path):
            return folder
        with self._database.lock:  # documents and segments of one moment
            snapshot = self._reader.read()
            return save_copy(self._database, snapshot, folder, overwrite=overwrite)

    # -- life ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the folder's files; the collection cannot be used afterwards."""
        self._database.close()

    def __repr__(self) -> str:
        place = f"'{self.path}'" if self.path else "in memory"
        return f"Collection({place}, documents={len(self)}, legs={list(self.legs)})"

    def __getstate__(self) -> dict[str, Any]:
        """A folder is pickled as its path; a collection in memory with all it holds."""
        state: dict[str, Any] = {"encoders": self._encoders, "tokenizer": self._tokenizer}
        if isinstance(self._segments, SegmentMemory):
            with self._database.lock:  # both of one moment
                return state | {"database": self._database.dump(), "segments": self._segments.copy()}
        return state | {"path": self.path, "timeout": self._database.timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "database" in state:
            database = Database(None)
            database.restore(state["database"])
            LocalCollection.__init__(self, database, state["segments"], state["encoders"], state["tokenizer"])
            return
        folder: Path = state["path"]
        if not (folder / DATABASE_FILE).exists():  # opening would make an empty one
            raise IndexStateError(
                f"'{folder}'에 있던 컬렉션이 없습니다. 옮겼다면 Collection.open으로 새 위치에서 여세요.",
                f"The collection in '{folder}' is gone. If it was moved, open it there with Collection.open.",
            )
        opened = LocalCollection.open(
            folder,
            encoders=list(state["encoders"].values()),
            bm25=state["tokenizer"] is not None,
            tokenizer=state["tokenizer"],
            timeout=state["timeout"],
        )
        vars(self).update(vars(opened))
