"""`PlaidIndex`: documents by a late-interaction model's token vectors, searched by fast-plaid."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from korag.checks import check_choice, check_count, check_deletion, check_ids
from korag.collection.adding import even_pace
from korag.collection.base import Collection, Hit, SearchOptions
from korag.collection.documents import (
    COMMIT_CHARACTERS,
    StoredDocument,
    check_documents,
    in_batches,
    warn_empty,
)
from korag.collection.editing import Documents
from korag.collection.local.arguments import EncoderLike
from korag.collection.moving import changed_meanwhile
from korag.collection.ranking import rank_hits
from korag.empty_query import warn_empty_query
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.encoders.progress import progress_bar
from korag.encoders.reports import one_call
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError, KoragError
from korag.forking import Lock
from korag.keywords import checks_keywords
from korag.paths import check_new_folder, check_path
from korag.plaid.engine import Engine, check_device
from korag.plaid.release import check_release, check_written_by
from korag.plaid.sources import FAMILY, TokenSource, encode, make_leg
from korag.plaid.table import Place, State, Table
from korag.plaid.writing import Change, changing
from korag.storage import atomic_folder
from korag.text import check_text, is_empty, to_nfc

_LEG = "colbert"
_NBITS = (1, 2, 4, 8)
_PACKED = 8
"""Dimensions whose codes it packs together."""
_LISTS, _SCORED = 8, 4_096
"""fast-plaid's own defaults."""


class PlaidIndex(Documents):
    """Documents by a late-interaction (ColBERT) model's token vectors, searched by fast-plaid. Made by `build`.

    >>> with PlaidIndex.build(collection, "my-plaid") as index:
    ...     hits = index.search("보증금은 언제 돌려받나요?", k=5, where={"연도": 2024})

    Ids, texts, metadata, filters and replacing are those of a collection. What it finds is approximate: PLAID compares
    a query with the documents in some lists of tokens, and with vectors of `nbits` bits a dimension. Filters, and the
    number of hits, are not: a filter is applied before the best are taken, and k hits come wherever k documents match.

    A change is made whole or not at all, even if the process is killed (see `korag.plaid`). It copies fast-plaid's
    files, so add many documents at once. Safe for use by many threads and processes; one at a time changes it.
    """

    def __init__(self, folder: Path, encoder: Encoder[Any], *, timeout: float, device: str | None) -> None:
        """Opens an index whose arguments are checked; use `build` or `open`.

        Args:
            folder: The folder.
            encoder: A late-interaction model.
            timeout: Seconds to wait for another process that is changing it.
            device: For torch; None leaves it to fast-plaid.

        Raises:
            ForeignFolderError: If it is not an index.
            FingerprintError: If the encoder is another one than the index's.
        """
        self._releases = check_release()
        self._folder, self._encoder, self._device = folder, encoder, device
        self._table = Table(folder, timeout=timeout)
        self._table.check()
        self._lock = Lock()
        self._opened: tuple[str, Engine] | None = None
        self._is_closed = False
        with self._table.reading() as transaction:
            state = transaction.state()
        _check_fingerprint(folder, state, encoder)
        self._leg = make_leg(encoder, state.windows, state.pool_factor)

    @classmethod
    @checks_keywords
    def build(
        cls,
        collection: Collection,
        folder: str | os.PathLike[str],
        *,
        nbits: int = 4,
        device: str | None = None,
        show_progress: bool | None = None,
    ) -> Self:
        """Makes an index of a collection's token vectors, in a new folder: whole, or not at all.

        A local collection's and a Qdrant server's stored vectors are taken as they are, in batches; another store's
        documents are encoded again by its encoder. A temporary file holds all vectors, 2 bytes a dimension.

        Args:
            collection: With a late-interaction model. Documents in several windows score as the best of them.
            folder: Must not exist.
            nbits: Bits for each dimension of a token vector: 1, 2, 4 or 8.
            device: For torch, as ``"cpu"`` or ``"cuda:0"``; None for all GPUs, or the CPU where there is none.
            show_progress: Show a progress bar; None shows one for more than 1,000 documents in a terminal.

        Returns:
            The index, open.

        Raises:
            MissingDependencyError: If fast-plaid is not installed, or beside another torch than it was compiled for.
            InvalidArgumentError: If an argument breaks its rule.
            IndexStateError: If the collection is changed meanwhile; nothing is left behind.
            StorageFullError: If there is not enough space; nothing is left behind.
        """
        releases = check_release()
        check_device(device)
        source, target = TokenSource(collection), check_new_folder("folder", folder)
        check_choice("nbits", nbits, _NBITS)
        if source.encoder.dim % _PACKED:
            raise InvalidArgumentError(
                f"모델의 벡터가 {source.encoder.dim}차원입니다. fast-plaid는 {_PACKED}의 배수인 차원만 받습니다. "
                "load_encoder(..., dim=...)으로 다른 차원을 고르세요.",
                f"The model's vectors have {source.encoder.dim} dimensions; fast-plaid takes multiples of {_PACKED} "
                "only. Choose another number with load_encoder(…, dim=…).",
            )
        made_by: dict[str, str] = dict(zip(("fast-plaid", "torch"), releases, strict=True))
        empty = State(
            index=None,
            size=0,
            live=0,
            documents=0,
            nbits=nbits,
            fingerprint=source.encoder.fingerprint,
            pool_factor=source.pool_factor,
            windows=source.windows,
            releases=made_by,
            files={},
        )
        with atomic_folder(target) as unfinished:
            Table(unfinished, timeout=0).create(empty)
            with cls(unfinished, source.encoder, timeout=0, device=device) as index:
                index._sync(source, len(collection), show_progress=show_progress)
        return cls(target, source.encoder, timeout=30.0, device=device)

    @classmethod
    @checks_keywords
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        encoder: EncoderLike,
        device: str | None = None,
        timeout: float = 30.0,
    ) -> Self:
        """Opens an index.

        Args:
            folder: Made by `build`.
            encoder: The model that made the collection's vectors: an encoder, a name or a path.
            device: As for `build`.
            timeout: Seconds to wait for another process that is changing it.

        Raises:
            MissingDependencyError: If fast-plaid is not installed, or beside another torch than it was compiled for.
            InvalidArgumentError: If an argument breaks its rule.
            ReadOnlyError: If the folder cannot be written: SQLite and fast-plaid keep locks in it, to search it too.
            ForeignFolderError: If it is not an index.
            FormatVersionError: If a newer KoRAG made it.
            FingerprintError: If another model, or the same with other settings, made the vectors.
        """
        check_release()
        check_device(device)
        return cls(check_path("folder", folder), as_encoder(encoder, family=FAMILY), timeout=timeout, device=device)

    # -- search -------------------------------------------------------------------------------------------

    @property
    def encoder(self) -> Encoder[Any]:
        """The model."""
        return self._encoder

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder

    @checks_keywords
    def search(
        self,
        query: str,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        min_relevance: float | None = None,
        n_ivf_probe: int = _LISTS,
        n_full_scores: int = _SCORED,
    ) -> list[Hit]:
        """Finds the k best documents for a query, as far as PLAID looks.

        Args:
            query: The query. An empty one, or one that the model has no token vectors of, finds nothing.
            k: Hits at most.
            where: Metadata filter, applied before the k best are taken (see `korag.filters`).
            min_relevance: Leave out hits of a lower `Hit.relevance`, in [0, 1].
            n_ivf_probe: Lists of tokens to read for each token of the query. More are read where these hold fewer than
                k documents that match.
            n_full_scores: Documents to score by all their tokens; a quarter of them, and at least k, by their vectors.

        Returns:
            Hits, best first; equal scores in insertion order.

        Raises:
            InvalidTextError: If the query is not a string.
            InvalidArgumentError: If a setting breaks its rule.
            FilterError: If `where` is not a filter.
            MissingDependencyError: If another fast-plaid wrote the files.
            IndexStateError: If fast-plaid's files are damaged, or it fails.
        """
        check_text(query, "query")
        options = SearchOptions(k=k, where=where, min_relevance=min_relevance)
        probes = check_count("n_ivf_probe", n_ivf_probe, at_least=1)
        scored = check_count("n_full_scores", n_full_scores, at_least=1)
        if is_empty(query):
            warn_empty_query()
            return []
        if not options.k:
            return []
        (tokens,) = self._encoder.encode_queries([query], show_progress=False)
        if not len(tokens):
            return []
        while True:
            with self._table.reading() as transaction:
                state = transaction.state()
                if state.index is None:
                    return []
                is_whole = where is None and state.live == state.size
                try:
                    found = self._engine(state).search(
                        tokens,
                        options.k,
                        documents=state.documents if where is None else transaction.count_owners(where),
                        owners=transaction.owners,
                        among=None if is_whole else transaction.positions(where),
                        n_ivf_probe=probes,
                        n_full_scores=scored,
                    )
                except KoragError:
                    if not self._is_replaced(state):
                        raise
                else:
                    places = transaction.at([number for number, _ in found])
                    break
        best: dict[int, tuple[float, Place]] = {}
        for number, score in sorted(found, key=lambda one: (-one[1], one[0])):  # of equal windows, the first
            best.setdefault(places[number].row.key, (score, places[number]))
        run = sorted(((key, score) for key, (score, _) in best.items()), key=lambda one: (-one[1], one[0]))
        return rank_hits(
            {_LEG: run},
            {_LEG: float((tokens * tokens).sum())},
            lambda keys: {key: best[key][1].row.document for key in keys},
            options,
            spans={_LEG: lambda key: best[key][1].span},
        )

    def _engine(self, state: State) -> Engine:
        """fast-plaid's files of this state, open."""
        assert state.index is not None  # noqa: S101 (the caller has checked)
        with self._lock:
            if self._is_closed:
                raise IndexStateError(
                    f"'{self._folder}'의 색인을 이미 닫았습니다. PlaidIndex.open으로 다시 여세요.",
                    f"The index in '{self._folder}' is closed; open it again with PlaidIndex.open.",
                )
            if self._opened is None or self._opened[0] != state.index:
                check_written_by(self._folder, state.releases, self._releases)
                engine = Engine(self._folder / state.index, state.size, state.files, self._device)
                self._opened = (state.index, engine)
            return self._opened[1]

    def _is_replaced(self, state: State) -> bool:
        """True if a change has removed the files of this state meanwhile: the search is to be repeated."""
        with self._table.reading() as transaction:
            return transaction.state().index != state.index

    # -- documents ----------------------------------------------------------------------------------------

    def add(
        self,
        texts: Iterable[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """Encodes and adds documents, all of them or none; otherwise as `korag.Collection.add`.

        In an index of more than 1,000 windows, lists and codes stay those of `build`, and new vectors get lists where
        they are far from the others.

        Args:
            texts: The documents. Long ones are split into windows, or the model reads their beginning, as the
                collection was made.
            ids: Their ids; one that is there is replaced. Generated if not given.
            metadata: A dict of JSON values for each.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            The ids, in order.
        """
        documents = check_documents(texts, ids, metadata)
        empty = sum(is_empty(document.text) for document in documents)
        if not documents:
            return []
        bar = progress_bar("Adding documents", len(documents), show=show_progress)
        with one_call(), bar as shown, self._changing() as change:
            for batch in in_batches(documents, even_pace(), COMMIT_CHARACTERS):
                change.put(batch, lambda some: encode(self._leg, some))
                shown.update(len(batch))
        if empty:
            warn_empty(empty, len(documents))
        return [document.id for document in documents]

    def sync(self, collection: Collection, *, show_progress: bool | None = None) -> None:
        """Makes this an index of what is in a collection now; only what differs is changed, and all of it or nothing.

        Vectors come from the collection, as for `build`.

        Args:
            collection: With the model of this index.
            show_progress: Show a progress bar; None shows one for more than 1,000 documents in a terminal.

        Raises:
            InvalidArgumentError: As for `build`.
            FingerprintError: If the collection's vectors are of another model.
            IndexStateError: If the collection is changed meanwhile.
        """
        source = TokenSource(collection)
        with self._table.reading() as transaction:
            state = transaction.state()
        _check_fingerprint(self._folder, state, source.encoder)
        if (state.windows, state.pool_factor) != (source.windows, source.pool_factor):
            raise FingerprintError(
                f"'{self._folder}'은(는) 문서를 나누거나 벡터를 합치는 방식이 이 컬렉션과 다릅니다: window "
                f"{state.windows} → {source.windows}, pool_factor {state.pool_factor} → {source.pool_factor}. "
                "PlaidIndex.build로 새 폴더에 만드세요.",
                f"'{self._folder}' splits documents or merges vectors in another way than this collection: window "
                f"{state.windows} → {source.windows}, pool_factor {state.pool_factor} → {source.pool_factor}. Make an "
                "index with PlaidIndex.build in a new folder.",
            )
        self._sync(source, len(collection), show_progress=show_progress)

    def _sync(self, source: TokenSource, total: int, *, show_progress: bool | None) -> None:
        kept: set[int] = set()
        before, read = source.ids(), []
        with progress_bar("Indexing documents", total, show=show_progress) as bar, self._changing() as change:
            for batch in in_batches(source.documents(), even_pace(), COMMIT_CHARACTERS):
                kept.update(change.put(batch, source.read))
                read += [document.id for document in batch]
                bar.update(len(batch))
            if sorted(read) != sorted(before) or source.ids() != before:  # one replaced is last, and may be unread
                raise changed_meanwhile(repr(source))
            change.keep_only(kept)

    def _changing(self) -> AbstractContextManager[Change]:
        return changing(self._folder, self._table, self._releases, self._device)

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Removes documents; arguments as for `korag.Collection.delete`. Returns how many were removed.

        They are not found from now on. Their vectors leave the folder when documents are added, or half of them are
        deleted.
        """
        check_deletion("where={}", ids=ids, where=where)
        checked = None if ids is None else check_ids(ids)
        with self._changing() as change:
            return change.remove(checked, where)

    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        """Returns the documents that exist: by id in the order given, otherwise in insertion order."""
        checked = None if ids is None else check_ids(ids)
        with self._table.reading() as transaction:
            found = [row.document for row in transaction.find(where, ids=checked)]
        if checked is None:
            return found
        by_id = {to_nfc(document.id): document for document in found}
        return [copy.deepcopy(by_id[nfc]) for nfc in map(to_nfc, checked) if nfc in by_id]  # an id may be given twice

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Number of documents that match a filter; of all documents without one."""
        with self._table.reading() as transaction:
            return transaction.count(where)

    def ids(self, where: Mapping[str, Any] | None = None) -> list[str]:
        """Returns the ids of the documents that match a filter, or of all, in insertion order."""
        with self._table.reading() as transaction:
            return transaction.ids(where)

    def __len__(self) -> int:
        return self.count()

    # -- life ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Releases fast-plaid's files; the index cannot be searched afterwards."""
        with self._lock:
            if self._opened is not None:
                self._opened[1].close()
            self._opened, self._is_closed = None, True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PlaidIndex('{self._folder}', documents={len(self)}, model={self._encoder.model_name!r})"


def _check_fingerprint(folder: Path, state: State, encoder: Encoder[Any]) -> None:
    if not (differences := encoder.differences(state.fingerprint)):
        return
    field, (was, now) = next(iter(differences.items()))
    made_by, model = state.fingerprint.model, encoder.model_name
    if made_by == model:
        korean = f"'{folder}'의 벡터는 '{model}'(으)로 만들었지만 설정이 다릅니다."
        english = f"'{folder}' was made by '{model}' with other settings."
    else:
        korean = f"'{folder}'의 벡터는 '{model}'이(가) 아니라 '{made_by}'(으)로 만들었습니다."
        english = f"'{folder}' was made by '{made_by}', not by '{model}'."
    raise FingerprintError(
        f"{korean} 다른 항목: {', '.join(differences)}. 예: {field} — 색인 {was!r}, 모델 {now!r}. 같은 모델과 설정을 "
        "쓰거나 PlaidIndex.build로 새 폴더에 만드세요.",
        f"{english} Fields that differ: {', '.join(differences)}; {field} is {was!r} in the index and {now!r} for the "
        "model. Use the same model and settings, or make an index with PlaidIndex.build in a new folder.",
    )
