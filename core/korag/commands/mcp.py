"""``korag mcp``: a server for agents on standard input and output."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

from korag.commands.opening import add_index, open_index
from korag.commands.options import say_interrupted
from korag.errors import KoragError

if TYPE_CHECKING:
    from korag.collection.base import Collection

_STOPPED = ("서버를 멈췄습니다.", "The server has stopped.")


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "mcp",
        help="컬렉션을 에이전트에 제공합니다(MCP). Serves a collection to agents (MCP).",
        description="컬렉션을 MCP(표준 입출력)로 에이전트에 제공합니다: search, get, explain. 읽기만 합니다. Serves a "
        "collection to agents by the Model Context Protocol on standard input and output. It only reads.",
    )
    add_index(parser, models=True)
    parser.set_defaults(run=run, interrupted=_STOPPED)


def run(options: argparse.Namespace) -> None:
    """Serves until standard input ends. Nothing but the protocol goes to standard output."""
    from korag._optional import check

    check("mcp", extra="mcp")
    from korag.serving.agents import make_agent_server

    with open_index(options) as collection:
        # while client and server greet each other, for which clients do not wait long
        Thread(target=_load_models, args=(collection,), daemon=True).start()
        server = make_agent_server(collection)
        if current_thread() is main_thread():
            signal.signal(signal.SIGINT, _leave)
        server.run("stdio")


def _leave(*_: object) -> None:
    """Ends the process: the thread that reads standard input waits for it, and Python would wait for the thread."""
    say_interrupted(_STOPPED)
    os._exit(130)


def _load_models(collection: Collection) -> None:
    with contextlib.suppress(KoragError):  # the first call says it
        collection.search("준비", k=1)
