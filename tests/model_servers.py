"""HTTP servers on loopback that serve the bundled models in the shape of each API, and are wrong on demand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import numpy as np


@dataclass
class ModelServer:
    """A running server.

    Attributes:
        answer: Makes the JSON of an answer from the path and the JSON of a request.
        faults: Ways to go wrong for the next requests, one each: a status, ``"cut"``, ``"drop"``, ``"slow"``.
        key: The key it wants; None for none.
        headers: Of every error.
        requests: (path, body) of every request, in order.
        keys: The ``Authorization`` of every request.
        most: Most texts of a request; more are a 413.
    """

    answer: Callable[[str, dict[str, Any]], Any]
    faults: list[Any] = field(default_factory=list)
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most: int = 10**6
    delay: float = 0.0
    running: int = 0
    most_running: int = 0
    url: str = ""
    lock: Any = field(default_factory=Lock)

    @property
    def texts(self) -> int:
        """Number of texts that it was asked for."""
        return sum(len(inputs(body)) for _, body in self.requests)


def inputs(body: dict[str, Any]) -> list[Any]:
    return next(body[name] for name in ("inputs", "input", "texts", "documents") if name in body)


@contextmanager
def serve(answer: Callable[[str, dict[str, Any]], Any], **settings: Any) -> Iterator[ModelServer]:
    state = ModelServer(answer, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.requests.append((self.path, body))
                state.keys.append(self.headers.get("Authorization"))
                fault = state.faults.pop(0) if state.faults else None
                state.running += 1
                state.most_running = max(state.most_running, state.running)
            try:
                time.sleep(state.delay)
                self._respond(body, fault)
            finally:
                with state.lock:
                    state.running -= 1

        def _respond(self, body: dict[str, Any], fault: Any) -> None:
            if state.key is not None and self.headers.get("Authorization") != f"Bearer {state.key}":
                return self._send(401, {"error": f"wrong key {self.headers.get('Authorization')}"})
            if len(inputs(body)) > state.most:
                return self._send(413, {"error": "batch size", "error_type": "Validation"})
            if isinstance(fault, int):
                return self._send(fault, {"error": "later", "path": self.path})  # as some servers do
            if fault == "drop":
                self.close_connection = True
                return None
            if fault == "slow":
                time.sleep(1.5)
            return self._send(200, state.answer(self.path, body), cut=fault == "cut")

        def _send(self, status: int, answer: Any, *, cut: bool = False) -> None:
            data = json.dumps(answer).encode()
            data = data[: len(data) // 2] if cut else data
            self.send_response(status)
            for name, value in (state.headers if status >= 400 else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Encode = Callable[[list[str]], Any]


def plain(encoder: Any) -> Encode:
    """Encodes texts as they are: the prompt is in them."""
    bare = type(encoder).__new__(type(encoder))
    bare.__setstate__(encoder.__getstate__() | {"_prompts": {"query": "", "document": ""}})
    return bare.encode_documents


def tei(encode: Encode) -> Callable[[str, dict[str, Any]], Any]:
    """``/embed``, ``/embed_sparse``."""

    def answer(path: str, body: dict[str, Any]) -> Any:
        vectors = encode(body["inputs"])
        if path == "/embed":
            return np.asarray(vectors).tolist()
        assert path == "/embed_sparse", path
        return [
            [{"index": int(i), "value": float(v)} for i, v in zip(row.indices, row.data, strict=True)]
            for row in (vectors[[index]] for index in range(vectors.shape[0]))
        ]

    return answer


def openai(encode: Encode) -> Callable[[str, dict[str, Any]], Any]:
    """``/v1/embeddings``; entries in any order."""

    def answer(path: str, body: dict[str, Any]) -> Any:
        assert path.endswith("/embeddings"), path
        vectors = np.asarray(encode(body["input"])).tolist()
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        return {"object": "list", "model": body.get("model"), "data": data[::-1], "usage": {"prompt_tokens": 1}}

    return answer


def vllm_tokens(model: Any, *, masks: int | None = None) -> Callable[[str, dict[str, Any]], Any]:
    """``/pooling``: token vectors of ids.

    Args:
        model: A `MultiVectorEncoder`.
        masks: An id that other tokens pay no attention to; None for full attention, as vLLM has it.
    """
    import torch

    def answer(path: str, body: dict[str, Any]) -> Any:
        assert path == "/pooling", path
        assert body["task"] == "token_embed", body
        data = []
        for index, ids in enumerate(body["input"]):
            tensor = torch.tensor([ids])
            seen = torch.ones_like(tensor) if masks is None else (tensor != masks).long()
            with torch.inference_mode():
                features = {"input_ids": tensor, "attention_mask": seen}
                vectors = model[1](model[0](features))["token_embeddings"][0]
            data.append({"index": index, "object": "pooling", "data": vectors.tolist()})
        return {"id": "pool-1", "object": "list", "data": data}

    return answer
