"""``korag serve``: an HTTP server for a collection."""

from __future__ import annotations

import argparse
import os
from typing import Any

from korag.commands.opening import add_index, open_index
from korag.commands.options import write
from korag.errors import InvalidArgumentError

_TOKEN = "KORAG_TOKEN"  # noqa: S105 (the name of a variable)
_STOPPED = ("서버를 멈췄습니다.", "The server has stopped.")


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "serve",
        help="컬렉션을 HTTP로 제공합니다. Serves a collection over HTTP.",
        description="컬렉션을 HTTP로 제공합니다: 검색, 임베딩, 재순위. 읽기만 합니다. Serves a collection over HTTP: "
        "searching, vectors and reranking. It only reads.",
    )
    add_index(parser, models=True)
    add = parser.add_argument
    add(
        "--host", default="127.0.0.1", help="주소(기본값 127.0.0.1, 이 컴퓨터만). Address (default: this machine only)."
    )
    add("--port", type=int, default=8_400, help="포트(기본값 8400, 0이면 아무 포트나). Port (default 8400; 0 for any).")
    add(
        "--token",
        help="요청에 필요한 토큰. 프로세스 목록에 보이므로 환경 변수에 넣는 것이 좋습니다"
        f"({_TOKEN}). The token that requests need; others see it in the list of processes, so {_TOKEN} is better.",
    )
    add(
        "--reranker",
        metavar="MODEL",
        help="재순위 모델(기본값: 컬렉션의 ColBERT 모델). Reranker (default: the collection's ColBERT model).",
    )
    for name, default, korean, english in _LIMITS:
        kind = float if isinstance(default, float) else int
        shown = f"{default:,g}" if kind is float else f"{default:,}"
        add(
            f"--max-{name}",
            type=kind,
            default=default,
            metavar="N",
            help=f"{korean}(기본값 {shown}). {english} (default {shown}).",
        )
    parser.set_defaults(run=run, interrupted=_STOPPED)


_LIMITS = (
    ("k", 100, "검색 한 번의 결과 수", "Hits of a search"),
    ("texts", 128, "요청 하나의 글 수", "Texts of a request"),
    ("characters", 100_000, "글 하나의 글자 수", "Characters of a text"),
    ("body", 4_000_000, "요청 하나의 바이트 수", "Bytes of a request"),
    ("running", 4, "동시에 처리하는 요청 수", "Requests computed at a time"),
    ("waiting", 64, "대기할 수 있는 요청 수", "Requests that wait"),
    ("rate", 50.0, "한 주소의 초당 요청 수, 0이면 제한 없음", "Requests a second from one address; 0 for any"),
)
"""Options after ``--max-``: their defaults, and what they limit."""


def run(options: argparse.Namespace) -> None:
    """Serves until it is told to stop."""
    from korag._optional import check
    from korag.serving import running
    from korag.serving.app import check_token, create_app
    from korag.serving.limits import ServeLimits

    check("fastapi", "uvicorn", "prometheus_client", extra="serve")
    token = check_token(options.token or os.environ.get(_TOKEN) or None)
    running.check_address(options.host, token)
    limits = _limits(options, ServeLimits)
    with open_index(options) as collection:
        app = create_app(collection, token=token, reranker=options.reranker, limits=limits)
        collection.search("준비", k=1)  # loads the models, so that a mistake shows here and the first request is quick
        with running.listen(options.host, options.port) as listening:
            host = f"[{options.host}]" if ":" in options.host else options.host
            address = f"http://{host}:{listening.getsockname()[1]}"
            running.run(
                app,
                listening,
                on_ready=lambda: write(
                    f"{address} 에서 문서 {len(collection):,}개를 제공합니다. 멈추기: Ctrl-C\n"
                    f"Serving {len(collection):,} documents at {address}; stop with Ctrl-C."
                ),
            )


def _limits(options: argparse.Namespace, make: Any) -> Any:
    if options.max_rate < 0:
        raise InvalidArgumentError(
            f"--max-rate {options.max_rate}: 0 이상의 수여야 합니다.",
            f"--max-rate {options.max_rate} must be a number of at least 0.",
        )
    return make(
        hits=options.max_k,
        texts=options.max_texts,
        characters=options.max_characters,
        body_bytes=options.max_body,
        running=options.max_running,
        waiting=options.max_waiting,
        rate=options.max_rate or None,
    )
