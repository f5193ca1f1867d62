"""An application of `korag.serving` on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

DOCUMENTS = {
    "보증금": "임대차 계약이 끝나면 집주인은 보증금을 돌려주어야 한다.",
    "도서관": "시립 도서관은 매주 월요일에 문을 닫는다.",
    "휴가": "연차 휴가는 사흘 전까지 팀장에게 신청한다.",
    "출장": "출장비는 돌아온 날부터 일주일 안에 청구한다.",
    "보존": "계약서는 십 년, 회의록은 오 년 동안 보존한다.",
    "꺾쇠": "<b>굵은 글씨</b>와 <script>alert('꺾쇠')</script>는 글일 뿐이다.",
}


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Serves an application in a thread; gives its address."""
    import uvicorn

    from korag.serving.running import listen

    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
