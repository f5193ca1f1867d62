"""Faults on the way: tried again as long as it may help, then one error; keys are never shown."""

from __future__ import annotations

import copy
import gc
import logging
import pickle
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest
from model_servers import plain, serve, tei

from korag import ServerOptions, load_encoder
from korag.errors import InvalidArgumentError, ServerError
from korag.remote.retries import pause, retry_after

KEY = "sk-geheim-0123456789"


@pytest.fixture(scope="module")
def answer() -> Any:
    return tei(plain(load_encoder("mini-dense")))


@pytest.mark.parametrize("fault", [408, 425, 429, 500, 502, 503, 504, "drop", "cut"])
def test_faults_that_pass_are_not_seen(fault: Any, answer: Any) -> None:
    with serve(answer, headers={"Retry-After": "0"}) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=ServerOptions(batch_size=2))
        server.faults = [fault, fault, fault]
        texts = ["가", "나다", "라마바", "사아자차", "카타파하"]
        found = encoder.encode_documents(texts)
        assert not server.faults
    assert np.allclose(found, load_encoder("mini-dense").encode_documents(texts), atol=1e-6)


def test_a_thousand_texts_with_faults_are_encoded_once_each(answer: Any) -> None:
    texts = [f"{number}번째 문장입니다." for number in range(1_000)]
    with serve(answer) as server:
        options = ServerOptions(batch_size=50, concurrency=8, retries=24)  # one request may meet all of them
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=options)
        server.faults = [500, "drop", None, 429, "cut", None, None, 503] * 3
        found = encoder.encode_documents(texts)
    assert np.allclose(found, load_encoder("mini-dense").encode_documents(texts), atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "message"),
    [(500, "HTTP 500: {\"error\": \"later\""), ("drop", "no connection, or it was dropped"), ("cut", "was cut off"),
     ("slow", "no answer within 1 seconds")],
)  # fmt: skip
def test_faults_that_stay_are_one_error(fault: Any, message: str, answer: Any) -> None:
    with serve(answer) as server:
        encoder = load_encoder(
            server.url + "/embed",
            like="mini-dense",
            server=ServerOptions(retries=2, timeout=1 if fault == "slow" else 9),
        )
        server.faults = [fault] * 3
        with pytest.raises(ServerError, match="in 3 attempts") as error:
            encoder.encode_queries(["질의"])
        assert not server.faults
    assert message in str(error.value)
    assert isinstance(error.value, ConnectionError)


def test_waiting_for_a_server_that_limits_requests_is_no_failure(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("korag.remote.transport.retry_after", lambda _: 0.2)
    with serve(answer) as server:
        options = ServerOptions(batch_size=1, retries=0)
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=options)
        before = len(server.requests)
        server.faults = [429] * 12
        assert len(encoder.encode_documents(["하나", "둘", "셋", "넷", "다섯", "여섯"])) == 6
        assert len(server.requests) == before + 18
        monkeypatch.setattr("korag.remote.transport._PATIENCE", 0.5)
        server.faults = [429] * 12
        with pytest.raises(ServerError, match="HTTP 429"):
            encoder.encode_queries(["질의"])


def test_all_requests_pause_where_one_is_refused_for_being_too_many(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    answered: list[float] = []

    def note(path: str, body: dict[str, Any]) -> Any:
        answered.append(time.monotonic())
        return answer(path, body)

    monkeypatch.setattr("korag.remote.transport.pause", lambda _: paused.append(time.monotonic()) or 0.5)
    with serve(note) as server:
        options = ServerOptions(batch_size=1, concurrency=2)
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=options)
        answered.clear()
        server.faults = [429]
        assert len(encoder.encode_documents(["하나", "둘", "셋", "넷"])) == 4
    assert len(paused) == 1
    assert sum(paused[0] < moment < paused[0] + 0.45 for moment in answered) <= 1  # what had been sent before


def test_a_server_that_says_to_wait_long_is_not_waited_for(answer: Any) -> None:
    with serve(answer, headers={"Retry-After": "3600"}) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense")
        server.faults = [429]
        with pytest.raises(ServerError, match=r"asking to wait 3,600 seconds; in 1 attempts"):
            encoder.encode_queries(["질의"])


@pytest.mark.parametrize("said", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_server_that_says_to_wait_no_time_is_not_asked_without_pauses(
    said: str, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []
    monkeypatch.setattr("korag.remote.transport.pause", lambda attempt: pauses.append(attempt) or 0)
    with serve(answer, headers={"Retry-After": said}) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=ServerOptions(retries=3))
        server.faults = [429] * 4
        with pytest.raises(ServerError, match=r"takes no more requests for now.*in 4 attempts") as error:
            encoder.encode_queries(["질의"])
    assert "요청을 더 받지 않습니다" in str(error.value)
    assert pauses[:3] == [0, 1, 2]


def test_a_model_that_the_garbage_collector_finds_while_another_starts_hangs_nothing(answer: Any) -> None:
    """Its client is closed in the loop that all share."""
    from korag.remote import loop

    done: list[int] = []

    def collect() -> None:
        with serve(answer) as server:
            encoder = load_encoder(server.url + "/embed", like="mini-dense")
            assert len(encoder.encode_queries(["질의"])) == 1
            encoder.itself = encoder
            del encoder
            with loop._lock:  # as where the loop is made
                gc.collect()
            done.append(1)

    thread = Thread(target=collect, daemon=True)
    thread.start()
    thread.join(60)
    assert done


def test_no_server_is_one_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerError, match="in 2 attempts") as error:
        load_encoder(f"http://127.0.0.1:{port}/embed", like="mini-dense", server=ServerOptions(retries=1))
    assert "서버가 켜져 있는지" in str(error.value)


@pytest.mark.parametrize("status", [400, 404, 422, 301])
def test_refusals_are_not_tried_again(status: int, answer: Any) -> None:
    with serve(answer) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense")
        before = len(server.requests)
        server.faults = [status]
        with pytest.raises(ServerError, match=f"HTTP {status}"):
            encoder.encode_queries(["질의"])
        assert len(server.requests) == before + 1


def test_a_single_text_that_is_too_large_is_an_error(answer: Any) -> None:
    with serve(answer) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense")
        server.faults = [413]
        with pytest.raises(ServerError, match="a single text as too large"):
            encoder.encode_queries(["질의"])


@pytest.mark.parametrize(
    ("content", "encoding"), [(b"[" * 200_000, ""), (b"[" + b"1" * 5_000 + b"]", ""), (b"[1]", "gzip")]
)
def test_answers_that_cannot_be_read_are_one_error(content: bytes, encoding: str) -> None:
    with _raw([content], encoding=encoding) as url, pytest.raises(ServerError, match="in 1 attempts"):
        load_encoder(f"{url}/embed", like="mini-dense", server=ServerOptions(retries=0))


def test_the_timeout_is_of_a_whole_attempt() -> None:
    with _raw([b" "] * 60, pause=0.1) as url, pytest.raises(ServerError, match=r"within 0\.5 seconds"):
        load_encoder(f"{url}/embed", like="mini-dense", server=ServerOptions(retries=0, timeout=0.5))


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("korag.remote.transport._LARGEST", 1_000)
    with _raw([b" " * 600] * 3) as url, pytest.raises(ServerError, match=r"in 1 attempts.*more than 1 GiB"):
        load_encoder(f"{url}/embed", like="mini-dense")


@contextmanager
def _raw(parts: list[bytes], *, encoding: str = "", pause: float = 0) -> Iterator[str]:
    """A server that answers everything with some bytes."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(sum(map(len, parts))))
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            with suppress(OSError):
                for part in parts:
                    self.wfile.write(part)
                    time.sleep(pause)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# -- keys -----------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_nowhere_else(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(answer, key=KEY) as server:
        options = ServerOptions(api_key=KEY)
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=options)
        assert len(copy.deepcopy(encoder).encode_queries(["질의"])) == 1
        assert set(server.keys) == {f"Bearer {KEY}"}
        for shown in (repr(options), repr(encoder), str(vars(encoder)), str(encoder.load_arguments), caplog.text):
            assert KEY not in shown
        data = pickle.dumps(encoder)
        assert KEY.encode() not in data
        assert KEY.encode() not in pickle.dumps(options)
        with pytest.raises(ServerError, match="HTTP 401") as error:
            pickle.loads(data).encode_queries(["질의"])  # noqa: S301
        assert "api_key_env" in str(error.value)


def test_a_server_that_repeats_the_key_does_not_make_it_shown(answer: Any) -> None:
    with serve(answer, key="another") as server, pytest.raises(ServerError, match=r"\*\*\*") as error:
        load_encoder(server.url + "/embed", like="mini-dense", server=ServerOptions(api_key=KEY))
    frames = traceback.walk_tb(error.value.__traceback__)
    shown = "".join(
        f"{frame.f_code.co_name} {frame.f_locals!r}" for frame, _ in frames if "korag" in frame.f_code.co_filename
    )
    assert "_refused" in shown or "_try" in shown
    shown += "".join(traceback.TracebackException.from_exception(error.value).format())
    assert KEY not in shown
    assert KEY not in repr(error.value)


def test_a_key_in_the_environment_works_in_pickles(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KORAG_TEST_KEY", KEY)
    with serve(answer, key=KEY) as server:
        encoder = load_encoder(
            server.url + "/embed", like="mini-dense", server=ServerOptions(api_key_env="KORAG_TEST_KEY")
        )
        data = pickle.dumps(encoder)
        assert KEY.encode() not in data
        assert len(pickle.loads(data).encode_queries(["질의"])) == 1  # noqa: S301
        monkeypatch.delenv("KORAG_TEST_KEY")
        with pytest.raises(InvalidArgumentError, match="KORAG_TEST_KEY"):
            load_encoder(server.url + "/embed", like="mini-dense", server=ServerOptions(api_key_env="KORAG_TEST_KEY"))


def test_keys_in_secrets_of_pydantic_are_taken(answer: Any) -> None:
    from pydantic import SecretStr

    with serve(answer, key=KEY) as server:
        load_encoder(server.url + "/embed", like="mini-dense", server=ServerOptions(api_key=SecretStr(KEY)))


def test_a_key_is_not_sent_in_the_open() -> None:
    options = ServerOptions(api_key=KEY, retries=0)
    with pytest.raises(InvalidArgumentError, match="not encrypted") as error:
        load_encoder("http://models.example/embed", like="mini-dense", server=options)
    assert KEY not in str(error.value)
    with pytest.raises(InvalidArgumentError, match="allow_http=True"):
        load_encoder("http://localhost.example/embed", like="mini-dense", server=ServerOptions(api_key_env="X"))


def test_a_proxy_does_not_see_requests_to_this_machine(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serve(answer, key=KEY) as server:
        load_encoder(server.url + "/embed", like="mini-dense", server=ServerOptions(api_key=KEY, retries=0))
        assert server.requests


def test_what_follows_a_question_mark_is_sent_and_not_shown(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(lambda path, body: answer(path.partition("?")[0], body)) as server:
        encoder = load_encoder(server.url + "/embed?version=1&code=geheim", like="mini-dense")
        assert server.requests[0][0] == "/embed?version=1&code=geheim"
        assert "geheim" not in repr(encoder)
        data = pickle.dumps(encoder)
        assert b"geheim" not in data
        with pytest.raises(InvalidArgumentError, match="pickle does not hold it"):
            pickle.loads(data).encode_queries(["질의"])  # noqa: S301
        server.faults = [400]
        with pytest.raises(ServerError, match="later") as error:  # the server repeats its path
            encoder.encode_queries(["질의"])
        assert "geheim" not in str(error.value)
        assert "?***" in str(error.value)
        assert len(copy.deepcopy(encoder).encode_queries(["질의"])) == 1  # is no pickle
    assert "HTTP Request: POST" in caplog.text
    assert "geheim" not in caplog.text


# -- pauses ---------------------------------------------------------------------------------------------------


def test_pauses_double_and_end() -> None:
    for attempt, longest in enumerate([0.5, 1, 2, 4, 8, 16, 20, 20]):
        assert all(longest / 2 <= pause(attempt) <= longest for _ in range(50))


@pytest.mark.parametrize(
    ("value", "seconds"), [("3", 3), ("", None), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-1", None)]
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds
