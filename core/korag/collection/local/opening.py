"""Opening or making the collection that a caller describes, and checks before one is created."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from korag.analysis.tokenizers import TokenizerLike
from korag.collection.base import Collection
from korag.collection.local.arguments import EncoderLike, check_tokenizer, name_encoders, no_legs
from korag.collection.local.collection import LocalCollection
from korag.collection.local.remains import EMPTY
from korag.collection.local.replacing import finish_interrupted
from korag.collection.local.upgrade import missing_collection
from korag.errors import ForeignFolderError, IndexStateError, InvalidArgumentError
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
        ForeignFolderError: If it holds something else.
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
    try:
        return LocalCollection.open(
            folder, encoders=encoders, bm25=bm25, tokenizer=tokenizer, load_stored_models=load_stored_models
        )
    except ForeignFolderError as error:  # whose advice is for a new collection
        raise missing_collection(folder) from error


def open_or_make(
    encoders: Sequence[EncoderLike] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    server: Server | None = None,
    bm25: BM25Like = False,
    tokenizer: TokenizerLike = None,
    window: WindowSize = "auto",
    stride: int | None = None,
    codec: str | None = None,
    keep_vectors: bool | None = None,
    pool_factor: int | None = None,
    collection: Collection | None = None,
    load_stored_models: bool = False,
) -> Collection:
    """Returns the collection that the arguments of a vector store describe.

    Args:
        encoders: As for `LocalCollection.open`.
        path: Folder of the collection, new or existing; None keeps it in memory.
        server: Where it is, in place of a folder.
        bm25: As for `LocalCollection.open`; not asking for it (False or None) leaves an existing folder its legs.
        tokenizer: Short for a tokenizer as `bm25`.
        window: As for `LocalCollection.open`.
        stride: As for `LocalCollection.open`.
        codec: As for `LocalCollection.open`.
        keep_vectors: As for `LocalCollection.open`.
        pool_factor: As for `LocalCollection.open`.
        collection: An open collection, of any store, in place of all the above.
        load_stored_models: As for `LocalCollection.open`.

    Raises:
        InvalidArgumentError: If `collection` is not one, or is given with what it has already; otherwise as
            `LocalCollection.open`.
    """
    if collection is not None:
        others = (encoders, path, server, tokenizer, stride, codec, keep_vectors, pool_factor)
        if bm25 or window != "auto" or any(other is not None for other in others):
            raise InvalidArgumentError(
                "collection과 함께 encoders, path, url, bm25, tokenizer, window, stride, codec, keep_vectors, "
                "pool_factor를 넣을 수 없습니다. 컬렉션에 이미 정해져 있습니다.",
                "collection cannot be combined with encoders, path, url, bm25, tokenizer, window, stride, codec, "
                "keep_vectors or pool_factor: the collection has its own.",
            )
        if not isinstance(collection, Collection):
            raise InvalidArgumentError(
                f"collection={collection!r:.80}은(는) korag.Collection이 아닙니다. Collection.open('폴더')로 연 "
                "것을 넣으세요.",
                f"collection={collection!r:.80} is not a korag.Collection; pass one that Collection.open('folder') "
                "returned.",
            )
        return collection
    existing = path is not None and is_taken(check_path("path", path))
    return make_collection(
        encoders,
        path=path,
        server=server,
        bm25=bm25 or (None if existing else False),
        tokenizer=tokenizer,
        window=window,
        stride=stride,
        codec=codec,
        keep_vectors=keep_vectors,
        pool_factor=pool_factor,
        load_stored_models=load_stored_models,
    )


@dataclass(frozen=True)
class Server:
    """Place of a collection on a Qdrant server.

    Attributes:
        url: The server's address.
        collection_name: The collection's name there.
        api_key: The server's key.
    """

    url: str
    collection_name: str
    api_key: str | None = field(default=None, repr=False)


def check_server(
    url: str | None, collection_name: str | None, api_key: str | None, *, path: str | os.PathLike[str] | None
) -> Server | None:
    """Returns the place that these arguments mean; None for none.

    Raises:
        InvalidArgumentError: If they contradict each other or `path`.
    """
    if url is None:
        for name, value in (("collection_name", collection_name), ("api_key", api_key)):
            if value is not None:
                raise InvalidArgumentError(
                    f"{name}=은(는) Qdrant 서버에 있는 컬렉션에만 씁니다. url='http://localhost:6333'을 함께 넣거나, "
                    f"폴더라면 {name} 대신 path=를 넣으세요.",
                    f"{name}= is for a collection on a Qdrant server; pass url='http://localhost:6333' too, or path= "
                    f"in place of {name} for a folder.",
                )
        return None
    if path is not None:
        raise InvalidArgumentError(
            f"path={os.fspath(path)!r:.80}과(와) url을 함께 넣었습니다. 폴더와 서버 가운데 하나만 넣으세요.",
            f"Both path={os.fspath(path)!r:.80} and url are given; the collection is in a folder or on a server.",
        )
    if collection_name is None:
        raise InvalidArgumentError(
            "url에는 서버에 있는 컬렉션의 이름이 필요합니다. collection_name='문서'처럼 넣으세요.",
            "url needs the name of a collection on the server: collection_name='documents'.",
        )
    return Server(url, collection_name, api_key)


def make_collection(
    encoders: Sequence[EncoderLike] | None,
    *,
    path: str | os.PathLike[str] | None,
    server: Server | None,
    bm25: BM25Like,
    tokenizer: TokenizerLike,
    window: WindowSize,
    stride: int | None,
    codec: str | None,
    keep_vectors: bool | None,
    pool_factor: int | None,
    load_stored_models: bool,
) -> Collection:
    """Opens or makes a collection in a folder, on a server or, if neither is given, in memory.

    Args:
        encoders: As for `LocalCollection.open`, like the other arguments.
        path: A folder, or None.
        server: A server, or None.
        bm25: Not asking for it (False or None) leaves an existing collection on a server its legs.
        tokenizer: Short for a tokenizer as `bm25`.
        window: Not for a server.
        stride: Not for a server.
        codec: Not for a server.
        keep_vectors: Not for a server.
        pool_factor: Merges token vectors.
        load_stored_models: Allows models that the folder or server names.

    Raises:
        InvalidArgumentError: If an argument does not apply to a server.
    """
    if server is not None:
        _check_for_server(window=window, stride=stride, codec=codec, keep_vectors=keep_vectors)
        from korag.collection.qdrant.collection import QdrantCollection  # its client is an extra

        return QdrantCollection.open(
            server.collection_name,
            url=server.url,
            api_key=server.api_key,
            encoders=encoders,
            bm25=bm25 or None,
            tokenizer=tokenizer,
            pool_factor=pool_factor,
            load_stored_models=load_stored_models,
        )
    if path is None:
        return LocalCollection.in_memory(
            encoders=encoders,
            bm25=bm25,
            tokenizer=tokenizer,
            window=window,
            stride=stride,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
        )
    return LocalCollection.open(
        path,
        encoders=encoders,
        bm25=bm25,
        tokenizer=tokenizer,
        window=window,
        stride=stride,
        codec=codec,
        keep_vectors=keep_vectors,
        pool_factor=pool_factor,
        load_stored_models=load_stored_models,
    )


def _check_for_server(**given: object) -> None:
    for name, value in given.items():
        if value is not None and not (name == "window" and value == "auto"):
            raise InvalidArgumentError(
                f"{name}={value!r:.80}: 폴더에 있는 컬렉션의 설정이라 url=과 함께 쓸 수 없습니다. {name}을(를) 빼세요.",
                f"{name}={value!r:.80} is a setting of collections in folders and does not go with url=; leave {name} "
                "out.",
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
