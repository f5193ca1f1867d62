"""JSON over HTTP: requests to one address, each repeated until the server answers it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlunsplit

from korag._optional import require
from korag.errors import KoragError, ServerError
from korag.remote import loop
from korag.remote.options import Secret, ServerOptions, bad_address, check_url, is_here
from korag.remote.retries import LONGEST_WAIT, RETRIED, pause, retry_after

_TOO_LARGE = 413
_LIMITED = 429
_REJECTED = (401, 403)
_SHOWN = 300
"""Characters of a server's own message."""
_PATIENCE = 600.0
"""Seconds that a request waits in all for a server that says to wait."""
_SHORTEST_KEY = 4
"""Characters; shorter values of an address are left in messages, which they would make unreadable."""
_LARGEST = 2**30
"""Bytes of the largest answer that is read: token vectors of a hundred long texts."""


class TooLargeError(Exception):
    """The server takes fewer texts at once."""


class Transport:
    """Sends requests to one address. Safe to use from many threads, and after a fork.

    Args:
        url: The address.
        options: Key, timeouts, retries.

    Raises:
        InvalidArgumentError: If the address or the way to send a key is not allowed.
        MissingDependencyError: If httpx is not installed.
    """

    def __init__(self, url: str, options: ServerOptions) -> None:
        parts = check_url(url, options)
        httpx = require("httpx", extra="http")
        try:
            _ = httpx.URL(url).host
        except (httpx.InvalidURL, ValueError):  # of a host that IDNA does not allow, a UnicodeError
            raise bad_address(url) from None
        _keep_out_of_logs(url)
        self._url, self._options = url, options
        self._in_query = [Secret(text) for text in _texts_of(parts.query)]
        self.place = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        self._is_here = is_here(parts.hostname or "")
        self.concurrency = options.concurrency
        self._not_before = 0.0
        self._client: tuple[int, Any, asyncio.Semaphore] | None = None

    async def post(self, body: Any) -> Any:
        """Sends a request, again if need be, and returns the answer.

        Raises:
            ServerError: If the server does not answer, or with an error.
            TooLargeError: If it takes fewer texts at once.
        """
        client, slots = self._connection()
        now, failed, tried = asyncio.get_running_loop().time, 0, 0
        begun: float | None = None
        while True:
            async with slots:  # who waits for the server keeps the slot, so that nobody asks it meanwhile
                while (ahead := self._not_before - now()) > 0:
                    await asyncio.sleep(ahead)
                begun = begun or now()
                outcome = await self._try(client, body)
                tried += 1
                if not isinstance(outcome, _Failure):
                    return outcome.json
                said = outcome.wait or 0.0
                if 0 < said <= LONGEST_WAIT and now() + said - begun <= _PATIENCE:
                    self._not_before = max(self._not_before, now() + said)
                    continue
                rest = 0.0 if said else pause(failed)  # a server that says 0, or a date in its past, has said nothing
                if outcome.limited:  # without saying for how long
                    self._not_before = max(self._not_before, now() + rest)
            if said or failed == self._options.retries or not outcome.again:
                raise self._gave_up(outcome, tried)
            await asyncio.sleep(rest)
            failed += 1

    async def _try(self, client: Any, body: Any) -> _Answer | _Failure:
        import httpx

        key = self._options.key()
        try:
            async with asyncio.timeout(self._options.timeout):
                status, headers, content = await self._exchange(client, body, key)
        except (TimeoutError, httpx.TimeoutException):
            seconds = self._options.timeout
            return _Failure(f"{seconds:g}초 안에 응답이 없음", f"no answer within {seconds:g} seconds")
        except (httpx.RequestError, httpx.InvalidURL) as error:
            reason = self._hide(key, f"{type(error).__name__}: {error}")[:_SHOWN]
            again = not isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL)
            return _Failure(
                f"연결이 안 되거나 끊김: {reason}", f"no connection, or it was dropped: {reason}", again=again
            )
        if content is None:
            return _Failure("1GiB가 넘는 응답", "an answer of more than 1 GiB", again=False)
        if status == _TOO_LARGE:
            raise TooLargeError
        said = "" if 200 <= status < 300 else _message(content)
        if status in RETRIED:
            return _Failure(
                f"HTTP {status}{said}", f"HTTP {status}{said}", retry_after(headers), limited=status == _LIMITED
            )
        if not 200 <= status < 300:
            raise self._refused(status, said)
        try:
            return _Answer(await asyncio.to_thread(json.loads, content))
        except (ValueError, RecursionError):
            return _Failure("JSON이 아니거나 중간에 잘린 응답", "an answer that is no JSON, or was cut off")

    async def _exchange(self, client: Any, body: Any, key: Secret) -> tuple[int, Any, bytes | None]:
        """Returns the status, headers and content of an answer; None for a content that is too large."""
        content = bytearray()
        async with client.stream("POST", self._url, json=body, auth=_bearer(key)) as response:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > _LARGEST:
                    return response.status_code, response.headers, None
        if not response.is_success:  # it may repeat the key
            content = bytearray(self._hide(key, content.decode("utf-8", "replace")).encode())
        return response.status_code, response.headers, bytes(content)

    def _hide(self, key: Secret, message: str) -> str:
        """Returns a message of somebody else's without the key and what follows the ``?`` of the address."""
        for secret in (*self._in_query, key):
            message = secret.hide(message)
        return message

    def _connection(self) -> tuple[Any, asyncio.Semaphore]:
        """Returns the client and the slots for requests; called in the loop only, which serves one process."""
        import httpx

        if self._client is None or self._client[0] != os.getpid():
            options = self._options
            limits = httpx.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency)
            # a proxy is for other machines, and would see the key of this one's servers
            client = httpx.AsyncClient(timeout=options.timeout, limits=limits, trust_env=not self._is_here)
            self._client = os.getpid(), client, asyncio.Semaphore(options.concurrency)
            weakref.finalize(self, _close, os.getpid(), client)
        return self._client[1], self._client[2]

    def _gave_up(self, failure: _Failure, attempts: int) -> ServerError:
        if failure.wait or failure.limited:
            told = f"{failure.wait:,.0f}" if failure.wait and failure.wait >= 1 else ""
            return ServerError(
                f"{self.place} 서버가 지금은 요청을 더 받지 않습니다({failure.korean}"
                f"{f', {told}초 뒤에 다시 보내라고 함' if told else ''}; {attempts}번 시도). 나중에 다시 실행하거나 "
                "ServerOptions의 concurrency를 줄이세요.",
                f"The server {self.place} takes no more requests for now ({failure.english}"
                f"{f', asking to wait {told} seconds' if told else ''}; in {attempts} attempts). Run it again "
                "later, or give ServerOptions a smaller concurrency.",
            )
        return ServerError(
            f"{self.place} 서버가 {attempts}번 시도해도 응답하지 않았습니다({failure.korean}). 서버가 켜져 있는지, "
            "주소가 맞는지 확인하세요. 느린 서버라면 ServerOptions의 timeout을 늘리거나 batch_size와 concurrency를 "
            "줄이세요.",
            f"The server {self.place} gave no answer in {attempts} attempts ({failure.english}). Check that it runs "
            "and that the address is right. If it is slow, give ServerOptions a longer timeout, or a smaller "
            "batch_size and concurrency.",
        )

    def _refused(self, status: int, said: str) -> KoragError:
        korean, english = "요청이 서버의 API와 맞는지 확인하세요(api=).", "Check that this is its API (api=)."
        if status in _REJECTED:
            korean = (
                "ServerOptions(api_key=...)를 확인하세요. 피클에는 키가 없으니 다른 프로세스에서는 api_key_env를 "
                "쓰세요."
            )
            english = "Check ServerOptions(api_key=...). Pickles hold no key: in other processes, use api_key_env."
        elif status == 404:
            korean = "주소의 경로와 ServerOptions의 api, model을 확인하세요."
            english = "Check the path of the address, and api and model of ServerOptions."
        elif 300 <= status < 400:
            korean = "다른 주소로 보내는 서버에는 키를 보내지 않습니다. 최종 주소를 넣으세요."
            english = "It sends callers elsewhere, where no key is sent; pass the final address."
        return ServerError(
            f"{self.place} 서버가 요청을 거부했습니다(HTTP {status}{said}). {korean}",
            f"The server {self.place} refused a request (HTTP {status}{said}). {english}",
        )


def _texts_of(query: str) -> list[str]:
    """Returns all that may be a key in what follows a ``?``: itself and its values, the longest first."""
    values = [value for _, value in parse_qsl(query)]
    written = [part.partition("=")[2] for part in query.split("&")]
    texts = {query, unquote(query), *values, *written}
    return sorted((text for text in texts if len(text) >= _SHORTEST_KEY), key=len, reverse=True)


class _Answer:
    def __init__(self, json: Any) -> None:
        self.json = json


class _Failure:
    def __init__(
        self, korean: str, english: str, wait: float | None = None, *, again: bool = True, limited: bool = False
    ) -> None:
        self.korean, self.english, self.wait, self.again, self.limited = korean, english, wait, again, limited


def _bearer(key: Secret) -> Callable[[Any], Any]:
    """Returns what puts a key into a request: no frame that an error passes through has it in a variable."""

    def put(request: Any) -> Any:
        if key:
            request.headers["Authorization"] = f"Bearer {key.reveal()}"
        return request

    return put


def _message(content: bytes) -> str:
    """Returns what a server says about an error, shortened and on one line."""
    text = " ".join(content.decode("utf-8", "replace").split())
    return f": {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}" if text else ""


class _WithoutQueries(logging.Filter):
    """Cuts what follows a ``?``, often a key, from addresses of servers where httpx logs its requests."""

    addresses: frozenset[str] = frozenset()

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                str(value).partition("?")[0] if str(value) in self.addresses else value for value in record.args
            )
        return True


_logged = _WithoutQueries()


def _keep_out_of_logs(url: str) -> None:
    if "?" in url:
        import httpx

        _logged.addresses |= {str(httpx.URL(url))}
        logging.getLogger("httpx").addFilter(_logged)  # once, however often


def _close(pid: int, client: Any) -> None:
    if pid == os.getpid():
        loop.submit(client.aclose())
