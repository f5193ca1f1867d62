"""Running the HTTP server until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from korag._optional import require
from korag.errors import InvalidArgumentError
from korag.remote.options import Secret, is_here

_PATIENCE = 30
"""Seconds for requests that are being answered when it is told to stop."""
_CONNECTIONS = 1_000
"""Connections at a time, each of which may hold a request's body; others are answered 503."""


def check_address(host: str, token: Secret) -> None:
    """Checks that a server which others can reach has a token.

    Raises:
        InvalidArgumentError: If it has none.
    """
    if not token and not is_here(host):
        raise InvalidArgumentError(
            f"--host {host}: 다른 컴퓨터에서 접속할 수 있는 주소라서 토큰이 필요합니다. 환경 변수 KORAG_TOKEN에 토큰을 "
            "넣거나 --host 127.0.0.1을 쓰세요.",
            f"--host {host} can be reached from other machines and needs a token; put one into the environment "
            "variable KORAG_TOKEN, or use --host 127.0.0.1.",
        )


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Args:
        host: Name or address of a network interface of this machine.
        port: 0 for any.

    Raises:
        InvalidArgumentError: If there is no such address, or something else listens there.
    """
    try:
        if not 0 <= port <= 65_535:  # a resolver may take what is left of it
            raise OverflowError("0-65535")
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind)
        try:
            made.setsockopt(socket.SOL_SOCKET, _option(), 1)
            made.bind(address)
            made.listen(2_048)
        except BaseException:
            made.close()
            raise
    except (OSError, OverflowError) as error:
        raise InvalidArgumentError(
            f"{host}:{port}에서 기다릴 수 없습니다({error}). --host와 --port를 확인하거나 다른 포트를 쓰세요.",
            f"Cannot listen at {host}:{port} ({error}). Check --host and --port, or use another port.",
        ) from error
    return made


def _option() -> int:
    """Returns what lets a server start again at once; on Windows that would let two listen at the same port."""
    if sys.platform == "win32":
        return socket.SO_EXCLUSIVEADDRUSE
    return socket.SO_REUSEADDR


def run(app: Any, listening: socket.socket, *, on_ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or Ctrl-C; requests that are being answered then have 30 seconds to end.

    If a thread still computes after them, it ends with the process, at once: the exit code is 0, or 130 after Ctrl-C.

    Args:
        app: The application, of `korag.serving.app.create_app`.
        listening: From `listen`.
        on_ready: Called when requests are answered.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
    """
    uvicorn = require("uvicorn", extra="serve")

    class Server(uvicorn.Server):  # type: ignore[misc, name-defined]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    config = uvicorn.Config(
        app,
        access_log=False,  # addresses of people; /metrics counts
        limit_concurrency=_CONNECTIONS,
        log_level="warning",
        proxy_headers=False,  # anybody can send them
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
        ws="none",
    )
    # uvicorn raises the signal again once it has stopped: the process then ends as after any other command
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        Server(config).run(sockets=[listening])
        _leave_if_busy(app.state.work.taken, 0)
    except KeyboardInterrupt:
        _leave_if_busy(app.state.work.taken, 130)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def _leave_if_busy(left: int, code: int) -> None:
    """Ends the process if threads still compute, for which Python would wait. What they do is only reading."""
    if not left:
        return
    sys.stderr.write(
        f"서버를 멈췄습니다. 끝나지 않은 요청: {left}개. / "
        f"The server has stopped; requests that had not ended: {left}.\n"
    )
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
