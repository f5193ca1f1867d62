"""Requests to a Qdrant server: repeated while it makes sense, and errors that say what to do."""

from __future__ import annotations

import random
import time
from typing import Any

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from korag.errors import IndexStateError, KoragError, ServerError
from korag.logs import logger

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 30.0
_SHOWN = 300
"""Characters of a server's answer in a message."""


class Transport:
    """Calls methods of a client for one collection.

    What is sent may be sent twice: points have ids of their own, and deleting or overwriting again changes nothing.

    Args:
        client: The client.
        name: The collection.
        place: The collection, for messages.
        retries: How often a request is repeated that failed for reasons that may pass.
        secret: The API key; never shown.
        owned: Close the client at the end.
    """

    def __init__(
        self, client: QdrantClient, name: str, *, place: str, retries: int, secret: str | None, owned: bool
    ) -> None:
        self._client = client
        self.name = name
        self.place = place
        self._retries = retries
        self._secret = secret
        self._owned = owned
        self._closed = False

    def call(self, method: str, **arguments: Any) -> Any:
        """Calls a method of the client with the collection's name.

        Raises:
            IndexStateError: If the collection is closed or gone, or the server's strict mode forbids the request.
            ServerError: If it does not answer, goes on failing, or refuses.
        """
        return self.call_server(method, collection_name=self.name, **arguments)

    def call_server(self, method: str, **arguments: Any) -> Any:
        """As `call`, for a method that is not about a collection."""
        if self._closed:
            raise IndexStateError(
                f"{self.place}은(는) 닫힌 컬렉션입니다. QdrantCollection.open으로 다시 여세요.",
                f"{self.place} is closed; open it again with QdrantCollection.open.",
            )
        for attempt in range(self._retries + 1):
            try:
                return getattr(self._client, method)(**arguments)
            except (ApiException, QdrantException, httpx.HTTPError) as error:
                wait = _wait(error, attempt)
                if wait is None or attempt == self._retries:
                    raise self._translated(error, passes=wait is not None) from error
                logger.info("%s: %s번째 재시도를 %.1f초 뒤에 합니다. / retry %s in %.1f s.",
                            self.place, attempt + 1, wait, attempt + 1, wait)  # fmt: skip
                time.sleep(wait)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Ends the use of the client."""
        if not self._closed and self._owned:
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
                "서버가 켜져 있는지, url이 맞는지 확인하고 다시 호출하세요. 이미 저장된 것은 두 번 저장되지 않습니다.",
                f"The server of {self.place} does not answer, or answers with an error ({said}); tried "
                f"{self._retries + 1} times. Check that it runs and that url is right, and call again: what is stored "
                "already is not stored twice.",
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
