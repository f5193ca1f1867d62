"""``korag``: the command line. The subcommands are in `korag.commands`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from korag.commands import evaluate, merge, models, train, verify
from korag.commands.options import ReaderGoneError
from korag.commands.parser import Parser
from korag.errors import KoragError

COMMANDS = (models, train, merge, evaluate, verify)
"""The commands, in the order ``korag --help`` lists them."""


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
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except ReaderGoneError:
        return 141  # 128 + SIGPIPE, as other commands whose reader has had enough
    except KoragError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(
            "중단했습니다. 끝난 행은 --output 폴더에 있습니다. / Interrupted; --output has the finished rows.\n"
        )
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; each sets ``run`` to its function."""
    parser = Parser(prog="korag", description="한국어 검색 모델 도구. Tools for Korean retrieval models.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_arguments(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
