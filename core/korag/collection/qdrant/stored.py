"""A collection on a server that must be there already, and what is in it, read without loading a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from korag.collection.documents import StoredDocument
from korag.collection.local.opening import Server
from korag.collection.local.stored import LegInfo, leg_info
from korag.collection.qdrant.collection import QdrantCollection
from korag.collection.qdrant.connecting import check_name, check_version, reach
from korag.collection.qdrant.schema import LateInteraction, Schema
from korag.collection.qdrant.transport import Transport
from korag.errors import IndexStateError

_TIMEOUT, _RETRIES = 60.0, 5


@dataclass(frozen=True)
class ServerInfo:
    """The content of a collection on a server.

    Attributes:
        url: The server.
        collection: The collection's name there.
        documents: How many.
        legs: The ways to search.
        late_interaction: The ColBERT leg searches by itself, or reranks what the others find.
        fusion: The fusion fitted to it, as it is recorded; None for the default.
    """

    url: str
    collection: str
    documents: int
    legs: tuple[LegInfo, ...]
    late_interaction: LateInteraction
    fusion: Mapping[str, Any] | None


class StoredOnServer:
    """Reads a collection on a server; made by `reading`.

    Args:
        server: The server.
        transport: The way to it.
        schema: What is recorded there.
    """

    def __init__(self, server: Server, transport: Transport, schema: Schema) -> None:
        self._server, self._schema = server, schema
        self._collection = QdrantCollection(transport, {}, schema)  # without legs, it only reads documents

    def info(self) -> ServerInfo:
        """Returns what the collection holds."""
        return ServerInfo(
            self._server.url,
            self._server.collection_name,
            len(self._collection),
            tuple(leg_info(name, entry) for name, entry in self._schema.legs.items()),
            self._schema.late_interaction,
            self._schema.fusion,
        )

    def documents(self) -> Iterator[StoredDocument]:
        """Yields all documents in insertion order.

        Raises:
            IndexStateError: If some are added or deleted meanwhile.
        """
        return self._collection._in_order()


@contextmanager
def reading(server: Server) -> Iterator[StoredOnServer]:
    """Reads a collection on a server without its models, which need not be on this machine.

    Args:
        server: The server and the collection's name.

    Raises:
        InvalidArgumentError: If the address, name or key cannot be one.
        IndexStateError: If there is no such collection, or the server is too old.
        ForeignFolderError: If the collection was not made by KoRAG.
        FormatVersionError: If a newer KoRAG made it.
        ServerError: If the server does not answer, or refuses the key.
    """
    name = server.collection_name
    check_name(name)
    transport = reach(name, server.url, None, timeout=_TIMEOUT, retries=_RETRIES, api_key=server.api_key)
    try:
        check_version(transport)
        if not transport.call("collection_exists"):
            raise IndexStateError(
                f"{transport.place}: 서버에 그런 컬렉션이 없습니다. 이름을 확인하거나 QdrantCollection.open으로 먼저 "
                "만드세요.",
                f"{transport.place}: there is no such collection on the server. Check the name, or create it first "
                "with QdrantCollection.open.",
            )
        metadata = transport.call("get_collection").config.metadata
        yield StoredOnServer(server, transport, Schema.from_metadata(metadata, transport.place))
    finally:
        transport.close()


def open_existing(server: Server, *, encoders: list[str] | None, load_stored_models: bool) -> QdrantCollection:
    """Opens a collection that must be there; `QdrantCollection.open` would create one.

    Args:
        server: The server and the collection's name.
        encoders: As for `QdrantCollection.open`.
        load_stored_models: Likewise.

    Raises:
        KoragError: As `reading` and `QdrantCollection.open`.
    """
    with reading(server):
        pass
    return QdrantCollection.open(
        server.collection_name,
        url=server.url,
        api_key=server.api_key,
        encoders=encoders,
        load_stored_models=load_stored_models,
    )
