"""A user's synonyms and abbreviations: a query with one of them is a query with all.

Queries are expanded, not documents: a search needs no new index when the list changes, and the list may be long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from korag.errors import InvalidArgumentError
from korag.text import is_empty, normalize

Groups: TypeAlias = tuple[tuple[str, ...], ...]
"""Words or phrases that mean the same, at least two in each group."""
SynonymsLike: TypeAlias = Mapping[str, str | Sequence[str]] | Sequence[Sequence[str]] | None
"""Synonyms as an argument: see `check_synonyms`."""


def check_synonyms(synonyms: SynonymsLike) -> Groups:
    """Returns synonyms as groups.

    Args:
        synonyms: ``{"주임법": "주택임대차보호법"}``, with a list for several; or lists of words that mean the same.

    Raises:
        InvalidArgumentError: If it is something else, a group has fewer than two members, or one of them is empty.
    """
    groups: list[object]
    if isinstance(synonyms, Mapping):
        groups = [[word, *(same if isinstance(same, list | tuple) else [same])] for word, same in synonyms.items()]
    elif synonyms is None or (isinstance(synonyms, Sequence) and not isinstance(synonyms, str)):
        groups = list(synonyms or ())
    else:
        raise _invalid(synonyms)
    for group in groups:
        if not isinstance(group, list | tuple) or len(group) < 2 or not all(map(_is_word, group)):
            raise _invalid(group)
    return tuple(tuple(group) for group in groups)  # type: ignore[arg-type]


def _is_word(word: object) -> bool:
    return isinstance(word, str) and not is_empty(word)


def _invalid(value: object) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"synonyms에 {value!r:.80}이(가) 있습니다. {{'주임법': '주택임대차보호법'}} 같은 dict나, 뜻이 같은 말을 "
        "둘 이상 모은 리스트의 리스트를 넣으세요.",
        f"synonyms has {value!r:.80}; pass a dict such as {{'주임법': '주택임대차보호법'}}, or a list of lists of "
        "two or more words that mean the same.",
    )


def expand(query: str, groups: Groups) -> str:
    """Returns a query with the groups of what it contains, each member in a line of its own.

    A member counts where a word begins, whatever is written onto it (``주임법상``), except letters and digits onto
    Latin ones; upper and lower case, and spaces inside, make no difference.
    """
    if not groups:
        return query
    pattern, members = _compiled(groups)
    found = {_key(match.group()) for match in pattern.finditer(normalize(query).casefold())}
    further = dict.fromkeys(word for key in sorted(found) for word in members[key])
    return "\n".join([query, *further])


def _key(word: str) -> str:
    return "".join(normalize(word).casefold().split())


@lru_cache(maxsize=16)
def _compiled(groups: Groups) -> tuple[re.Pattern[str], dict[str, list[str]]]:
    members: dict[str, list[str]] = {}
    spelt: dict[str, str] = {}
    for group in groups:
        for word in group:
            members.setdefault(_key(word), []).extend(group)
            parts = normalize(word).casefold().split()
            spelt[_key(word)] = r"\s*".join(map(re.escape, parts)) + (
                r"(?![a-z0-9])" if parts[-1][-1].isascii() else ""
            )
    longest = sorted(spelt, key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(spelt[key] for key in longest) + ")"), members
