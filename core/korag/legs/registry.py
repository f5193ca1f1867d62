"""The legs a collection can have, one row each, and the codecs that store their vectors.

A new leg is a class (see `korag.legs.base`) and a row in `_BUILT_IN`, or a call of `register_leg` from another package.
A new codec is a class and an entry in its leg's row, or a call of `register_codec`. Both must be registered in every
process that opens a collection with them: only their names are stored.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from korag.checks import meant_name
from korag.encoders.base import Encoder
from korag.errors import IndexStateError, InvalidArgumentError
from korag.fusion import LEXICAL
from korag.legs.base import Codec, EncoderLeg, Leg, ModelFreeLeg
from korag.legs.bm25 import BM25Leg
from korag.legs.bm25_codecs import PostingsCodec as BM25Postings
from korag.legs.dense import DenseLeg, Float32Codec, Int8Codec
from korag.legs.multi_vector.codecs import Float16Codec
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.multi_vector.packed import PACKED
from korag.legs.sparse import PostingsCodec, SparseLeg


@dataclass(frozen=True)
class LegType:
    """A row of the registry.

    Attributes:
        name: What `using=` calls the leg.
        family: The encoder family it is for; None for a model-free leg.
        factory: The leg's class.
        codecs: The codecs it can be stored with. The first is the default.
        comparison_order: Of the legs a search uses, the one with the lowest number compares documents with each other.
    """

    name: str
    family: str | None
    factory: type[Leg]
    codecs: tuple[Codec, ...]
    comparison_order: int

    def codec(self, name: str | None) -> Codec:
        """Returns a codec by name; the default for None.

        Raises:
            InvalidArgumentError: If there is no such codec.
        """
        for codec in self.codecs:
            if name is None or codec.name == name:
                return codec
        known = ", ".join(codec.name for codec in self.codecs)
        raise InvalidArgumentError(
            f"codecs={{{self.name!r}: {name!r}}}: 그런 코덱이 없습니다. '{self.name}'에 쓸 수 있는 코덱: {known}.",
            f"codecs={{{self.name!r}: {name!r}}}: there is no such codec. Codecs for '{self.name}': {known}.",
        )

    def make(self, codec: Codec, encoder: Encoder[Any] | None, settings: Mapping[str, Any] | None) -> Leg:
        """Makes the leg of a new collection.

        Args:
            codec: How its representations are stored.
            encoder: For a leg that has one.
            settings: Of the leg; those of a leg with an encoder come from arguments of their own.

        Raises:
            InvalidArgumentError: If a model-free leg has no such setting.
        """
        make = cast("Callable[..., Leg]", self.factory)  # the two kinds of legs take different arguments
        if self.family is not None:
            return make(encoder, codec, **(settings or {}))
        self.check_settings(settings or {})
        return make(codec, **(settings or {}))

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises for a setting that the model-free leg does not have.

        Raises:
            InvalidArgumentError: If the leg has no such setting.
        """
        known = list(inspect.signature(self.factory).parameters)[1:]
        for name in settings:
            if name not in known:
                listed = ", ".join(known)
                raise InvalidArgumentError(
                    f"legs={{{self.name!r}: ...}}의 {name!r}은(는) 없는 설정입니다. 쓸 수 있는 설정: "
                    f"{listed or '없음'}.",
                    f"legs={{{self.name!r}: ...}}: this leg has no setting {name!r}. Its settings: {listed or 'none'}.",
                )


_BUILT_IN = (
    LegType("dense", "dense", DenseLeg, (Float32Codec(), Int8Codec()), 0),
    LegType("colbert", "late_interaction", LateInteractionLeg, (Float16Codec(), *PACKED), 1),
    LegType("sparse", "sparse", SparseLeg, (PostingsCodec(),), 2),
    *(LegType(name, None, BM25Leg, (BM25Postings(),), 3 + number) for number, name in enumerate(LEXICAL)),
)
_legs: dict[str, LegType] = {row.name: row for row in _BUILT_IN}


def register_leg(
    name: str, *, factory: type[Leg], codecs: Iterable[Codec], family: str | None = None, comparison_order: int = 100
) -> None:
    """Makes a leg available to collections: ``Collection.open(path, legs=[name])``, or through its encoder.

    Args:
        name: What `using=` calls it; lower-case letters, digits and underscores.
        factory: A `ModelFreeLeg`, or an `EncoderLeg` if `family` is given.
        codecs: How its representations can be stored. The first is the default.
        family: The encoder family it is for; None for a model-free leg.
        comparison_order: Of the legs a search uses, the one with the lowest number compares documents with each other;
            the built-in ones have 0 to 6.

    Raises:
        InvalidArgumentError: If the name or family is taken, or another argument is invalid.
    """
    rows = tuple(codecs)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ("hybrid", "keys"):
        raise InvalidArgumentError(
            f"검색 방식의 이름 {name!r}은(는) 쓸 수 없습니다. 영문 소문자로 시작하고 소문자, 숫자, 밑줄로 이루어진 "
            "이름이어야 하며 'hybrid'와 'keys'는 안 됩니다.",
            f"{name!r} is invalid as a leg's name: it must start with a lower-case letter, continue with lower-case "
            "letters, digits and underscores, and not be 'hybrid' or 'keys'.",
        )
    if name in _legs:
        raise InvalidArgumentError(
            f"'{name}'이라는 검색 방식이 이미 있습니다. 다른 이름을 쓰세요.",
            f"There is a leg named '{name}' already; use another name.",
        )
    for row in _legs.values():
        if family is not None and row.family == family:
            raise InvalidArgumentError(
                f"family={family!r}에는 이미 '{row.name}'이(가) 있습니다. 인코더 종류마다 검색 방식은 하나입니다.",
                f"family={family!r} already has the leg '{row.name}'; there is one leg per family of encoders.",
            )
    needed = ModelFreeLeg if family is None else EncoderLeg
    if not isinstance(factory, type) or not issubclass(factory, needed):
        raise InvalidArgumentError(
            f"factory={factory!r:.80}은(는) {needed.__name__}을(를) 상속한 클래스여야 합니다(family={family!r}).",
            f"factory={factory!r:.80} must be a class derived from {needed.__name__} (family={family!r}).",
        )
    if not rows:
        raise InvalidArgumentError(
            f"'{name}'에 코덱이 하나는 있어야 합니다: codecs=[...].",
            f"'{name}' needs at least one codec: codecs=[...].",
        )
    row = LegType(name, family, factory, (), comparison_order)
    for codec in rows:
        row = _with_codec(row, codec)
    _legs[name] = row


def register_codec(leg: str, *, codec: Codec) -> None:
    """Makes a codec available to collections: ``Collection.open(path, ..., codecs={leg: codec.name})``.

    Args:
        leg: The name of a registered leg.
        codec: An instance; it must understand the leg's vectors, and derive from the leg's codec base class.

    Raises:
        InvalidArgumentError: If there is no such leg, or it has a codec of that name.
    """
    _legs[leg] = _with_codec(leg_type(leg, argument="leg"), codec)


def _with_codec(row: LegType, codec: Codec) -> LegType:
    name, version = getattr(codec, "name", None), getattr(codec, "version", None)
    if not isinstance(codec, Codec) or not isinstance(name, str) or not name or not isinstance(version, int):
        raise InvalidArgumentError(
            f"codec={codec!r:.80}은(는) name과 version이 있는 Codec의 인스턴스여야 합니다.",
            f"codec={codec!r:.80} must be an instance of Codec with a name and a version.",
        )
    if name in (other.name for other in row.codecs):
        raise InvalidArgumentError(
            f"'{row.name}'에 '{name}'이라는 코덱이 이미 있습니다. 다른 이름을 쓰세요.",
            f"'{row.name}' has a codec named '{name}' already; use another name.",
        )
    return replace(row, codecs=(*row.codecs, codec))


@contextmanager
def temporary_registrations() -> Iterator[None]:
    """Undoes, at the end of the block, what was registered inside it; for tests."""
    before = dict(_legs)
    try:
        yield
    finally:
        _legs.clear()
        _legs.update(before)


def leg_types() -> tuple[LegType, ...]:
    """Returns all rows."""
    return tuple(_legs.values())


def leg_type(name: str, *, argument: str = "legs") -> LegType:
    """Returns a row by the leg's name.

    Args:
        name: The leg's name, as a caller gave it.
        argument: The argument it was given in, for the message.

    Raises:
        InvalidArgumentError: If there is no such leg.
    """
    if name not in _legs:
        known = ", ".join(_legs)
        korean, english = meant_name(name, _legs)
        raise InvalidArgumentError(
            f"{argument}={name!r}: 그런 검색 방식이 없습니다.{korean} 등록된 것: {known}.",
            f"{argument}={name!r}: there is no such leg.{english} Registered: {known}.",
        )
    return _legs[name]


def leg_of_family(family: str) -> LegType:
    """Returns the row for a family of encoders.

    Raises:
        InvalidArgumentError: If no leg is registered for it.
    """
    for row in _legs.values():
        if row.family == family:
            return row
    raise InvalidArgumentError(
        f"family={family!r}인 인코더를 쓰는 검색 방식이 없습니다. register_leg로 등록하세요.",
        f"No leg is registered for encoders of family={family!r}; see register_leg.",
    )


def lexical_legs(names: Iterable[str]) -> frozenset[str]:
    """Returns those that name a registered lexical leg (see `korag.legs.base.Leg`)."""
    return frozenset(name for name in names if name in _legs and _legs[name].factory.lexical)


def recorded_codec(leg: str, name: str, *, place: str) -> tuple[LegType, Codec]:
    """Returns the leg and codec that a collection was made with.

    Args:
        leg: The leg's name in the manifest.
        name: The codec's name there.
        place: The collection, for messages.

    Raises:
        IndexStateError: If one of them is not registered here.
    """
    if leg not in _legs:
        raise IndexStateError(
            f"{place}에는 '{leg}' 색인이 있지만 여기에는 그 검색 방식이 등록되어 있지 않습니다. 이를 등록하는 패키지를 "
            "먼저 import하거나 KoRAG를 업그레이드하세요.",
            f"{place} has a '{leg}' index, but no such leg is registered here. Import the package that registers it "
            "first, or upgrade KoRAG.",
        )
    for codec in _legs[leg].codecs:
        if codec.name == name:
            return _legs[leg], codec
    raise IndexStateError(
        f"{place}의 '{leg}' 색인은 '{name}' 코덱으로 저장되어 있지만 여기에는 그 코덱이 없습니다. 이를 등록하는 "
        "패키지를 먼저 import하거나 KoRAG를 업그레이드하세요.",
        f"The '{leg}' index of {place} is stored with the codec '{name}', which is not registered here. Import the "
        "package that registers it first, or upgrade KoRAG.",
    )
