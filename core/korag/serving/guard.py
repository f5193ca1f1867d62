"""The door of the HTTP server: every request is checked here before anything reads it."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from korag.remote.options import Secret, is_here
from korag.serving.limits import RateLimit, ServeLimits
from korag.serving.refusals import RefusedError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from korag.serving.metrics import Metrics

OPEN = ("/", "/healthz", "/readyz")
"""Paths that need no token: the page, which holds no document, and what an orchestrator asks for."""
_PROBES = ("/healthz", "/readyz")
_PATIENCE = 30.0
"""Seconds for a request's body."""
_GONE = 499
"""Status, in the metrics, of a request whose client has gone away, as other servers count it; none is sent."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Checks host, rate, token and size of every request, counts it, and ends it when its client goes away.

    Args:
        app: The application behind it.
        token: The token that requests need; empty for none. Without one, only requests from this machine to a name of
            it are answered: a web page whose own name leads here (DNS rebinding) must not read the collection.
        limits: Size and rate.
        metrics: Where requests are counted.
        paths: Paths that are counted by name.
    """

    def __init__(
        self, app: ASGIApp, *, token: Secret, limits: ServeLimits, metrics: Metrics, paths: Iterable[str]
    ) -> None:
        self._app, self._token, self._limits, self._metrics = app, token, limits, metrics
        self._paths = frozenset(paths)
        self._rate = RateLimit(limits.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # there are no web sockets; the server closes them
        began, path, answer = time.perf_counter(), _path(scope), _Answer(send)
        try:
            self._check(scope, path)
            await self._pass_on(scope, await self._read(receive, self._most(path)), receive, answer)
        except _ClientGoneError:
            answer.status = _GONE
        except RefusedError as refused:
            await send_refusal(refused, answer)
        except asyncio.CancelledError:  # the server has waited long enough when it stops
            if answer.has_begun or (task := asyncio.current_task()) is None:
                raise
            task.uncancel()
            await send_refusal(RefusedError.stopping(), answer)
        finally:
            self._metrics.count(path if path in self._paths else "other", answer.status, time.perf_counter() - began)

    async def _pass_on(self, scope: Scope, body: bytes, receive: Receive, answer: _Answer) -> None:
        """Lets the application answer, unless the client goes away before: then what has not begun is dropped.

        Args:
            scope: The request.
            body: Its body.
            receive: Tells when the client is gone.
            answer: Takes the answer.

        Raises:
            _ClientGoneError: If the client is gone.
        """
        leaving = asyncio.ensure_future(_gone(receive))
        messages: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

        async def given() -> Message:
            return messages.pop() if messages else await asyncio.shield(leaving)

        answering = asyncio.ensure_future(self._app(scope, given, answer))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not answer.has_begun:
                raise _ClientGoneError
            await answering
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()  # a call that waits for a thread is cancelled with it; one that runs goes on
                await asyncio.gather(answering, return_exceptions=True)

    def _check(self, scope: Scope, path: str) -> None:
        headers = dict(scope["headers"])
        client = (scope.get("client") or ("",))[0]
        if not self._token and not (
            is_here(client.removeprefix("::ffff:")) and is_here(_host(headers.get(b"host", b"").decode("latin-1")))
        ):
            raise RefusedError(
                "이 서버는 토큰 없이 이 컴퓨터에서만 쓸 수 있습니다. http://localhost나 http://127.0.0.1로 접속하거나, "
                "토큰(KORAG_TOKEN)을 정해 시작하세요.",
                "Without a token this server is for this machine only: use http://localhost or http://127.0.0.1, or "
                "start it with a token (KORAG_TOKEN).",
                status=421,
                kind="host",
            )
        if path not in _PROBES:
            self._rate.check(client)
        if self._token and path not in OPEN:
            self._check_token(headers.get(b"authorization", b""))
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > (most := self._most(path)):
            raise _too_large(most)

    def _most(self, path: str) -> int:
        """Returns the bytes that a request's body may have: none where anybody may ask."""
        return 0 if path in OPEN else self._limits.body_bytes

    def _check_token(self, given: bytes) -> None:
        kind, _, token = given.partition(b" ")
        own = (self._token.reveal() or "").encode()
        if kind.lower() != b"bearer" or not hmac.compare_digest(token.strip(), own):
            raise RefusedError.unauthorized()

    async def _read(self, receive: Receive, most: int) -> bytes:
        """Reads a body that is not too large.

        Raises:
            RefusedError: If it is, or does not come.
            _ClientGoneError: If the client goes away before its end.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ClientGoneError
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise _too_large(most)
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise RefusedError(
                f"요청의 본문이 {_PATIENCE:.0f}초 안에 오지 않았습니다.",
                f"The body of the request did not arrive within {_PATIENCE:.0f} s.",
                status=408,
                kind="timeout",
            ) from None
        return bytes(body)


class _Answer:
    """Sends an answer with the headers that all of them have.

    Args:
        send: Takes it.

    Attributes:
        status: The status that was sent; 500 before.
        has_begun: Whether it was.
    """

    def __init__(self, send: Send) -> None:
        self._send, self.status, self.has_begun = send, 500, False

    async def __call__(self, message: Message) -> None:
        """Sends a part of it."""
        if message["type"] == "http.response.start":
            self.status, self.has_begun = message["status"], True
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await self._send(message)


class _ClientGoneError(Exception):
    """The client is gone; nobody waits for the answer."""


async def _gone(receive: Receive) -> Message:
    """Waits until the client is gone, or has its answer."""
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message


def _path(scope: Scope) -> str:
    """Returns a request's path within the application, which may be mounted below a path of another one."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _too_large(most: int) -> RefusedError:
    if most == 0:
        return RefusedError.too_large("이 주소는 본문을 받지 않습니다.", "This address takes no body.")
    return RefusedError.too_large(
        f"요청이 너무 큽니다. {most:,}바이트까지 받습니다. 나누어 보내세요.",
        f"The request is too large; {most:,} bytes are the most. Divide it.",
    )


async def send_refusal(refused: RefusedError, send: Send) -> None:
    """Sends a refusal as an answer of its own."""
    body = json.dumps(refused.body(), ensure_ascii=False).encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _host(header: str) -> str:
    """Returns the name in a ``Host`` header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()
