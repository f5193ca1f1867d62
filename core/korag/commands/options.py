"""Helpers of several commands: options of the form NAME=VALUE, and output."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import json
import os
import re
import sys

from korag.errors import InvalidArgumentError, StorageError

MARKS = ("\x1b[1;33m", "\x1b[0m")
"""Begin and end what fits a query, in a terminal."""
_CONTROLS = re.compile("|".join(map(re.escape, MARKS)) + r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""These marks, and characters that move the cursor, change colours or reverse text (Unicode Cc and bidi controls)."""


def add_token_options(parser: argparse.ArgumentParser, *, pool_factor: bool = True) -> None:
    """Adds ``--codec``, ``--keep-vectors`` and ``--pool-factor``; `korag.legs.multi_vector.settings` checks them.

    Args:
        parser: The command.
        pool_factor: Whether it makes vectors, so that these can be pooled.
    """
    parser.add_argument(
        "--codec",
        help="ColBERT 토큰 벡터를 저장하는 코덱: float16, int8, 4bit, 2bit, 1bit. Codec of the token vectors of "
        "ColBERT models.",
    )
    parser.add_argument(
        "--keep-vectors",
        action=argparse.BooleanOptionalAction,
        help="코덱과 함께 float16 벡터도 저장합니다. Stores the float16 vectors next to those of the codec.",
    )
    if pool_factor:
        parser.add_argument(
            "--pool-factor",
            type=int,
            metavar="N",
            help="문서마다 비슷한 토큰 벡터를 합쳐 N개에 하나꼴로 남깁니다. Merges similar token vectors of each "
            "document, so that one of N is left.",
        )


def split_pair(option: str, text: str, form: str = "NAME=VALUE", example: str = "") -> tuple[str, str]:
    """Splits the value of an option such as ``--set epochs=3``.

    Args:
        option: The option, for the message.
        text: Its value.
        form: The required form, for the message.
        example: A correct value, for the message.

    Raises:
        InvalidArgumentError: If there is no ``=``, or nothing on one side of it.
    """
    name, _, value = text.partition("=")
    if not name or not value:
        raise malformed(option, text, form, example)
    return name, value


def malformed(option: str, text: str, form: str, example: str = "") -> InvalidArgumentError:
    """Returns the error for an option's value in the wrong form."""
    korean, english = (f" 예: {example}", f", for example {example}") if example else ("", "")
    return InvalidArgumentError(
        f"{option} {text!r}: {form} 형식이어야 합니다.{korean}",
        f"{option} {text!r} must have the form {form}{english}.",
    )


def printable(text: str) -> str:
    """Returns a text without the characters that control a terminal, except KoRAG's marks of what fits."""
    return _CONTROLS.sub(lambda found: found[0] if found[0] in MARKS else "\N{REPLACEMENT CHARACTER}", text)


def as_json(value: object, *, indent: int | None = None) -> str:
    """Returns JSON for standard output, valid whatever its encoding is (that of a pipe may be CP949).

    Args:
        value: What to print.
        indent: As for `json.dumps`.
    """
    encoding = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name
    text = json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=indent)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # those that JSON allows


def say_interrupted(meaning: tuple[str, str]) -> None:
    """Says that Ctrl-C has ended a command.

    Args:
        meaning: What that means, in Korean and English.
    """
    korean, english = meaning
    sys.stderr.write(f"중단했습니다. {korean} / Interrupted. {english}\n")


class ReaderGoneError(Exception):
    """The process that read standard output has ended."""


def write(text: str) -> None:
    """Writes text and a line end to standard output, without what controls a terminal.

    Raises:
        ReaderGoneError: If nobody reads it any more.
        StorageError: If it cannot be written for another reason, such as a full disk.
    """
    try:
        sys.stdout.write(printable(text).rstrip("\n") + "\n")
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # or Python would fail once more at exit, with what is left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from error
        raise StorageError(
            f"출력을 쓰지 못했습니다({error.strerror}). 출력을 보낸 파일이나 디스크를 확인하세요.",
            f"The output could not be written ({error.strerror}); check the file or disk that it goes to.",
        ) from error
