"""Opening or making the collection that a caller describes, and checks before one is created."""

from __future__ import annotations

import os
from collections.abc import Sequence

from korag.analysis.tokenizers import TokenizerLike
from korag.collection.base import Collection
from korag.collection.local.collection import LocalCollection
from korag.collection.local.manifest import EncoderLike, check_tokenizer, name_encoders, no_legs
from korag.collection.local.remains import EMPTY
from korag.collection.local.replacing import finish_interrupted
from korag.errors import IndexStateError, InvalidArgumentError
from korag.legs.lexical import BM25Like, lexical_settings
from korag.legs.windows.settings import WindowSize
from korag.paths import check_path
from korag.storage import is_taken, storage_errors


def open_saved(
    path: str | os.PathLike[str],
    *,
    encoders: Sequence[EncoderLike] | None = None,
    bm25: BM25Like = None,
    tokenizer: TokenizerLike = None,
    load_stored_models: bool = False,
    made_by: str,
) -> LocalCollection:
    """Opens a folder that must hold a collection; `Collection.open` would create one.

    Args:
        path: The folder.
        encoders: The encoders it was built with; None loads those its manifest names.
        bm25: As for `LocalCollection.open`.
        tokenizer: The tokenizer it was built with, if that is the caller's own function.
        load_stored_models: As for `LocalCollection.open`.
        made_by: The call that creates such a folder, for the message.

    Raises:
        IndexStateError: If the folder does not exist or is empty.
        FingerprintError: If it was built with other encoders or another tokenizer.
    """
    folder = check_path("path", path)
    with storage_errors(folder, writing=False):
        finish_interrupted(folder)
        is_there = folder.is_dir() and is_taken(folder, ignored=EMPTY)
    if not is_there:
        raise IndexStateError(
            f"'{path}' 폴더에 저장된 컬렉션이 없습니다. 먼저 만드세요: {made_by}.",
            f"There is no collection in '{path}'; create it first: {made_by}.",
        )
    return LocalCollection.open(
        folder, encoders=encoders, bm25=bm25, tokenizer=tokenizer, load_stored_models=load_stored_models
    )


def open_or_make(
    encoders: Sequence[EncoderLike] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    bm25: BM25Like = False,
    tokenizer: TokenizerLike = None,
    window: WindowSize = "auto",
    stride: int | None = None,
    collection: Collection | None = None,
    load_stored_models: bool = False,
) -> Collection:
    """Returns the collection that the arguments of a vector store describe.

    Args:
        encoders: As for `LocalCollection.open`.
        path: Folder of the collection, new or existing; None keeps it in memory.
        bm25: As for `LocalCollection.open`; not asking for it (False or None) leaves an existing folder its legs.
        tokenizer: Short for a tokenizer as `bm25`.
        window: As for `LocalCollection.open`.
        stride: As for `LocalCollection.open`.
        collection: An open collection, of any store, in place of all the above.
        load_stored_models: As for `LocalCollection.open`.

    Raises:
        InvalidArgumentError: If `collection` is not one, or is given with what it has already; otherwise as
            `LocalCollection.open`.
    """
    if collection is not None:
        split = window != "auto" or stride is not None
        if encoders is not None or path is not None or bm25 or tokenizer is not None or split:
            raise InvalidArgumentError(
                "collection과 함께 encoders, path, bm25, tokenizer, window, stride를 넣을 수 없습니다. "
                "컬렉션에 이미 정해져 있습니다.",
                "collection cannot be combined with encoders, path, bm25, tokenizer, window or stride: the "
                "collection has its own.",
            )
        if not isinstance(collection, Collection):
            raise InvalidArgumentError(
                f"collection={collection!r:.80}은(는) korag.Collection이 아닙니다. Collection.open('폴더')로 연 "
                "것을 넣으세요.",
                f"collection={collection!r:.80} is not a korag.Collection; pass one that Collection.open('folder') "
                "returned.",
            )
        return collection
    if path is None:
        return LocalCollection.in_memory(
            encoders=encoders, bm25=bm25, tokenizer=tokenizer, window=window, stride=stride
        )
    existing = is_taken(check_path("path", path))
    return LocalCollection.open(
        path,
        encoders=encoders,
        bm25=bm25 or (None if existing else False),
        tokenizer=tokenizer,
        window=window,
        stride=stride,
        load_stored_models=load_stored_models,
    )


def planned_legs(
    encoders: Sequence[EncoderLike], *, bm25: BM25Like, tokenizer: TokenizerLike = None
) -> tuple[str, ...]:
    """Returns the legs that a new collection of these encoders would have; creates nothing.

    Raises:
        InvalidArgumentError: If two encoders are of the same family, there is no leg at all, or a tokenizer is given
            without BM25.
    """
    check_tokenizer(tokenizer, bm25=bm25 is not None and bm25 is not False)
    legs = (*name_encoders(encoders), *lexical_settings(bm25, tokenizer))
    if not legs:
        raise no_legs()
    return legs
