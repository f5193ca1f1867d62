"""Helpers of several commands: options of the form NAME=VALUE, and output."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from korag.errors import InvalidArgumentError
from korag.storage import storage_error


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
