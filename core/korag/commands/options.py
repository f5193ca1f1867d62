"""Helpers of several commands: options of the form NAME=VALUE, and output."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from korag.errors import InvalidArgumentError
from korag.storage import storage_error


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
        f"{option} {text!r}은(는) {form} 형식이어야 합니다.{korean}",
        f"{option} {text!r} must have the form {form}{english}.",
    )


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
    """Writes text and a line end to standard output.

    Raises:
        ReaderGoneError: If nobody reads it any more.
        StorageFullError: If it goes to a file and there is no space left.
        StorageError: If it cannot be written for another reason.
    """
    try:
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # or Python would fail once more at exit, with what is left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from error
        raise storage_error(error, Path("stdout"), writing=True) from error
