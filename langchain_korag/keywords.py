"""Keywords that a method takes as ``**kwargs``, because LangChain's own signature does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from korag.errors import InvalidArgumentError


def reject_unknown(owner: object, given: Iterable[str], known: Sequence[str]) -> None:
    """Raises for a keyword that would otherwise be dropped without a word.

    Args:
        owner: Whose method it is.
        given: Names of the keywords passed.
        known: Names of those there are.

    Raises:
        InvalidArgumentError: If one is not known; the message names the nearest that is.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            korean, english = (f" 혹시 {near[0]}?", f" Did you mean {near[0]}?") if near else ("", "")
            raise InvalidArgumentError(
                f"{type(owner).__name__}에는 '{name}' 인자가 없습니다.{korean} 쓸 수 있는 것: {', '.join(known)}.",
                f"{type(owner).__name__} takes no '{name}'.{english} It takes: {', '.join(known)}.",
            )
