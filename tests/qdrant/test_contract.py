"""The contract of every store, on the embedded engine and on a real server where there is one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from edge_server import EdgeServer

from korag import QdrantCollection
from korag.testing import CollectionContract


class TestOnTheEngine(CollectionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, module_server: EdgeServer) -> Iterator[Any]:
        opened = []

        def make(**arguments: Any) -> QdrantCollection:
            opened.append(QdrantCollection.open(f"계약-{uuid.uuid4()}", url=module_server.url, **arguments))
            return opened[-1]

        yield make
        for collection in opened:
            collection.close()


@pytest.mark.skipif("QDRANT_URL" not in os.environ, reason="QDRANT_URL names no server")
@pytest.mark.enable_socket
class TestOnAServer(CollectionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Iterator[Any]:
        opened = []

        def make(**arguments: Any) -> QdrantCollection:
            url, key = os.environ["QDRANT_URL"], os.environ.get("QDRANT_API_KEY")
            opened.append(QdrantCollection.open(f"korag-{uuid.uuid4()}", url=url, api_key=key, **arguments))
            return opened[-1]

        yield make
        for collection in opened:
            collection._transport.call("delete_collection")
            collection.close()
