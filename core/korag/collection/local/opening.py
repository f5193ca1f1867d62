"""Opening a folder that must already hold a collection, and checks before one is created."""

from __future__ import annotations

import os
from collections.abc import Sequence

from korag.analysis.tokenizers import TokenizerLike
from korag.collection.local.collection import LocalCollection
from korag.collection.local.manifest import EncoderLike, check_tokenizer, name_encoders, no_legs
from korag.collection.local.remains import EMPTY
from korag.collection.local.replacing import finish_interrupted
from korag.errors import IndexStateError
from korag.legs.lexical import BM25Like, lexical_settings
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
