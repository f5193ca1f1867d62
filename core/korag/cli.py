"""``korag``: the command line. The subcommands are in `korag.commands`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from korag import __version__
from korag.commands import (
    doctor,
    evaluate,
    export,
    index,
    info,
    mcp,
    merge,
    models,
    search,
    serve,
    train,
    truncated,
    upgrade,
    verify,
)
from korag.commands.options import ReaderGoneError, printable, say_interrupted
from korag.commands.parser import Parser
from korag.errors import KoragError

COMMANDS = (index, search, serve, mcp, info, truncated, verify, upgrade, export, doctor, models, evaluate, train, merge)
"""The commands, in the order ``korag --help`` lists them."""

_INTERRUPTED = ("바뀐 것이 없습니다.", "Nothing was changed.")
"""Said after Ctrl-C by a command that only reads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The command line after ``korag``; None for the process's own.

    Returns:
        The exit code: 0; 2 for a mistake of the user's, with a message; 130 if interrupted; 141 if nobody reads the
        output any more, as in ``korag models | head``.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # tests and notebooks replace the streams
            # a terminal without Hangul gets escapes, not a UnicodeEncodeError
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = argparse.Namespace(interrupted=_INTERRUPTED)
    try:
        build_parser().parse_args(arguments, options)
        options.run(options)
    except ReaderGoneError:
        return 141  # 128 + SIGPIPE, as other commands whose reader has had enough
    except KoragError as error:
        sys.stderr.write(printable(f"{error}\n"))
        return 2
    except KeyboardInterrupt:
        say_interrupted(options.interrupted)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; each sets ``run`` to its function."""
    parser = Parser(prog="korag", description="한국어 검색 모델 도구. Tools for Korean retrieval models.")
    parser.add_argument("--version", action="version", version=f"korag {__version__}", help="버전을 봅니다. Version.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_arguments(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
