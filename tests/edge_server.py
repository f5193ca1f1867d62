"""A Qdrant server for tests: its REST interface on loopback, the embedded engine behind it, and faults on demand."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from edge_engine import EdgeCollection, RefusedError
from pydantic import ValidationError

Fault = str | int | None
"""``"drop"`` the connection before the work, ``"lose"`` the answer after it, be ``"slow"``, do ``"half"`` of an upsert
and fail, or answer with a status."""


class EdgeServer:
    """``with EdgeServer(folder) as server: server.url``.

    Attributes:
        fault: Called with method and path before each request; returns the fault to inject.
        log: Method, path and length of every request.
        peers: The port that every request came from, one for each connection.
        key: The API key it wants; None for none.
        echo: Answer a wrong key with that key.
        version: What it says it is.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root
        self._collections: dict[str, EdgeCollection] = {}
        self._made = 0
        self._lock = threading.Lock()
        self.fault: Callable[[str, str], Fault] = lambda method, path: None
        self.log: list[tuple[str, str, int]] = []
        self.peers: list[int] = []
        self.key: str | None = None
        self.echo = False
        self.version = "1.20.0"
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for collection in self._collections.values():
            collection.close()

    def __getitem__(self, name: str) -> EdgeCollection:
        return self._collections[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Those of its collections."""
        return tuple(self._collections)

    def answer(self, method: str, path: str, body: Any) -> Any:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts == ["collections"]:
            return {"collections": [{"name": name} for name in self._collections]}
        if parts[0] != "collections":
            raise RefusedError(f"{method} {path} is not handled here")
        name, rest = parts[1], parts[2:]
        if rest == ["exists"]:
            return {"exists": name in self._collections}
        if method == "PUT" and not rest:
            with self._lock:
                if name in self._collections:
                    raise RefusedError(f"Wrong input: Collection `{name}` already exists!")
                self._made += 1
                self._collections[name] = EdgeCollection(self.folder / str(self._made), body)
            return True
        if method == "DELETE" and not rest:
            self._collections.pop(name).close()
            return True
        collection = self._collections[name]
        if not rest:
            return collection.change(body) if method == "PATCH" else collection.describe()
        return collection.answer(method, rest, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Clients go away in the middle: that is what is tested."""


def _handler(server: EdgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle_one(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urlsplit(self.path).path
            server.log.append((self.command, path, len(raw)))
            server.peers.append(self.client_address[1])
            fault = server.fault(self.command, path)
            body = json.loads(raw) if raw else None
            if fault == "slow":
                time.sleep(0.02)
            if fault == "drop":
                self.close_connection = True
                return
            if fault == "half" and path.endswith("/points") and self.command == "PUT":
                points = body["points"]
                with contextlib.suppress(KeyError):
                    server.answer(
                        self.command, path, {"points": points[: len(points) // 2]} if len(points) > 1 else body
                    )
                fault = 500
            status, result = self.work(path, body) if not isinstance(fault, int) else (fault, "injected")
            if fault == "lose":
                self.close_connection = True
                return
            answer = {"result": result, "status": "ok"} if status == 200 else {"status": {"error": result}}
            if path == "/" and status == 200:
                answer = {"title": "qdrant - vector search engine", "version": server.version}
            data = json.dumps(answer | ({"time": 0.0} if path != "/" else {})).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 429 and len(server.log) % 2:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(data)

        def work(self, path: str, body: Any) -> tuple[int, Any]:
            if server.key is not None and self.headers.get("api-key") != server.key:
                said = self.headers.get("api-key") if server.echo else None
                return 401, said or "Must provide an API key or an Authorization bearer token"
            try:
                return 200, None if path == "/" else server.answer(self.command, path, body)
            except RefusedError as error:
                return 403 if str(error).startswith("Forbidden") else 400, str(error)[:500]
            except (ValidationError, ValueError) as error:
                return 400, str(error)[:500]
            except KeyError as error:
                return 404, f"Not found: Collection {error}"
            except BaseException as error:  # what the engine panics with is no Exception
                return 500, f"{type(error).__name__}: {error}"[:500]

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_one  # noqa: N815

    return Handler
