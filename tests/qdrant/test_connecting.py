"""The way to a server: keys, addresses and clients that cannot be used, and answers that ask to wait."""

from __future__ import annotations

import contextlib
import email.utils
import os
import pickle
import signal
import socket
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from edge_server import EdgeServer
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse

from korag import QdrantCollection
from korag.collection.qdrant import connecting, transport
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


@pytest.mark.parametrize(
    "url",
    [
        *("http://exa mple", "http://%zz", "http://h\0x", "http://xn--a", "http://a..b", f"http://{'a' * 70}.com"),
        *(
            "http://[::1",
            "http://[zz]",
            "http://h:0",
            "http://h:99999",
            "http://h/\0",
            "http://h/a b",
            "http://h\ud800",
        ),
        *("ftp://host", "host", "http://", "", 5),
    ],
)
def test_addresses_that_are_none(url: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"url= must be the address of a Qdrant server"):
        QdrantCollection.open("c", url=url, bm25=True, retries=0, timeout=1)


@pytest.mark.parametrize("url", ["http://[::1]:9", "http://[::1]:9/qdrant", "http://127.0.0.1:9"])
def test_an_address_is_shown_as_it_is_written(url: str) -> None:
    transport = connecting.reach("c", url, None, timeout=1, retries=0, api_key=None)
    with contextlib.closing(transport):
        assert transport.place == f"Qdrant 'c' ({url.removesuffix('/qdrant')})"


@pytest.mark.parametrize("url", ["http://qdrant_1:6333", "https://검색.한국", "https://host.", "HTTP://Host/qdrant/"])
def test_addresses_that_are_some(url: str) -> None:
    connecting.reach("c", url, None, timeout=1, retries=0, api_key=None).close()


def test_a_key_is_in_no_traceback(server: EdgeServer) -> None:
    server.key, server.echo = "another", True
    key = "sk-SECRET"  # by name, because tracebacks show lines of code
    with pytest.raises(ServerError, match="api_key=") as caught:
        QdrantCollection.open("c", url=server.url, bm25=True, api_key=key, retries=0)
    assert "401" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "SECRET" not in shown
    assert caught.value.__context__ is None  # which is what error reporters walk along
    with pytest.warns(UserWarning, match="insecure"):
        client = QdrantClient(url=server.url, api_key=key, check_compatibility=False)
    with contextlib.closing(client):
        with pytest.raises(ServerError) as caught:
            QdrantCollection.open("c", client=client, bm25=True, retries=0)
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), 0, -1, "5", True, 1e300, 10**30, 1e7])
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
        way = transport.Transport(client, "c", place="Qdrant 'c'", retries=0, secret=None)
        with pytest.raises(IndexStateError, match="cannot be pickled"):
            pickle.dumps(AttachedCollection(way, {}, {}, FieldPayloads()))


def in_a_child(work: Callable[[], object]) -> str:
    """Returns what a forked child makes of a call."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's, of the server's thread, which the child does not need
        child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os.write(writing, str(work()).encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return found


@pytest.fixture
def elsewhere(server: EdgeServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's address under a name for which qdrant-client keeps connections open."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **settings: Any) -> Any:
        return resolve("127.0.0.1" if host in ("qdrant.example", b"qdrant.example") else host, *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return server.url.replace("127.0.0.1", "qdrant.example")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_connections_of_its_own(server: EdgeServer, elsewhere: str) -> None:
    with QdrantCollection.open("나뉜", url=elsewhere, bm25=True) as collection:
        collection.add(["가", "나"], ids=["가", "나"])
        before = len(server.peers)
        assert len(collection) == 2
        assert set(server.peers[before:]) <= set(server.peers[:before])  # connections are kept
        mine = set(server.peers)
        answered = in_a_child(lambda: [collection.ids(), collection.search("가")[0].id, collection.close()])
        assert answered == "[['가', '나'], '가', None]"
        assert not mine & set(server.peers[before + 1 :])
        before = len(server.peers)
        assert collection.ids() == ["가", "나"]
        assert set(server.peers[before:]) <= mine  # the child has not closed the parent's


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_use_a_client_that_was_given(server: EdgeServer, elsewhere: str) -> None:
    with (
        contextlib.closing(QdrantClient(url=elsewhere, check_compatibility=False)) as client,
        QdrantCollection.open("나뉜 둘", client=client, bm25=True) as collection,
    ):
        before = len(server.log)
        answered = in_a_child(lambda: len(collection))
        assert answered.startswith("IndexStateError: ")
        assert "client=" in answered
        assert len(server.log) == before
        assert len(collection) == 0
