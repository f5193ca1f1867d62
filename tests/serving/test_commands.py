"""`korag serve` in a process of its own: what it says, and how it stops; and what it refuses to start with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from korag import Collection
from korag.cli import main

_SLOW = """
import sys, time
sys.path[:0] = {path!r}
from korag.serving import running
running._PATIENCE = {patience}
from korag.cli import main
from korag.collection import LocalCollection
search = LocalCollection.search
def slow(self, query, **settings):
    time.sleep({seconds} if "느린" in query else 0)
    return search(self, query, **settings)
LocalCollection.search = slow
sys.exit(main({arguments!r}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("commands") / "색인"
    with Collection.open(path, bm25=True) as collection:
        collection.add(["느린 거북이가 토끼를 이겼다."], ids=["거북이"])
    return path


@contextmanager
def _served(
    folder: Path, *, seconds: float = 1, patience: int = 30, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    arguments = ["serve", str(folder), "--port", "0"]
    code = _SLOW.format(path=sys.path, arguments=arguments, seconds=seconds, patience=patience)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline() + process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+) 에서 문서 1개를 제공합니다", said)
        assert found, said + (process.stderr.read() if process.stderr else "")
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def _wait_for(requests: int, client: httpx.Client) -> None:
    for _ in range(600):
        if f"korag_requests_in_progress {requests}.0" in client.get("/metrics").text:
            return
        time.sleep(0.05)
    pytest.fail(f"there are never {requests} requests in progress")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_told_to_stop_it_answers_what_it_has_begun(folder: Path, number: signal.Signals, code: int) -> None:
    secret = "0123456789abcdef-own"  # noqa: S105
    with _served(folder, KORAG_TOKEN=secret) as (process, url), ThreadPoolExecutor(1) as pool:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client:
            assert client.get("/v1/info").json()["legs"] == ["bm25"]
            answer = pool.submit(client.post, "/v1/search", json={"query": "느린 거북이"})
            _wait_for(1, client)
            process.send_signal(number)
            assert [hit["id"] for hit in answer.result().json()["hits"]] == ["거북이"]
        _, errors = process.communicate(timeout=30)
        assert process.returncode == code
        assert ("서버를 멈췄습니다" in errors) == (code == 130)
        assert secret not in errors
        assert "Traceback" not in errors


def test_it_does_not_wait_for_ever_for_what_it_has_begun(folder: Path) -> None:
    with _served(folder, seconds=600, patience=1) as (process, url), ThreadPoolExecutor(1) as pool:
        with httpx.Client(base_url=url, timeout=60) as client:
            answer = pool.submit(client.post, "/v1/search", json={"query": "느린 거북이"})
            _wait_for(1, client)
            process.send_signal(signal.SIGINT)
            assert (answer.result().status_code, answer.result().json()["error"]["type"]) == (503, "stopping")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "끝나지 않은 요청: 1개" in errors


def test_ctrl_c_ends_a_server_of_agents(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "korag", "mcp", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        process.stdin.flush()
        process.stdout.readline()  # it reads by now
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert "서버를 멈췄습니다" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 can be reached from other machines"),  # noqa: S104
        (["--token", "짧다"], "token is invalid"),
        (["--port", "70000"], "Cannot listen at 127.0.0.1:70000"),
        (["--max-k", "0"], "hits=0"),
        (["--max-rate", "-1"], "--max-rate -1"),
        (["--reranker", "mini-dense"], "cannot rerank"),
    ],
)
def test_mistakes_end_it_before_it_listens(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(folder), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "짧다" not in said


def test_no_index_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "mcp"):
        assert main([command, str(tmp_path / "없음")]) == 2
        assert "There is no collection" in capsys.readouterr().err
    assert not (tmp_path / "없음").exists()
