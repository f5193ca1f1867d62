"""What a collection was built with: its legs, their encoders' fingerprints, and its tokenizer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from korag.checkpoints.fingerprint import Fingerprint
from korag.checks import check_list
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder, load_encoder
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError, KoragError
from korag.legs.registry import LEG_NAMES
from korag.legs.tokenizers import TokenizeFunction, Tokenizer, resolve_tokenizer

EncoderLike = Encoder[Any] | str | os.PathLike[str]
TokenizerLike = str | TokenizeFunction | Tokenizer | None


def name_encoders(encoders: Sequence[EncoderLike]) -> dict[str, Encoder[Any]]:
    """Loads encoders given by name or path, and names each by its leg.

    Raises:
        InvalidArgumentError: If two are of the same family.
    """
    named: dict[str, Encoder[Any]] = {}
    for given in check_list("encoders", encoders):
        encoder = as_encoder(given)
        name = LEG_NAMES[encoder.family]
        if name in named:
            raise InvalidArgumentError(
                f"encoders에 {encoder.family} 모델이 둘 있습니다: {named[name].model_name}, {encoder.model_name}. "
                "한 컬렉션에는 종류마다 하나만 둘 수 있으니 컬렉션을 나누세요.",
                f"encoders holds two {encoder.family} models: {named[name].model_name}, {encoder.model_name}. A "
                "collection has one of each family; use two collections.",
            )
        named[name] = encoder
    return named


def describe(encoders: Mapping[str, Encoder[Any]], tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Returns what a new collection stores of its legs."""
    return {
        "legs": {
            name: {"fingerprint": encoder.fingerprint.to_dict(), "load": encoder.load_arguments}
            for name, encoder in encoders.items()
        },
        "tokenizer": tokenizer.name if tokenizer else None,
    }


def match_encoders(stored: dict[str, Any], given: Mapping[str, Encoder[Any]], place: str) -> dict[str, Encoder[Any]]:
    """Returns the encoder of every stored leg: the one given, or the one the manifest names.

    Raises:
        FingerprintError: If an encoder would make other vectors than those stored.
        IndexStateError: If an encoder that was not given cannot be loaded.
    """
    if unknown := [name for name in given if name not in stored["legs"]]:
        legs = ", ".join(stored["legs"]) or "bm25"
        raise FingerprintError(
            f"{place}에는 '{unknown[0]}' 벡터가 없습니다(있는 것: {legs}). 새 폴더에 다시 색인하세요.",
            f"{place} has no '{unknown[0]}' vectors (it has: {legs}). Index again into a new folder.",
        )
    encoders = {}
    for name, leg in stored["legs"].items():
        encoder = given.get(name) or _reload(name, leg["load"], place)
        built = Fingerprint.from_dict(leg["fingerprint"])
        if differences := built.differences(encoder.fingerprint):
            field, (was, now) = next(iter(differences.items()))
            raise FingerprintError(
                f"{place}의 '{name}' 벡터는 다른 인코더({built.model})로 만들었습니다. 다른 항목: "
                f"{', '.join(differences)}. 예: {field} — 색인할 때 {was!r}, 지금 {now!r}. 같은 모델과 설정으로 열거나 "
                "새 폴더에 다시 색인하세요.",
                f"The '{name}' vectors of {place} were made by another encoder ({built.model}). Fields that differ: "
                f"{', '.join(differences)}; {field} was {was!r} and is now {now!r}. Open it with the same model and "
                "settings, or index again into a new folder.",
            )
        encoders[name] = encoder
    return encoders


def match_tokenizer(stored: dict[str, Any], bm25: bool | None, given: TokenizerLike, place: str) -> Tokenizer | None:  # noqa: FBT001 (private, mirrors the public keyword)
    """Returns the tokenizer of the stored BM25 leg, None if it has none.

    Raises:
        FingerprintError: If the caller asks for BM25 where there is none, or for another tokenizer.
    """
    name = stored["tokenizer"]
    if bm25 is not None and bm25 != (name is not None):
        has = "있습니다" if name else "없습니다"
        raise FingerprintError(
            f"bm25={bm25}로 열었지만 {place}에는 BM25 색인이 {has}. bm25 인자를 빼고 열거나 새 폴더에 다시 색인하세요.",
            f"Opened with bm25={bm25}, but {place} was built {'with' if name else 'without'} BM25. Leave bm25 out, "
            "or index again into a new folder.",
        )
    if name is None:
        if given is not None:
            raise FingerprintError(
                f"tokenizer={given!r:.60}를 넣었지만 {place}에는 BM25 색인이 없습니다. tokenizer를 빼고 열거나 새 "
                "폴더에 bm25=True로 다시 색인하세요.",
                f"tokenizer={given!r:.60} was given, but {place} was built without BM25. Leave tokenizer out, or index "
                "again into a new folder with bm25=True.",
            )
        return None
    if given is None and name.startswith("custom:"):
        raise FingerprintError(
            f"{place}의 BM25 색인은 직접 만든 토크나이저 {name!r}로 만들었습니다. tokenizer=에 그 함수를 넣으세요.",
            f"The BM25 index of {place} was made with the custom tokenizer {name!r}; pass it as tokenizer=.",
        )
    tokenizer = resolve_tokenizer(name if given is None else given)
    if tokenizer.name != name:
        raise FingerprintError(
            f"{place}의 BM25 색인은 tokenizer={name!r}로 만들었는데 {tokenizer.name!r}를 넣었습니다.",
            f"The BM25 index of {place} was made with tokenizer={name!r}, not {tokenizer.name!r}.",
        )
    return tokenizer


def _reload(name: str, arguments: dict[str, Any], place: str) -> Encoder[Any]:
    try:
        return load_encoder(**arguments)
    except KoragError as error:
        raise IndexStateError(
            f"{place}의 '{name}' 인코더 {arguments['model']!r}를 불러올 수 없습니다. 모델이 있는 곳을 알려 주세요: "
            f"encoders=[load_encoder('모델 폴더', ...)].\n{error.args[0]}",
            f"The '{name}' encoder {arguments['model']!r} of {place} cannot be loaded. Say where the model is: "
            f"encoders=[load_encoder('model folder', ...)].\n{error.args[-1]}",
        ) from error
