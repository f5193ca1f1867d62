"""The arguments ``codec=``, ``keep_vectors=`` and ``pool_factor=``: how late-interaction vectors are stored."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import cast

from korag.checks import check_count, check_flag
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError
from korag.legs.multi_vector.codecs import MultiVectorCodec
from korag.legs.registry import LegType, leg_of_family

_SUFFIX = "+vectors"
"""Ends the name of a codec that stores what the one without it does, and the vectors themselves."""


@dataclass(frozen=True)
class TokenArguments:
    """The arguments as a caller gave them; `check_tokens` checks them.

    Attributes:
        codec: Name of a codec; None for what the collection has, or the default for a new one.
        keep_vectors: Store the vectors themselves too; None likewise.
        pool_factor: See `korag.legs.multi_vector.pooling.pool`; None likewise.
    """

    codec: str | None = None
    keep_vectors: bool | None = None
    pool_factor: int | None = None

    @property
    def _codec(self) -> dict[str, object]:
        """Those of the two arguments for the codec that are given, by name."""
        both: dict[str, object] = {"codec": self.codec, "keep_vectors": self.keep_vectors}
        return {name: value for name, value in both.items() if value is not None}

    def check_once(self, codecs: Mapping[str, str]) -> None:
        """Raises if ``codecs=`` gives the codec too.

        Raises:
            InvalidArgumentError: If both do.
        """
        leg = token_row().name
        if leg in codecs and self._codec:
            name, value = next(iter(self._codec.items()))
            raise InvalidArgumentError(
                f"{name}={value!r}과(와) codecs={{{leg!r}: {codecs[leg]!r}}}을(를) 함께 넣었습니다. 하나만 넣으세요.",
                f"Both {name}={value!r} and codecs={{{leg!r}: {codecs[leg]!r}}} are given; give one of them.",
            )

    def check_needed(self, legs: Container[str]) -> None:
        """Raises for an argument without a late-interaction model that it is for.

        Args:
            legs: Their names.

        Raises:
            InvalidArgumentError: If one is given and there is no such model.
        """
        given = self._codec if self.pool_factor is None else {**self._codec, "pool_factor": self.pool_factor}
        if token_row().name not in legs:
            for name, value in given.items():
                raise InvalidArgumentError(
                    f"{name}={value!r}: 토큰마다 벡터를 만드는 ColBERT 모델에만 쓸 수 있습니다. {name}을(를) 빼거나 "
                    "ColBERT 모델을 넣으세요. 예: encoders=['mini-colbert'].",
                    f"{name}={value!r} is for ColBERT models, which make a vector per token. Leave {name} out, or add "
                    "such a model, for example encoders=['mini-colbert'].",
                )

    def codecs(self) -> dict[str, str]:
        """Returns the codec of a new collection, by leg; empty for the default."""
        return {token_row().name: named_codec(self.codec, self.keep_vectors).name} if self._codec else {}

    def settings(self, leg: str) -> dict[str, int]:
        """Returns the settings of a leg of a new collection."""
        return {} if self.pool_factor is None or leg != token_row().name else {"pool_factor": self.pool_factor}

    def check_recorded(self, codec: MultiVectorCodec, pool_factor: int, *, place: str) -> None:
        """Raises unless an existing collection has what is asked for.

        Args:
            codec: What it has.
            pool_factor: Likewise.
            place: The collection.

        Raises:
            FingerprintError: If it has something else.
        """
        if self.codec is not None:
            wanted = named_codec(self.codec, self.keep_vectors).name
            either = {wanted, wanted + _SUFFIX} if self.keep_vectors is None else {wanted}
            if codec.name not in either:
                raise _differs("codec", wanted, codec.name, place, by_upgrade=codec.keeps_vectors)
        elif self.keep_vectors not in (None, codec.keeps_vectors):
            can_drop = codec.keeps_vectors and codec.name.endswith(_SUFFIX)
            raise _differs("keep_vectors", self.keep_vectors, codec.keeps_vectors, place, by_upgrade=can_drop)
        if self.pool_factor not in (None, pool_factor):
            raise _differs("pool_factor", self.pool_factor, pool_factor, place, by_upgrade=False)

    def recoded(self, codec: MultiVectorCodec, *, place: str) -> MultiVectorCodec:
        """Returns the codec that the vectors of an existing collection are to be stored with; its own if as they are.

        Args:
            codec: Its own.
            place: The collection.

        Raises:
            InvalidArgumentError: If it consists of vectors, and they are not to be kept.
            IndexStateError: If another codec is asked for, and its own has not kept the vectors.
        """
        if not self._codec:
            return codec
        wanted = named_codec(self.codec or codec.name.removesuffix(_SUFFIX), self.keep_vectors)
        if wanted.name == codec.name:
            return codec
        if not codec.keeps_vectors:
            leg = token_row().name
            raise IndexStateError(
                f"{place}의 '{leg}' 색인은 codec={codec.name!r}(으)로 저장되어 벡터 자체가 남아 있지 않으므로 "
                f"codec={wanted.name!r}(으)로 바꿀 수 없습니다. 문서를 새 폴더에 다시 색인하세요. keep_vectors=True로 "
                "만든 컬렉션은 나중에 바꿀 수 있습니다.",
                f"The '{leg}' index of {place} is stored with codec={codec.name!r}, which has not kept the vectors "
                f"themselves, so it cannot be changed to codec={wanted.name!r}. Index the documents again into a new "
                "folder; a collection made with keep_vectors=True can be changed later.",
            )
        return wanted


def token_row() -> LegType:
    """Returns the registry's row of the leg that the arguments are for."""
    return leg_of_family("late_interaction")


def named_codec(name: str | None, keep_vectors: bool | None) -> MultiVectorCodec:  # noqa: FBT001 (both of one kind)
    """Returns the codec that ``codec=`` and ``keep_vectors=`` mean.

    Args:
        name: A name; None for the default.
        keep_vectors: Store the vectors themselves too; None for False, where the codec does not consist of them.

    Raises:
        InvalidArgumentError: If there is no such codec.
    """
    row = token_row()
    known = {codec.name: cast("MultiVectorCodec", codec) for codec in row.codecs}
    if name is None:
        codec = cast("MultiVectorCodec", row.codecs[0])
    elif isinstance(name, str) and name in known:
        codec = known[name]
    else:
        listed = ", ".join(f"'{each}'" for each in known if not each.endswith(_SUFFIX))
        raise InvalidArgumentError(
            f"codec={name!r:.80}: 그런 코덱이 없습니다. 쓸 수 있는 값: {listed}.",
            f"codec={name!r:.80}: there is no such codec; it must be one of {listed}.",
        )
    if keep_vectors is False and codec.keeps_vectors:
        raise InvalidArgumentError(
            f"keep_vectors=False: codec={codec.name!r}은(는) 벡터 자체를 저장하는 코덱입니다. keep_vectors를 빼거나 "
            f"다른 코덱을 쓰세요. 예: codec={_without(known)!r}.",
            f"keep_vectors=False: codec={codec.name!r} stores the vectors themselves. Leave keep_vectors out, or use "
            f"another codec, for example codec={_without(known)!r}.",
        )
    if keep_vectors and not codec.keeps_vectors:
        if (kept := known.get(codec.name + _SUFFIX)) is None:
            raise InvalidArgumentError(
                f"keep_vectors=True: codec={codec.name!r}은(는) 벡터 자체를 함께 저장하지 못합니다. keep_vectors를 "
                "빼세요.",
                f"keep_vectors=True: codec={codec.name!r} cannot store the vectors themselves too; leave keep_vectors "
                "out.",
            )
        return kept
    return codec


def _without(known: Mapping[str, MultiVectorCodec]) -> str:
    """Returns the name of the last codec that does not keep vectors: the smallest of the built-in ones."""
    return next((name for name, codec in reversed([*known.items()]) if not codec.keeps_vectors), "")


def check_tokens(codec: str | None, keep_vectors: bool | None, pool_factor: int | None) -> TokenArguments:  # noqa: FBT001
    """Checks the arguments, as far as that is possible without a collection.

    Raises:
        InvalidArgumentError: If `codec` is no name of a codec, `keep_vectors` is no bool, both contradict each other,
            or `pool_factor` is no positive integer.
    """
    if keep_vectors is not None:
        check_flag("keep_vectors", keep_vectors)
    if codec is not None:
        named_codec(codec, keep_vectors)
    factor = None if pool_factor is None else check_count("pool_factor", pool_factor, at_least=1)
    return TokenArguments(codec, keep_vectors, factor)


def _differs(argument: str, given: object, stored: object, place: str, *, by_upgrade: bool) -> FingerprintError:
    leg, call = token_row().name, f"Collection.upgrade(path, {argument}={given!r})"
    korean, english = (f" {call}(으)로 바꾸거나", f", change it with {call}") if by_upgrade else ("", "")
    return FingerprintError(
        f"{place}의 '{leg}' 색인은 {argument}={stored!r}(으)로 만들었는데 {given!r}을(를) 넣었습니다. {argument}을(를) "
        f"빼고 열거나{korean} 새 폴더에 다시 색인하세요.",
        f"The '{leg}' index of {place} was made with {argument}={stored!r}, not {given!r}. Leave {argument} out"
        f"{english}, or index again into a new folder.",
    )
