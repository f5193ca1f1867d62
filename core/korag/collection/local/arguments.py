"""Arguments about the legs of a collection, checked as far as that is possible without one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from korag.analysis.tokenizers import TokenizerLike
from korag.checks import check_list
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.errors import InvalidArgumentError
from korag.fusion import LEXICAL
from korag.legs.lexical import BM25Like, lexical_settings
from korag.legs.multi_vector.settings import TokenArguments, check_tokens
from korag.legs.registry import leg_of_family, leg_type
from korag.legs.windows.settings import WindowArguments, WindowSize, check_windows

EncoderLike = Encoder[Any] | str | os.PathLike[str]
LegSettings = Mapping[str, Mapping[str, Any] | None] | Sequence[str] | None
"""Model-free legs as an argument: their names, or a dict of name and settings."""


@dataclass(frozen=True)
class LegArguments:
    """The arguments of `korag.Collection.open` that are about legs.

    Attributes:
        encoders: By leg.
        settings: Of model-free legs, by name.
        codecs: Names of codecs by leg.
        bm25: Short form of a setting; see `with_bm25`.
        tokenizer: Likewise.
        windows: How long documents are split for encoders.
        tokens: How late-interaction vectors are stored.
    """

    encoders: Mapping[str, Encoder[Any]] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    codecs: Mapping[str, str] = field(default_factory=dict)
    bm25: BM25Like = None
    tokenizer: TokenizerLike = None
    windows: WindowArguments = field(default_factory=WindowArguments)
    tokens: TokenArguments = field(default_factory=TokenArguments)

    @classmethod
    def check(
        cls,
        *,
        encoders: Sequence[EncoderLike] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        legs: LegSettings = None,
        codecs: Mapping[str, str] | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        window: WindowSize = "auto",
        stride: int | None = None,
    ) -> Self:
        """Checks the arguments and loads encoders given by name or path.

        Raises:
            InvalidArgumentError: If one breaks its rule, or two contradict each other.
        """
        windows, tokens = check_windows(window, stride), check_tokens(codec, keep_vectors, pool_factor)
        named = check_codecs(codecs)
        tokens.check_once(named)
        return cls(name_encoders(encoders), name_settings(legs), named, bm25, tokenizer, windows, tokens)


def name_encoders(encoders: Sequence[EncoderLike] | None) -> dict[str, Encoder[Any]]:
    """Loads encoders given by name or path. Returns them by leg.

    Raises:
        InvalidArgumentError: If two belong to the same leg, or a single encoder is given instead of a list.
    """
    named: dict[str, Encoder[Any]] = {}
    for given in check_list("encoders", [] if encoders is None else encoders):
        encoder = as_encoder(given)
        name = leg_of_family(encoder.family).name
        if name in named:
            raise InvalidArgumentError(
                f"encoders에 {encoder.family} 모델이 둘 있습니다: {named[name].model_name}, {encoder.model_name}. "
                "한 컬렉션에는 종류마다 하나만 둘 수 있으니 컬렉션을 나누세요.",
                f"encoders holds two {encoder.family} models: {named[name].model_name}, {encoder.model_name}. A "
                "collection has at most one of each family; use two collections.",
            )
        named[name] = encoder
    return named


def name_settings(legs: LegSettings) -> dict[str, dict[str, Any]]:
    """Returns the settings of model-free legs by name.

    Raises:
        InvalidArgumentError: If a leg is unknown or needs an encoder, or has no such setting.
    """
    names = [] if legs is None else list(legs) if isinstance(legs, Iterable) else [legs]
    if isinstance(legs, str) or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(
            f"legs={legs!r:.80}: 이름의 리스트나 {{이름: 설정}} 형식의 dict여야 합니다. 예: ['bm25'].",
            f"legs={legs!r:.80} must be a list of names or a dict from names to settings, for example ['bm25'].",
        )
    named: dict[str, dict[str, Any]] = {}
    for name in names:
        row, settings = leg_type(name), legs[name] if isinstance(legs, Mapping) else None
        if row.family is not None:
            raise InvalidArgumentError(
                f"legs={name!r}에는 모델이 필요합니다. encoders=[...]에 {row.family} 모델을 넣으세요.",
                f"legs={name!r} needs a model; pass a {row.family} model in encoders=[...].",
            )
        if not isinstance(settings, Mapping | None):
            raise InvalidArgumentError(
                f"legs={{{name!r}: {settings!r:.80}}}: 설정은 dict여야 합니다.",
                f"legs={{{name!r}: {settings!r:.80}}}: settings must be a dict.",
            )
        named[name] = dict(settings or {})
        row.check_settings(named[name])
    return named


def check_codecs(codecs: Mapping[str, str] | None) -> dict[str, str]:
    """Checks names of codecs by leg.

    Raises:
        InvalidArgumentError: If a leg or codec is unknown.
    """
    if not isinstance(codecs, Mapping | None):
        raise InvalidArgumentError(
            f"codecs={codecs!r:.80}: {{검색 방식: 코덱}} 형식의 dict여야 합니다. 예: {{'dense': 'float32'}}.",
            f"codecs={codecs!r:.80} must be a dict from legs to codecs, for example {{'dense': 'float32'}}.",
        )
    for leg, name in (codecs or {}).items():
        leg_type(leg, argument="codecs").codec(name)
    return dict(codecs or {})


def with_bm25(
    settings: Mapping[str, Mapping[str, Any]], *, bm25: BM25Like, tokenizer: TokenizerLike
) -> dict[str, dict[str, Any]]:
    """Adds the legs that ``bm25=…, tokenizer=…`` mean, short for ``legs={"bm25": {"tokenizer": …}}``.

    Raises:
        InvalidArgumentError: If the two contradict each other, or `bm25` is invalid.
    """
    given = lexical_settings(bm25, tokenizer)
    if bm25 is False and (twice := [name for name in LEXICAL if name in settings]):
        raise InvalidArgumentError(
            f"legs에 '{twice[0]}'을(를) 넣고 bm25=False도 넣었습니다. 하나만 넣으세요.",
            f"legs names '{twice[0]}', but bm25=False is given; give one of them.",
        )
    expanded = {name: dict(own) for name, own in settings.items()}
    for name, own in given.items():
        if (twice := [field for field in own if expanded.get(name, {}).get(field) is not None]) and own:
            short = "tokenizer=" if tokenizer is not None else "bm25="
            raise InvalidArgumentError(
                f"{short}과(와) legs의 '{name}' 설정 모두에 {twice[0]}을(를) 넣었습니다. 하나만 넣으세요.",
                f"Both {short} and the settings of '{name}' in legs give {twice[0]}; give one of them.",
            )
        expanded[name] = expanded.get(name, {}) | own
    return expanded


def check_tokenizer(tokenizer: TokenizerLike, *, bm25: bool) -> None:
    """Raises for a tokenizer without a BM25 leg.

    Raises:
        InvalidArgumentError: If one is given and `bm25` is False.
    """
    if tokenizer is not None and not bm25:
        raise InvalidArgumentError(
            f"tokenizer={tokenizer!r:.60}: BM25가 없어 쓰이지 않습니다. bm25=True를 함께 넣거나 tokenizer를 빼세요.",
            f"tokenizer={tokenizer!r:.60} was given, but there is no BM25 for it; add bm25=True or leave it out.",
        )


def no_legs() -> InvalidArgumentError:
    """Returns the error for a new collection without a leg."""
    return InvalidArgumentError(
        "새 컬렉션에는 검색 방식이 하나는 있어야 합니다: encoders=['mini-colbert'] 또는 bm25=True.",
        "A new collection needs something to search by: encoders=['mini-colbert'] or bm25=True.",
    )
