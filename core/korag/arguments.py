"""Arguments that the retrievers of every framework take alike, checked once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from korag.collection import Collection
from korag.collection.local.manifest import EncoderLike, TokenizerLike
from korag.errors import IndexStateError, InvalidArgumentError
from korag.fusion import check_weights


def reject_unknown(owner: object, given: Iterable[str], known: Sequence[str]) -> None:
    """Raises for a keyword that would otherwise be dropped without a word.

    Args:
        owner: Whose method it is: an object, or the class of a class method.
        given: Names of the keywords passed.
        known: Names of those there are.

    Raises:
        InvalidArgumentError: If one is not known; the message names the nearest that is.
    """
    takes = (owner if isinstance(owner, type) else type(owner)).__name__
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            korean, english = (f" 혹시 {near[0]}?", f" Did you mean {near[0]}?") if near else ("", "")
            raise InvalidArgumentError(
                f"{takes}에는 '{name}' 인자가 없습니다.{korean} 쓸 수 있는 것: {', '.join(known)}.",
                f"{takes} takes no '{name}'.{english} It takes: {', '.join(known)}.",
            )


def check_method(method: object) -> Literal["rrf", "weighted"]:
    """Returns a way to fuse; a collection would name its own argument in the error.

    Raises:
        InvalidArgumentError: If there is no such way.
    """
    if method == "rrf":
        return "rrf"
    if method == "weighted":
        return "weighted"
    raise InvalidArgumentError(
        f"method={method!r:.80}은(는) 쓸 수 없습니다. 'rrf' 또는 'weighted'여야 합니다.",
        f"method={method!r:.80} is not possible; it must be 'rrf' or 'weighted'.",
    )


def name_weights(legs: Sequence[str], weights: Mapping[str, float] | Sequence[float] | None) -> dict[str, float] | None:
    """Gives each weight of a list the name of its leg, and checks them.

    Args:
        legs: The legs that are fused, in a collection's order: the encoders', then ``"bm25"``.
        weights: By name, or one for each leg in that order; None for equal ones.

    Raises:
        InvalidArgumentError: If there are not as many, one is not a number of at least 0, or a leg does not exist.
    """
    if weights is None:
        return None
    if isinstance(weights, Sequence) and not isinstance(weights, str):
        if len(weights) != len(legs):
            raise InvalidArgumentError(
                f"weights가 {len(weights)}개인데 검색 방식은 {len(legs)}개입니다({', '.join(legs)}). 수를 맞추거나 "
                "이름을 적은 dict를 넣으세요.",
                f"There are {len(weights)} weights for {len(legs)} legs ({', '.join(legs)}); give as many, or a dict "
                "by name.",
            )
        return check_weights(legs, dict(zip(legs, weights, strict=True)))
    given: Any = weights  # a string is no mapping either, and the check says so
    return check_weights(legs, given)


def open_saved(
    path: str | os.PathLike[str],
    *,
    encoders: Sequence[EncoderLike] | None = None,
    tokenizer: TokenizerLike = None,
    made_by: str,
) -> Collection:
    """Opens a folder that must hold a collection.

    Args:
        path: The folder.
        encoders: Those it was built with; None for those it names.
        tokenizer: The tokenizer it was built with, if that is a function of the caller's.
        made_by: What makes such a folder, for the error.

    Raises:
        IndexStateError: If there is no such folder, or nothing in it.
        FingerprintError: If it was built with other encoders or another tokenizer.
    """
    folder = Path(path)
    if not folder.is_dir() or not any(folder.iterdir()):
        raise IndexStateError(
            f"'{path}' 폴더에 저장된 것이 없습니다. 먼저 만드세요: {made_by}.",
            f"There is nothing saved in '{path}'; make it first: {made_by}.",
        )
    options: dict[str, Any] = {"encoders": encoders, "tokenizer": tokenizer}
    return Collection.open(folder, **options)
