"""Changing an index: the next folder of fast-plaid's files, and one transaction that names it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from korag.collection.documents import StoredDocument, is_same
from korag.errors import KoragError
from korag.plaid.engine import (
    Files,
    check_files,
    count_documents,
    create_index,
    damaged_index,
    extend_index,
    list_files,
)
from korag.plaid.release import check_written_by
from korag.plaid.sources import Window
from korag.plaid.table import INDEX_NAME, Table, Transaction
from korag.plaid.tokens import TokenFile, keep_tokens, kept_tokens
from korag.storage import flush, storage_errors
from korag.text import is_empty, to_nfc

Encode = Callable[[Sequence[StoredDocument]], list[list[Window]]]
"""Returns the windows of documents."""
_TOKENS = "tokens.float16"


@contextlib.contextmanager
def changing(folder: Path, table: Table, releases: tuple[str, str], device: str | None) -> Iterator[Change]:
    """Everything changed inside is changed together, or not at all, even if the process is killed.

    Args:
        folder: The index's.
        table: Its table.
        releases: Of fast-plaid and torch.
        device: For torch; None leaves it to fast-plaid.

    Raises:
        CollectionLockedError: If another process is still changing it after the time-out.
        StorageFullError: If there is not enough space, and so the other errors of writing.
    """
    with storage_errors(folder, writing=True):
        change = None
        try:
            with table.writing() as transaction:
                before = transaction.state()
                for other in folder.iterdir():  # of a change that was killed
                    if INDEX_NAME.fullmatch(other.name) and other.name != before.index:
                        shutil.rmtree(other, ignore_errors=True)
                change = Change(folder, transaction, releases, device)
                yield change
                change.finish()
        except BaseException:
            if change is not None:
                _discard(table, change.next)
            raise
        if change.is_rewritten and before.index is not None:
            shutil.rmtree(folder / before.index, ignore_errors=True)  # Windows keeps what others have open


def _discard(table: Table, index: Path) -> None:
    """Removes the files of a change that failed; those of one that was interrupted behind its commit are kept."""
    with contextlib.suppress(KoragError, sqlite3.Error), table.reading() as transaction:  # else the next change does it
        if transaction.state().index != index.name:
            shutil.rmtree(index, ignore_errors=True)


class Change:
    """A change in progress.

    Args:
        folder: The index's.
        transaction: Begun for writing.
        releases: Of fast-plaid and torch.
        device: For torch; None leaves it to fast-plaid.

    Attributes:
        next: The next folder of fast-plaid's files.
        is_rewritten: There is one.
    """

    def __init__(self, folder: Path, transaction: Transaction, releases: tuple[str, str], device: str | None) -> None:
        self._folder, self._transaction, self._releases, self._device = folder, transaction, releases, device
        self._state = transaction.state()
        self.next = folder / f"index-{uuid.uuid4().hex}"
        self.is_rewritten = False
        self._tokens = TokenFile(self.next / _TOKENS, self._state.fingerprint.dim)

    def put(self, documents: Sequence[StoredDocument], encode: Encode) -> list[int]:
        """Adds documents. One with the id and text of another keeps its vectors and place.

        Args:
            documents: With ids that differ.
            encode: Asked for those alone that are new or have another text.

        Returns:
            Their keys.
        """
        there = {to_nfc(row.document.id): row for row in self._transaction.find(ids=[one.id for one in documents])}
        kept = {
            one.id: row
            for one in documents
            if (row := there.get(to_nfc(one.id))) is not None and row.document.content == one.content
        }
        read = [one for one in documents if one.id not in kept and not is_empty(one.text)]
        windows = dict(zip([one.id for one in read], encode(read) if read else [], strict=True))
        keys = []
        for one in documents:
            if (row := kept.get(one.id)) is not None:
                if not is_same(row.document, one):
                    self._transaction.update(row.key, one)
                keys.append(row.key)
                continue
            keys.append(key := self._transaction.insert(one))
            for window in windows.get(one.id, ()):
                self.next.mkdir(exist_ok=True)
                position = self._state.size + len(self._tokens)
                self._transaction.insert_window(position, key, window.begin, window.end)
                self._tokens.append(window.tokens)
        return keys

    def remove(self, ids: Sequence[str] | None, where: Mapping[str, Any] | None) -> int:
        """Removes documents by id, by filter or by both. Returns how many there were."""
        keys = [row.key for row in self._transaction.find(where, ids=ids)]
        self._transaction.delete(keys)
        return len(keys)

    def keep_only(self, keys: Set[int]) -> None:
        """Removes all documents but these."""
        self._transaction.delete([key for key in self._transaction.all_keys() if key not in keys])

    def finish(self) -> None:
        """Writes fast-plaid's files, if there are new vectors, or half are deleted and some of them now."""
        live, documents = self._transaction.count_windows()
        state = dataclasses.replace(self._state, live=live, documents=documents)
        dead = state.size + len(self._tokens) - live
        if len(self._tokens) or (live < self._state.live and dead >= live):
            self.is_rewritten = True
            index, (size, files) = (self.next.name, self._write()) if live else (None, (0, {}))
            self._transaction.renumber()
            releases = dict(zip(state.releases, self._releases, strict=True))
            state = dataclasses.replace(state, index=index, size=size, releases=releases, files=files)
        self._transaction.write_state(state)

    def _write(self) -> tuple[int, Files]:
        """Writes the next folder; returns how many windows are in it, copies included, and its files."""
        state, new = self._state, self._tokens.tensors()
        positions = self._transaction.positions()
        old = [position for position in positions if position < state.size]
        source = None if state.index is None else self._folder / state.index
        self.next.mkdir(exist_ok=True)
        if source is None or not old:
            size = self._create([*new])
        elif (kept := _kept(source)) is not None:
            size = self._create([*(kept[position] for position in old), *new])
        else:
            check_written_by(self._folder, state.releases, self._releases)
            check_files(source, state.files)
            size, alive = len(positions), set(old)
            dead = [position for position in range(state.size) if position not in alive]
            extend_index(source, self.next, dead, new, device=self._device)
        self._tokens.path.unlink(missing_ok=True)
        if (found := count_documents(self.next)) != size:
            raise damaged_index(self.next, f"num_documents={found}, {size}")
        for path in (*self.next.iterdir(), self.next, self._folder):
            flush(path)
        return size, list_files(self.next)

    def _create(self, documents: Sequence[Any]) -> int:
        size = create_index(self.next, documents, nbits=self._state.nbits, device=self._device)
        keep_tokens(self.next, documents)
        return size


def _kept(folder: Path) -> Sequence[Any] | None:
    try:
        return kept_tokens(folder)
    except (ValueError, EOFError) as error:
        raise damaged_index(folder, error) from error
