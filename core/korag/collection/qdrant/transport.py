"""Requests to a Qdrant server: repeated while it makes sense, and errors that say what to do."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from korag.errors import IndexStateError, KoragError, ServerError
from korag.forking import Lock
from korag.logs import logger

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 30.0
_WRITING = frozenset({"upsert", "delete"})
"""Methods that change the texts of a collection."""
_SHOWN = 300
"""Characters of a server's answer in a message."""


class Transport:
    """Calls methods of a client for one collection.

    What is sent may be sent twice: points have ids of their own, and deleting or overwriting again changes nothing.
    Safe to use from many threads, and after a fork if the client is made here.

    Args:
        client: The client, which is not closed here; or a function that makes one, called again after a fork.
        name: The collection.
        place: The collection, for messages.
        retries: How often a request is repeated that failed for reasons that may pass.
        secret: The API key; never shown.

    Attributes:
        writes: Changes when texts are written, once before and once after.
    """

    def __init__(
        self,
        client: QdrantClient | Callable[[], QdrantClient],
        name: str,
        *,
        place: str,
        retries: int,
        secret: str | None,
    ) -> None:
        self._make = None if isinstance(client, QdrantClient) else client
        self._client = client if isinstance(client, QdrantClient) else client()
        self._pid = os.getpid()
        self._lock = Lock()
        self.name = name
        self.place = place
        self._retries = retries
        self._secret = secret
        self._closed = False
        self.writes = 0

    def call(self, method: str, **arguments: Any) -> Any:
        """Calls a method of the client with the collection's name.

        Raises:
            IndexStateError: If the collection is closed or gone, or the server's strict mode forbids the request.
            ServerError: If it does not answer, goes on failing, or refuses.
        """
        if method not in _WRITING:
            return self.call_server(method, collection_name=self.name, **arguments)
        self._count_write()
        try:
            return self.call_server(method, collection_name=self.name, **arguments)
        finally:
            self._count_write()

    def _count_write(self) -> None:
        with self._lock:
            self.writes += 1

    def call_server(self, method: str, **arguments: Any) -> Any:
        """As `call`, for a method that is not about a collection."""
        if self._closed:
            raise IndexStateError(
                f"{self.place}은(는) 닫힌 컬렉션입니다. QdrantCollection.open으로 다시 여세요.",
                f"{self.place} is closed; open it again with QdrantCollection.open.",
            )
        attempt = 0
        while True:
            try:
                return getattr(self._connected(), method)(**arguments)
            except (ApiException, QdrantException, httpx.HTTPError) as error:
                wait = _wait(error, attempt)
                final = wait is None or attempt == self._retries
                failure = self._translated(error, passes=wait is not None) if final else None
            if failure is not None:
                raise failure  # not up there, where the client's error, its context, may quote the key
            attempt += 1
            logger.info("%s: %s번째 재시도를 %.1f초 뒤에 합니다. / retry %s in %.1f s.",
                        self.place, attempt, wait, attempt, wait)  # fmt: skip
            time.sleep(wait or 0.0)

    def _connected(self) -> QdrantClient:
        """Returns this process's client: over a connection that a fork copied, both would read each other's answers.

        Raises:
            IndexStateError: If it was given, and this is a child of the process where it was.
        """
        if self._pid == os.getpid():
            return self._client
        if self._make is None:
            raise IndexStateError(
                f"{self.place}: fork한 자식 프로세스에서는 부모가 client=에 넣은 연결을 쓸 수 없습니다. 여기서 새 "
                "클라이언트로 다시 열거나, client= 대신 url=로 여세요.",
                f"{self.place} was opened with client= before this process was forked, and connections are not shared "
                "with a child. Open it again here with a new client, or open it with url= instead.",
            )
        with self._lock:
            if self._pid != os.getpid():
                self._client = self._make()  # the old one is the parent's: closing it could wait for its threads
                self._pid = os.getpid()
            return self._client

    def close(self) -> None:
        """Ends the use of the client."""
        if not self._closed and self._make is not None and self._pid == os.getpid():
            self._client.close()
        self._closed = True

    def __getstate__(self) -> dict[str, Any]:
        """A connection and its key cannot be pickled.

        Raises:
            IndexStateError: Always.
        """
        raise IndexStateError(
            f"{self.place}: 서버와의 연결은 피클할 수 없습니다. 다른 프로세스에서 QdrantCollection으로 다시 여세요.",
            f"{self.place}: a connection to a server cannot be pickled; open it again in the other process with "
            "QdrantCollection.",
        )

    def _translated(self, error: Exception, *, passes: bool) -> KoragError:
        said = self._said(error)
        status = error.status_code if isinstance(error, UnexpectedResponse) else None
        if passes:
            return ServerError(
                f"{self.place}의 서버가 응답하지 않거나 오류를 냅니다({said}). {self._retries + 1}번 시도했습니다. "
                "서버가 켜져 있는지, url이 맞는지 확인하고 다시 호출하세요. add는 같은 ids=로 부르면 두 번 저장하지 "
                "않습니다. ids= 없이 불렀다면 이 오류의 ids를 넣으세요.",
                f"The server of {self.place} does not answer, or answers with an error ({said}); tried "
                f"{self._retries + 1} times. Check that it runs and that url is right, and call again. `add` with the "
                "same ids= stores nothing twice; if you passed none, pass the ids of this error.",
            )
        if status == 401 or (status == 403 and not _is_strict(said)):
            return ServerError(
                f"{self.place}의 서버가 API 키를 받아들이지 않습니다({said}). 권한이 있는 키를 api_key=에 "
                "넣으세요. 명령이라면 환경 변수 QDRANT_API_KEY에 넣으세요.",
                f"The server of {self.place} does not accept the API key ({said}); pass one with the needed rights as "
                "api_key=, or to a command in the environment variable QDRANT_API_KEY.",
            )
        if _is_strict(said):
            return IndexStateError(
                f"{self.place}의 서버가 strict mode로 이 요청을 막습니다({said}). 필터의 필드는 "
                "QdrantCollection.open(..., filter_fields=[...])로 색인하고, 정확한 검색이 막혀 있으면 "
                "exact=False로 찾으세요.",
                f"The server of {self.place} forbids this request in strict mode ({said}). Index the fields of filters "
                "with QdrantCollection.open(..., filter_fields=[...]); if exact search is forbidden, search with "
                "exact=False.",
            )
        if status == 413:
            return ServerError(
                f"{self.place}의 서버에 요청이 너무 큽니다({said}). 긴 문서를 나누어 넣거나 서버의 "
                "max_request_size_mb를 늘리세요.",
                f"A request is too large for the server of {self.place} ({said}). Split long documents, or raise the "
                "server's max_request_size_mb.",
            )
        if status == 404:
            return IndexStateError(
                f"{self.place}이(가) 서버에 없습니다({said}). 지워졌다면 QdrantCollection.open으로 새로 만드세요.",
                f"{self.place} is not on the server ({said}). If it was deleted, make a new one with "
                "QdrantCollection.open.",
            )
        return ServerError(
            f"{self.place}의 서버가 요청을 거부했습니다({said}). Qdrant 서버가 맞는지, 누가 컬렉션의 설정을 바꾸지 "
            "않았는지 확인하세요.",
            f"The server of {self.place} refused a request ({said}). Check that it is a Qdrant server, and that nobody "
            "has changed the collection's settings.",
        )

    def _said(self, error: Exception) -> str:
        if isinstance(error, UnexpectedResponse):
            said = f"{error.status_code}: {error.content.decode('utf-8', 'replace')}"
        elif isinstance(error, ResponseHandlingException):
            is_ours = isinstance(error.source, httpx.LocalProtocolError)  # quotes the header, which may be the key
            said = type(error.source).__name__ + ("" if is_ours else f": {error.source}")
        else:
            said = f"{type(error).__name__}: {error}"
        for secret in (self._secret, repr(self._secret)[1:-1]) if self._secret else ():
            said = said.replace(secret, "***")
        return " ".join(said.split())[:_SHOWN]


def _is_strict(said: str) -> bool:
    return "strict" in said.lower() or "Index required but not found" in said or "Help:" in said


def _wait(error: Exception, attempt: int) -> float | None:
    """Seconds to wait before the next attempt; None if another attempt would fail as well."""
    backoff: float = _FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311 (spreads clients, hides nothing)
    if isinstance(error, ResourceExhaustedResponse):
        return min(_LONGEST_WAIT, max(float(error.retry_after_s), backoff))
    if isinstance(error, UnexpectedResponse):
        return min(_LONGEST_WAIT, backoff) if error.status_code in _TRANSIENT else None
    if isinstance(error, QdrantException):  # busy until a date, which the client does not read
        return min(_LONGEST_WAIT, backoff) if "Retry-After" in str(error) else None
    source = error.source if isinstance(error, ResponseHandlingException) else error
    may_pass = isinstance(source, httpx.TransportError) and not isinstance(source, httpx.LocalProtocolError)
    return min(_LONGEST_WAIT, backoff) if may_pass else None
