"""`LocalCollection`: documents and their vectors in one folder, or in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.analysis.repair.lexicon import Lexicon
from korag.analysis.tokenizers import TokenizerLike
from korag.checks import check_choice, check_flag
from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.local.arguments import EncoderLike, LegArguments, LegSettings
from korag.collection.local.database import DATABASE_FILE, Database
from korag.collection.local.documents import LocalDocuments
from korag.collection.local.editing import Editor
from korag.collection.local.fitted import NAME as FUSION_SETTING
from korag.collection.local.fitted import check_fitted, read_fusion
from korag.collection.local.lexicons import LexiconReader
from korag.collection.local.manifest import current_manifest, describe, make_legs, read_manifest, reopen_legs
from korag.collection.local.merging import Merger
from korag.collection.local.moving import StoredVectors
from korag.collection.local.remains import EMPTY, check_database_there
from korag.collection.local.replacing import finish_interrupted
from korag.collection.local.saving import save_copy
from korag.collection.local.search import Searcher
from korag.collection.local.segment_stores import SEGMENT_FOLDER, SegmentFolder, SegmentMemory, SegmentStore
from korag.collection.local.snapshot import SnapshotReader
from korag.collection.local.stored_models import StoredModels
from korag.collection.local.upgrade import upgrade_folder
from korag.collection.local.verifying import VerifyReport, verify_folder
from korag.collection.local.views import repeated
from korag.collection.local.writing import Writer
from korag.collection.of_legs import CollectionOfLegs
from korag.collection.runs import LegRuns
from korag.collection.truncation import windows_of
from korag.errors import ForeignFolderError, IndexStateError
from korag.explanations import LegExplanation
from korag.fusion import Fusion
from korag.keywords import checks_keywords
from korag.legs.base import Leg, ModelFreeLeg
from korag.legs.lexical import BM25Like
from korag.legs.multi_vector.settings import check_tokens
from korag.legs.windows.settings import Windows, WindowSize
from korag.paths import check_path
from korag.storage import is_taken, storage_errors
from korag.text import check_texts


class LocalCollection(LocalDocuments, CollectionOfLegs):
    """Documents with one representation per leg, in a folder or in memory. Made by `open` or `in_memory`.

    Many threads may use one collection, and many processes one folder: one writes at a time, the others wait. Whatever
    `add` or `delete` has returned from survives a kill at any moment.

    Texts are stored and returned as given; searching reads them as `korag.text.normalize` does.
    Empty documents are kept and never found.
    """

    _called = "Collection"

    def __init__(self, database: Database, segments: SegmentStore, legs: Mapping[str, Leg]) -> None:
        """Puts a collection together; use `open` or `in_memory`.

        Args:
            database: Documents and manifest.
            segments: Vectors.
            legs: By name.
        """
        self._database = database
        self._segments = segments
        self._legs = dict(legs)
        codecs = {name: leg.codec for name, leg in legs.items()}
        dims = {name: leg.encoder.dim for name, leg in legs.items() if leg.encoder is not None}
        self._reader = SnapshotReader(database, segments, codecs, dims)
        self._searcher = Searcher(database, self._reader, self._legs)
        self._lexicons = LexiconReader(database)
        self._writer = Writer(database, segments, codecs, self._place)
        self._merger = Merger(self._writer, segments, self._reader, self._legs)
        self._vectors = StoredVectors(database, self._reader, self._place)
        self._editor = Editor(database, segments, self._reader, self._writer, self._merger, self._legs)

    @classmethod
    @checks_keywords
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoders: Sequence[EncoderLike] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        legs: LegSettings = None,
        codecs: Mapping[str, str] | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        timeout: float = 30.0,
        load_stored_models: bool = False,
    ) -> Self:
        """Opens the collection in a folder, or makes a new one there.

        A folder with anything of a collection in it is never taken for a new one. If the folder is moved, replaced or
        deleted while it is open, every call raises `IndexStateError`; what is there then is left alone.

        A collection of an older KoRAG is read as it is. The first write records it in the current format; `upgrade`
        also rewrites its segments.

        Args:
            path: The folder. A new collection needs one that is empty or does not exist.
            encoders: Names, paths or loaded encoders, at most one of each family. An existing collection has
                recorded its own; those given must be the ones it was built with. Those not given are loaded if they
                are bundled models or inside the folder, or if `load_stored_models` is True.
            bm25: Also search with BM25: True for character bigrams, ``"kiwi"``, a function from text to tokens, or
                `korag.BM25` settings; a list of these, ``["bigram", "kiwi"]``, makes a leg of each, ``"bm25"`` and
                ``"bm25_kiwi"``. None takes what the collection has (False for a new one).
            tokenizer: Short for a tokenizer as `bm25`.
            legs: Registered legs that need no model: a list of names, or a dict of name and settings. ``bm25=True,
                tokenizer=…`` is short for ``legs={"bm25": {"tokenizer": …}}``. Recorded in an existing collection.
            codecs: How a new collection stores a leg's vectors, by leg; the leg's default where not given.
                ``{"dense": "int8"}`` rounds dense vectors and takes a quarter of the space of ``"float32"``.
            codec: How a new collection stores the token vectors of its ColBERT model: ``"float16"`` (the default)
                keeps them, ``"int8"``, ``"4bit"``, ``"2bit"`` and ``"1bit"`` take less and score with what is left.
                Short for ``codecs={"colbert": …}``. None takes what the collection has.
            keep_vectors: Keep the float16 vectors too, on disk, where `codec` does not: the best documents are scored
                by them, and `upgrade` can change the codec. None takes what the collection has (False for a new one).
            pool_factor: Merge similar token vectors of each document, so that one is left for so many (see
                `korag.legs.multi_vector.pooling`); 1 merges none. With mini-colbert, 2 costs 3 points of nDCG@10 and 3
                costs 4 to 5; ``korag eval --pool-factor`` measures it for your model and documents. None takes what the
                collection has (1 for a new one).
            window: Documents of more tokens than that are split into overlapping windows for the models, and are found
                by the best of them. ``"auto"`` takes what the collection has, and for a new one the most tokens that
                each model reads; an integer takes fewer; None lets models read the beginning of a document only.
            stride: A window begins so many tokens after the one before; None for three quarters of `window`.
            timeout: Seconds to wait for another process that is writing.
            load_stored_models: Load the models that the folder names from wherever they are, the Hub included; only
                for a folder you trust. Never runs code that comes with a model.

        Raises:
            ForeignFolderError: If the folder holds something else.
            FormatVersionError: If a newer KoRAG made it, or one that is too old.
            FingerprintError: If it was built with another encoder, setting or codec.
            IndexStateError: If one of its encoders cannot be loaded or must be named, a leg or codec is not registered
                here, or the database is missing, another collection's, or lacks commits. To go on with what is left of
                one that lacks commits, delete ``korag.committed`` in the folder.
            InvalidArgumentError: If a new collection is given nothing to search by, or a leg or codec is unknown.
            AccessError: If the folder may not be read.
            ReadOnlyError: If a new collection may not be written there.
            StorageFullError: If there is not enough space for a new one.
        """
        check_flag("load_stored_models", load_stored_models)
        folder = check_path("path", path)
        asked = LegArguments.check(
            encoders=encoders,
            bm25=bm25,
            tokenizer=tokenizer,
            legs=legs,
            codecs=codecs,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            window=window,
            stride=stride,
        )
        file = folder / DATABASE_FILE
        with storage_errors(folder, writing=False):
            finish_interrupted(folder)
            check_database_there(file)
            # In this order, because another process that is making it creates the database first.
            foreign = is_taken(folder, ignored=EMPTY) and not file.exists()
            known = file.exists()
        if foreign:
            raise ForeignFolderError(
                f"'{folder}'에는 KoRAG 컬렉션이 아닌 것이 있습니다. 비어 있거나 없는 폴더를 쓰세요. "
                "아무것도 바꾸지 않았습니다.",
                f"'{folder}' holds something other than a KoRAG collection. Use a folder that is empty or does not "
                "exist; nothing was changed.",
            )
        # Before anything is created, so that a wrong argument leaves no folder behind.
        new = None if known else describe(make_legs(asked))
        if new is not None:
            with storage_errors(folder, writing=True):
                folder.mkdir(parents=True, exist_ok=True)
        database = Database(file, timeout=timeout)
        try:
            if database.is_new():  # new, or a process was killed between making the file and its tables
                database.create({"legs": new or describe(make_legs(asked))})
            database.remember()
            manifest, _ = read_manifest(database)
            stored = StoredModels(f"'{folder}'", folder, load_stored_models)
            opened = reopen_legs(manifest, asked, stored)
            return cls(database, SegmentFolder(folder / SEGMENT_FOLDER), opened)
        except BaseException:
            database.close()
            raise

    @classmethod
    @checks_keywords
    def in_memory(
        cls,
        *,
        encoders: Sequence[EncoderLike] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        legs: LegSettings = None,
        codecs: Mapping[str, str] | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        window: WindowSize = "auto",
        stride: int | None = None,
    ) -> Self:
        """Makes a collection that lives as long as the object; arguments as for `open`."""
        asked = LegArguments.check(
            encoders=encoders,
            bm25=bm25,
            tokenizer=tokenizer,
            legs=legs,
            codecs=codecs,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            window=window,
            stride=stride,
        )
        made = make_legs(asked)
        database = Database(None)
        database.create({"legs": describe(made)})
        return cls(database, SegmentMemory(), made)

    def empty(self) -> Self:
        """Makes a collection in memory, without documents, whose legs are this one's with all their settings."""
        database = Database(None)
        database.create({"legs": describe(self._legs)})
        return type(self)(database, SegmentMemory(), self._legs)

    @classmethod
    @checks_keywords
    def upgrade(
        cls,
        path: str | os.PathLike[str],
        *,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        timeout: float = 30.0,
    ) -> int:
        """Rewrites a collection in the current format, or with another codec, without encoding any text.

        No model is loaded. All changes become visible in one commit; a kill at any moment leaves a whole collection,
        old or new. Opening a collection reads old formats too, so without `codec` this only saves converting them again
        every time. Where the collection is open with the old codec, every call raises `IndexStateError` from then on.

        Args:
            path: The folder.
            codec: Store the token vectors with another codec, made from the float16 vectors; see `open`. None leaves
                it as it is.
            keep_vectors: Keep the float16 vectors; None for False where `codec` is given and does not consist of them.
                Without them, this cannot be done again. With `codec` left out, False drops them, if the codec does not
                consist of them.
            timeout: Seconds to wait for another process that is writing.

        Returns:
            The number of segments rewritten; 0 if everything is up to date.

        Raises:
            InvalidArgumentError: If there is no such codec, or the collection has no token vectors.
            IndexStateError: If there is no collection, one of its legs or codecs is not registered here, or it has not
                kept the vectors that another codec needs.
            ForeignFolderError: If the folder holds something else.
            FormatVersionError: If a newer KoRAG made it, or one that is too old.
            CollectionLockedError: If another process is still writing after the time-out.
            ReadOnlyError: If the folder cannot be written to.
            StorageFullError: If there is not enough space; the collection stays as it was.
            SegmentError: If a segment is missing or damaged.
        """
        tokens = check_tokens(codec, keep_vectors, None)
        return upgrade_folder(check_path("path", path), timeout=timeout, tokens=tokens)

    @classmethod
    def verify(cls, path: str | os.PathLike[str], *, timeout: float = 30.0) -> VerifyReport:
        """Reads everything in a collection's folder and reports whatever is wrong; changes nothing.

        The database's pages and indexes, the checksum of every document and segment, every array, and whether documents
        and segments fit together. No model is loaded. Opening a collection and reading from it verify what they read;
        this finds damage in the rest before it is needed, for example after a copy.

        Args:
            path: The folder.
            timeout: Seconds to wait for another process, where SQLite must.

        Returns:
            The report: ``ok``, and an error for each of the ``problems``.

        Raises:
            IndexStateError: If there is no collection, one of its legs or codecs is not registered here, or its tables
                are not those that KoRAG makes.
            ForeignFolderError: If the folder holds something else.
            FormatVersionError: If a newer KoRAG made it, or one that is too old.
        """
        return verify_folder(check_path("path", path), timeout=timeout)

    # -- documents ----------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Rewrites all segments without the vectors of deleted and replaced documents."""
        self._merger.merge_all()

    # -- search -------------------------------------------------------------------------------------------

    @property
    def index_bytes(self) -> int:
        """Bytes of the vectors and postings of all legs; texts and metadata are not counted."""
        legs = [leg for reader in self._reader.read().readers for leg in reader.legs.values()]
        return sum(array.nbytes for leg in legs for array in leg.arrays.values())

    @property
    def path(self) -> Path | None:
        """The folder; None in memory."""
        return self._database.path.parent if self._database.path else None

    @property
    def fitted_fusion(self) -> Fusion | None:
        """The fusion fitted to this collection, which ``fusion="auto"`` uses; None for the library's default.

        Raises:
            IndexStateError: If what is stored is not a fusion.
        """
        return read_fusion(self._database, self._legs)

    def store_fusion(self, fusion: Fusion | None) -> None:
        """Stores the fusion that ``fusion="auto"`` uses from now on, in every process; part of copies.

        Args:
            fusion: The fusion; None for the library's default.

        Raises:
            InvalidArgumentError: If it is no fusion of this collection's legs.
            CollectionLockedError: If another process is still writing after the time-out.
            ReadOnlyError: If the folder cannot be written to.
            StorageFullError: If there is not enough space.
        """
        recorded = None if fusion is None else check_fitted(fusion, self.legs).to_dict()
        with self._writer.writing():
            self._database.replace_setting(FUSION_SETTING, recorded)

    def _windows(self) -> dict[str, Windows]:
        return windows_of(self._legs)

    def _leg_runs(
        self, queries: list[str], legs: Sequence[str], fetch: int, where: Mapping[str, Any] | None = None
    ) -> list[LegRuns]:
        return self._searcher.leg_runs(queries, legs, fetch, where)

    def _explain_legs(self, query: str, legs: Sequence[str], document: StoredDocument) -> dict[str, LegExplanation]:
        return self._searcher.explain(query, legs, document)

    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        return self._searcher.search(queries, legs, options)

    def confidences(self, queries: Sequence[str], *, using: str) -> list[float]:
        """Returns how far a leg is to be trusted for each query, as a hybrid search weighs it; 1 is nothing special.

        Args:
            queries: None of them empty.
            using: The leg.

        Raises:
            InvalidTextError: If a query is not a string.
            InvalidArgumentError: If this collection has no such leg.
        """
        leg = check_choice("using", using, self.legs)
        return self._searcher.confidences(check_texts(queries, "queries"), leg)

    def _lexicon(self) -> Lexicon:
        return self._lexicons.read()

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

    def _similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        return self._searcher.similarities(ids, legs)

    # -- copies -------------------------------------------------------------------------------------------

    @repeated
    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes a copy of the whole collection into a folder, for `open`.

        The copy is written to a temporary folder and renamed, so that a folder of that name is always complete.

        Args:
            path: The folder; empty or not there, unless `overwrite`. The collection's own folder is left as it is:
                everything is in it already.
            overwrite: Replace a collection that is there.

        Returns:
            The folder.

        Raises:
            InvalidArgumentError: If there is a collection and `overwrite` is False.
            ForeignFolderError: If there is something else, or something besides a collection; that is never replaced.
            ReadOnlyError: If the folder cannot be written.
            StorageFullError: If there is not enough space; nothing is left behind.
        """
        folder = check_path("path", path)
        with storage_errors(folder, writing=True):
            if self.path is not None and folder.exists() and folder.samefile(self.path):
                self._database.generation()  # raises unless it is this collection that is there
                return folder
        with self._reader.reading() as snapshot:  # documents and segments of one moment
            manifest, _ = current_manifest(self._database, self._place)
            return save_copy(self._database, snapshot, manifest, folder, overwrite=overwrite)

    # -- life ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the folder's files; the collection cannot be used afterwards. Reads in progress end as they would."""
        self._database.close()
        self._reader.close()

    @property
    def _place(self) -> str:
        """The collection in messages."""
        return f"'{self.path}'" if self.path else ":memory:"

    def __repr__(self) -> str:
        place = f"'{self.path}'" if self.path else "in memory"
        return f"Collection({place}, documents={len(self)}, legs={list(self.legs)})"

    def __getstate__(self) -> dict[str, Any]:
        """A folder is pickled as its path; a collection in memory with all it holds."""
        state: dict[str, Any] = {
            "encoders": list(self.encoders.values()),
            "legs": {name: leg.arguments for name, leg in self._legs.items() if isinstance(leg, ModelFreeLeg)},
        }
        if isinstance(self._segments, SegmentMemory):
            with self._database.reading():  # both of one moment
                return state | {"database": self._database.dump(), "segments": self._segments.copy()}
        return state | {"path": self.path, "timeout": self._database.timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "database" in state:
            database = Database(None)
            database.restore(state["database"])
            manifest, _ = read_manifest(database)
            asked = LegArguments.check(encoders=state["encoders"], legs=state["legs"])
            legs = reopen_legs(manifest, asked, StoredModels(":memory:"))
            LocalCollection.__init__(self, database, state["segments"], legs)
            return
        folder: Path = state["path"]
        with storage_errors(folder, writing=False):
            finish_interrupted(folder)
            is_there = (folder / DATABASE_FILE).exists()
        if not is_there:  # opening would make an empty one
            raise IndexStateError(
                f"'{folder}'에 있던 컬렉션이 없습니다. 옮겼다면 Collection.open으로 새 위치에서 여세요.",
                f"The collection in '{folder}' is gone. If it was moved, open it there with Collection.open.",
            )
        opened = LocalCollection.open(folder, encoders=state["encoders"], legs=state["legs"], timeout=state["timeout"])
        vars(self).update(vars(opened))
