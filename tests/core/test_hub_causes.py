"""A model that is not on this machine: the message says which of many causes it has, and what to do about that one."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub
import pytest
from assertions import assert_bilingual
from checkpoints import dense

from korag import KoragError, load_encoder
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    HubUnreachableError,
    MissingBaseError,
    ReadOnlyError,
    StorageFullError,
)

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
NAME = "nobody/nothing"
COMMIT = "0123456789" * 4


class FakeHub(http.server.ThreadingHTTPServer):
    """A Hub on loopback that refuses every request in the same way, or has the files of one folder."""

    status = 404
    headers: dict[str, str]
    folder: Path | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body, headers, status = b"{}", dict(self.server.headers), self.server.status
        if (folder := self.server.folder) is not None:
            status = 200
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            if "/tree/" in self.path:
                rows = [
                    {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": "0"}
                    for path in files
                ]
                body = json.dumps(rows).encode()
            elif "/resolve/" in self.path:
                name = self.path.partition(f"/resolve/{COMMIT}/")[2]
                body = (folder / name).read_bytes()
                headers |= {"ETag": '"' + name.replace("/", "-") + '"', "X-Repo-Commit": COMMIT}
            else:
                body = json.dumps({"id": NAME, "sha": COMMIT, "siblings": []}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 (the standard library's name)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def asked(patch: pytest.MonkeyPatch, endpoint: str) -> Iterator[None]:
    """Lets huggingface_hub ask an address, as with HF_ENDPOINT and without HF_HUB_OFFLINE when it was imported."""
    patch.delenv("HF_HUB_OFFLINE", raising=False)
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    patch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    files = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
    huggingface_hub.close_session()  # it keeps what it has read of proxies
    yield
    huggingface_hub.close_session()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(("127.0.0.1", 0), Answers) as server:
        server.headers = {}
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        with asked(monkeypatch, server.address):
            yield server
        server.shutdown()
        thread.join()


def told(tmp_path: Path, kind: type[KoragError], *parts: str, name: str = NAME, **options: Any) -> str:
    """Loads a model that is not there; checks the error, and returns its text."""
    with pytest.raises(kind) as caught:
        load_encoder(name, cache_folder=str(tmp_path / "cache"), **options)
    assert type(caught.value) is kind
    assert_bilingual(caught.value, name, *parts)
    return str(caught.value)


# -- not asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE=1"),
        ({"HF_HUB_OFFLINE": "yes", "TRANSFORMERS_OFFLINE": "1"}, "HF_HUB_OFFLINE=yes"),
        ({"TRANSFORMERS_OFFLINE": "TRUE"}, "TRANSFORMERS_OFFLINE=TRUE"),
    ],
)
def test_offline_by_a_variable_of_the_environment(
    environment: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = told(tmp_path, HubUnreachableError, said, f"{said.partition('=')[0]}=0", str(tmp_path / "cache"))
    assert "local_files_only" not in text
    assert "DNS" not in text


def test_offline_by_a_variable_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    text = told(tmp_path, HubUnreachableError, "HF_HUB_OFFLINE=1")
    assert "다시 시작" in text


def test_offline_by_an_argument(tmp_path: Path) -> None:
    text = told(tmp_path, HubUnreachableError, "local_files_only=True", local_files_only=True)
    assert "HF_HUB_OFFLINE" not in text


def test_a_revision_that_is_not_in_the_cache_is_named(tmp_path: Path) -> None:
    told(tmp_path, HubUnreachableError, "revision='v9'", revision="v9")


# -- no answer ------------------------------------------------------------------------------------------------


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with asked(monkeypatch, address):
        text = told(tmp_path, HubUnreachableError, address, "refused")
    assert "방화벽" in text
    assert "OFFLINE" not in text


@pytest.mark.parametrize(
    ("error", "said"),
    [(socket.gaierror(-2, "Name or service not known"), "(DNS)"), (TimeoutError(110, "timed out"), "제때")],
)
def test_no_dns_and_no_answer_in_time(
    error: OSError, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    with asked(monkeypatch, "https://user:hf_SECRET@hub.invalid"):
        monkeypatch.setattr(socket, "getaddrinfo", fails)
        text = told(tmp_path, HubUnreachableError, "https://hub.invalid")
    assert said in text
    assert "SECRET" not in text


def test_no_secure_connection(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secure = hub.address.replace("http:", "https:")
    with asked(monkeypatch, secure):  # it speaks no TLS
        told(tmp_path, HubUnreachableError, secure, "TLS", "SSL_CERT_FILE")


def test_a_proxy_that_refuses(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.status = 407
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = hub.address.replace("//", "//user:hf_SECRET@")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy)
    with asked(monkeypatch, "http://hub.invalid"):
        text = told(tmp_path, HubUnreachableError, "HTTP_PROXY", "407")
    assert "프록시" in text
    assert "SECRET" not in text


# -- an answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "kind", "parts", "korean"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, CheckpointNotFoundError, ("404",), "이름(owner/name)을 확인"),
        (401, {"X-Error-Code": "RepoNotFound"}, CheckpointNotFoundError, ("401", "HF_TOKEN"), "비공개"),
        (403, {"X-Error-Code": "GatedRepo"}, CheckpointError, ("403", "HF_TOKEN"), "동의"),
        (401, {"X-Error-Code": "GatedRepo"}, CheckpointError, ("401", "HF_TOKEN"), "동의"),
        (
            *(401, {"X-Error-Message": "Invalid credentials in Authorization header"}, CheckpointError),
            *(("401", "HF_TOKEN"), "만료"),
        ),
        (403, {}, CheckpointError, ("403",), "권한"),
        (404, {"X-Error-Code": "RevisionNotFound"}, CheckpointNotFoundError, ("'v9'",), "없습니다"),
        (503, {}, HubUnreachableError, ("503",), "잠시 뒤"),
        (429, {}, HubUnreachableError, ("429",), "잠시 뒤"),
        (404, {}, HubUnreachableError, ("404",), "주소를 확인"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
def test_what_the_hub_answers(
    status: int,
    headers: dict[str, str],
    kind: type[KoragError],
    parts: tuple[str, ...],
    korean: str,
    hub: FakeHub,
    tmp_path: Path,
) -> None:
    hub.status, hub.headers = status, headers
    text = told(tmp_path, kind, *parts, revision="v9", token="hf_SECRET")  # noqa: S106
    assert korean in text
    assert "SECRET" not in text
    assert "OFFLINE" not in text


def test_a_misspelt_name_is_suggested(hub: FakeHub, tmp_path: Path) -> None:
    hub.headers = {"X-Error-Code": "RepoNotFound"}
    told(tmp_path, CheckpointNotFoundError, "'nlpai-lab/KoE5'", name="nlpai-lab/KoE-5")


def test_an_adapter_says_why_its_base_is_missing(hub: FakeHub, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": NAME}))
    hub.headers = {"X-Error-Code": "RepoNotFound"}
    with pytest.raises(MissingBaseError) as caught:
        load_encoder(adapter, cache_folder=str(tmp_path / "cache"))
    assert_bilingual(caught.value, NAME, "404")


# -- the cache ------------------------------------------------------------------------------------------------


def test_a_full_cache(hub: FakeHub, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    hub.folder = tmp_path / "model"
    dense(hub.folder)
    (hub.folder / "1_large.json").write_text(json.dumps(["글" * 100_000]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        text = told(tmp_path, StorageFullError, str(tmp_path / "cache"), "cache_folder=", "HF_HOME")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "인터넷" not in text
    assert load_encoder(NAME, cache_folder=str(tmp_path / "cache")).fingerprint.revision == COMMIT


def test_a_cache_that_cannot_be_written(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.folder = tmp_path / "model"
    dense(hub.folder)

    def denied(name: Any, *_: Any, **__: Any) -> None:  # permissions do not bind root, as whom CI runs
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr("os.makedirs", denied)
    monkeypatch.setattr(Path, "mkdir", denied)
    told(tmp_path, ReadOnlyError, str(tmp_path / "cache"), "Permission denied", "cache_folder=")


def test_settings_in_the_cache_without_weights(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.folder = tmp_path / "model"
    dense(hub.folder)
    encoder = load_encoder(NAME, cache_folder=str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubUnreachableError) as caught:
        encoder.encode_queries(["보증금"])
    assert_bilingual(caught.value, NAME, "HF_HUB_OFFLINE=1")
