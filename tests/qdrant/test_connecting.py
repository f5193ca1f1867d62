"""The way to a server: keys, addresses and clients that cannot be used, and answers that ask to wait."""

from __future__ import annotations

import contextlib
import email.utils
import pickle
from typing import Any

import pytest
from edge_server import EdgeServer
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse

from korag import QdrantCollection
from korag.collection.qdrant import transport
from korag.collection.qdrant.attached import AttachedCollection
from korag.collection.qdrant.payloads import FieldPayloads
from korag.errors import IndexStateError, InvalidArgumentError, ServerError


@pytest.mark.parametrize(
    "key", ["sk-SECRET\n", " sk-SECRET", "sk-SECRET\r\n", "sk-\x00SECRET", "sk-SECRET열쇠", "", 1234]
)
def test_a_key_that_no_header_takes_is_refused_and_not_shown(key: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="api_key=") as caught:
        QdrantCollection.open("c", url="http://127.0.0.1:9", api_key=key, bm25=True, retries=0)
    assert "SECRET" not in str(caught.value)
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://이름:SECRET@127.0.0.1:9", "http://SECRET@127.0.0.1:9", "https://:SECRET@host"])
def test_an_address_with_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="api_key=") as caught:
        QdrantCollection.open("c", url=url, bm25=True, retries=0, timeout=1)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), 0, -1, "5", True])
def test_time_outs_are_seconds(timeout: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="timeout="):
        QdrantCollection.open("c", url="http://127.0.0.1:9", bm25=True, timeout=timeout)


def test_clients_that_reach_no_server_over_rest() -> None:
    for wrong in ("http://localhost:6333", object()):
        with pytest.raises(InvalidArgumentError, match="client="):
            QdrantCollection.open("c", client=wrong, bm25=True)  # type: ignore[arg-type]
    local = QdrantClient(":memory:")
    grpc = QdrantClient(host="127.0.0.1", prefer_grpc=True, check_compatibility=False)
    for client, named in ((local, "in this process"), (grpc, "prefer_grpc")):
        with contextlib.closing(client), pytest.raises(InvalidArgumentError, match=named):
            QdrantCollection.open("c", client=client, bm25=True)


def test_a_date_to_wait_for_is_waited_for(server: EdgeServer, open_new: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = open_new(bm25=True, retries=2)
    answers = [email.utils.formatdate(usegmt=True), "곧"]

    def count(self: Any, **arguments: Any) -> Any:
        if answers:
            raise ResourceExhaustedResponse("busy", answers.pop())  # type: ignore[arg-type]
        return original(self, **arguments)

    original = QdrantClient.count
    monkeypatch.setattr(QdrantClient, "count", count)
    assert len(collection) == 0
    assert not answers

    def fails(self: Any, **arguments: Any) -> Any:
        raise QdrantException("something else")

    monkeypatch.setattr(QdrantClient, "count", fails)
    with pytest.raises(ServerError, match="something else"):
        len(collection)


def test_an_attached_collection_is_not_pickled() -> None:
    with contextlib.closing(QdrantClient("http://127.0.0.1:9", check_compatibility=False)) as client:
        way = transport.Transport(client, "c", place="Qdrant 'c'", retries=0, secret=None, owned=False)
        with pytest.raises(IndexStateError, match="cannot be pickled"):
            pickle.dumps(AttachedCollection(way, {}, {}, FieldPayloads()))
