"""Old names of keywords, which work for one release with a warning."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from korag.errors import InvalidArgumentError
from korag.keywords import replace_names

P = ParamSpec("P")
R = TypeVar("R")
_LIBRARIES = ("korag", "langchain_korag", "llamaindex_korag", "langchain_core", "llama_index", "pydantic")
"""Packages whose frames lie between the user's call and the warning."""


def rename_keywords(keywords: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Returns keywords with deprecated ones under their new names, and warns for each that was given.

    Args:
        keywords: The keywords of the call.
        names: New names by old name.

    Raises:
        InvalidArgumentError: If a keyword is given under both names.
    """
    renamed = replace_names(keywords, names, _both)
    for old, new in names.items():
        if old in keywords:
            _warn(old, new)
    return renamed


def _both(old: str, new: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{old}=은 {new}=의 옛 이름입니다. 둘 다 넣지 말고 {new}=만 쓰세요.",
        f"Both {new} and its old name {old} are given; use {new} only.",
    )


def accepts_old_names(names: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function so that it takes keywords under their old names too, as `rename_keywords` does."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def with_new_names(*args: P.args, **keywords: P.kwargs) -> R:
            renamed: Any = rename_keywords(keywords, names)
            return function(*args, **renamed)  # pyright: ignore[reportCallIssue]  # the names of the function's own

        return with_new_names

    return decorate


def renamed_attribute(old: str, new: str) -> property:
    """Returns a property that reads and writes the attribute `new` under its old name, with a warning."""

    def read(self: object) -> Any:
        _warn(old, new)
        return getattr(self, new)

    def write(self: object, value: Any) -> None:
        _warn(old, new)
        setattr(self, new, value)

    return property(read, write, doc=f"Deprecated name of `{new}`.")


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old}=의 새 이름은 {new}=입니다. 옛 이름은 다음 버전에서 없어집니다. / {old}= is now {new}=; the old "
        "name will be removed in the next release.",
        DeprecationWarning,
        stacklevel=_stacklevel(),
    )


def _stacklevel() -> int:
    """Level of the user's frame, seen from `_warn`: Python shows a DeprecationWarning for the user's own code only."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    return level
