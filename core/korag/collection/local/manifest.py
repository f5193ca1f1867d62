"""The manifest of a collection: its legs, with the codec and the encoder or settings of each.

``{leg: {"codec": {"name", "version"}, "fingerprint": …, "load": …}}`` for a leg with an encoder, with ``"windows":
{"window", "stride"}`` if its documents are split (`korag.legs.windows`), and
``{leg: {"codec": …, "settings": {…}}}`` for a model-free one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from korag.analysis.tokenizers import TokenizerLike
from korag.checks import check_list
from korag.collection.local.database import FORMAT_VERSION, Database
from korag.collection.local.segments import CodecVersion, is_codec_version, newer_codec
from korag.collection.local.stored_models import StoredModels
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.errors import FingerprintError, InvalidArgumentError
from korag.fusion import LEXICAL
from korag.legs.base import Codec, EncoderLeg, Leg, damaged_entry
from korag.legs.lexical import BM25Like, lexical_settings
from korag.legs.registry import leg_of_family, leg_type, recorded_codec
from korag.legs.windows.codec import WindowedCodec, split_name
from korag.legs.windows.leg import WindowedLeg
from korag.legs.windows.settings import WindowArguments

EncoderLike = Encoder[Any] | str | os.PathLike[str]
LegSettings = Mapping[str, Mapping[str, Any] | None] | Sequence[str] | None
"""Model-free legs as an argument: their names, or a dict of name and settings."""
Manifest = dict[str, dict[str, Any]]
_WITHOUT_CODECS = 2  # the format of KoRAG 0.1.0


# -- arguments --------------------------------------------------------------------------------------------


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
            f"legs={legs!r:.80}: 이름의 리스트나 {{이름: 설정}} 꼴의 dict여야 합니다. 예: ['bm25'].",
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
            f"codecs={codecs!r:.80}: {{검색 방식: 코덱}} 꼴의 dict여야 합니다. 예: {{'dense': 'float32'}}.",
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


# -- a new collection -------------------------------------------------------------------------------------


def make_legs(
    encoders: Mapping[str, Encoder[Any]],
    settings: Mapping[str, Mapping[str, Any]],
    codecs: Mapping[str, str],
    *,
    bm25: BM25Like,
    tokenizer: TokenizerLike,
    windows: WindowArguments,
) -> dict[str, Leg]:
    """Makes the legs of a new collection.

    Args:
        encoders: By leg.
        settings: Of model-free legs, by name.
        codecs: Names of codecs by leg; the default for others.
        bm25: Short form of a setting; see `with_bm25`.
        tokenizer: Likewise.
        windows: How long documents are split for encoders.

    Raises:
        InvalidArgumentError: If there is no leg at all, or `codecs` or `tokenizer` is for one that is not there.
    """
    check_tokenizer(tokenizer, bm25=(bm25 is not None and bm25 is not False) or "bm25" in settings)
    windows.check_needed(by_encoders=bool(encoders))
    given = with_bm25(settings, bm25=bm25, tokenizer=tokenizer)
    if not encoders and not given:
        raise no_legs()
    for leg in codecs:
        if leg not in encoders and leg not in given:
            raise InvalidArgumentError(
                f"codecs에 '{leg}'이(가) 있지만 이 컬렉션의 검색 방식은 {', '.join([*encoders, *given])}입니다.",
                f"codecs names '{leg}', but the legs of this collection are {', '.join([*encoders, *given])}.",
            )
    legs = {}
    for name in (*encoders, *given):
        row = leg_type(name)
        made = row.make(row.codec(codecs.get(name)), encoders.get(name), given.get(name))
        split = windows.of(made.encoder) if isinstance(made, EncoderLeg) else None
        if isinstance(made, EncoderLeg) and split is not None:
            made = WindowedLeg(made, WindowedCodec(made.codec), split)
        legs[name] = made
    return legs


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


def describe(legs: Mapping[str, Leg]) -> Manifest:
    """Returns the manifest of a new collection."""
    return {name: {"codec": CodecVersion.of(leg.codec).to_dict(), **leg.identity()} for name, leg in legs.items()}


# -- an existing collection -------------------------------------------------------------------------------


def read_manifest(database: Database) -> tuple[Manifest, bool]:
    """Reads the manifest.

    Returns:
        The manifest, and whether the database holds it in this format.

    Raises:
        ForeignFolderError: If the file is another program's, or no database.
        FormatVersionError: If the format is too new or too old.
    """
    version, settings = database.read_settings()
    legs, place = settings["legs"], database.place
    if version == _WITHOUT_CODECS:
        # KoRAG 0.1.0: one codec per leg, at version 1, and the tokenizer apart from the encoders.
        if settings.get("tokenizer") is not None:
            legs["bm25"] = {"settings": {"tokenizer": settings["tokenizer"]}}
        for name, leg in legs.items():
            leg["codec"] = CodecVersion(leg_type(name).codecs[0].name, 1).to_dict()
    if not legs:
        raise damaged_entry("", place, "codec")
    for name, leg in legs.items():
        if not is_codec_version(leg.get("codec")):
            raise damaged_entry(name, place, "codec")
    return legs, version == FORMAT_VERSION


def resolve_codecs(manifest: Manifest, place: str) -> dict[str, Codec]:
    """Returns the codec of each leg.

    Raises:
        IndexStateError: If a leg or codec is not registered here.
        FormatVersionError: If a newer version of a codec has been used.
    """
    codecs = {}
    for name, leg in manifest.items():
        written = CodecVersion.from_dict(leg["codec"])
        plain, in_windows = split_name(written.name)
        _, codec = recorded_codec(name, plain, place=place)
        if in_windows != ("windows" in leg):
            raise damaged_entry(name, place, "windows")
        if in_windows:
            codec = WindowedCodec(codec)
        if written.version > codec.version:
            raise newer_codec(name, written, CodecVersion.of(codec), place=place)
        codecs[name] = codec
    return codecs


def with_versions(manifest: Manifest, codecs: Mapping[str, Codec]) -> Manifest:
    """Returns the manifest with the current versions of its codecs."""
    return {name: leg | {"codec": CodecVersion.of(codecs[name]).to_dict()} for name, leg in manifest.items()}


def current_manifest(database: Database, place: str) -> tuple[Manifest, bool]:
    """Reads the manifest and brings it up to date.

    Returns:
        The manifest in this format, with the current versions of its codecs; and whether the database holds just that.

    Raises:
        IndexStateError: If a leg or codec is not registered here.
        FormatVersionError: If a newer KoRAG, or a newer version of a codec, has been used.
    """
    recorded, is_current = read_manifest(database)
    manifest = with_versions(recorded, resolve_codecs(recorded, place))
    return manifest, is_current and manifest == recorded


def reopen_legs(
    manifest: Manifest,
    encoders: Mapping[str, Encoder[Any]],
    settings: Mapping[str, Mapping[str, Any]],
    codecs: Mapping[str, str],
    *,
    bm25: BM25Like,
    tokenizer: TokenizerLike,
    windows: WindowArguments,
    stored: StoredModels,
) -> dict[str, Leg]:
    """Makes the legs of an existing collection: as given, where given, otherwise as the manifest describes them.

    Raises:
        FingerprintError: If what is given is not what the collection was made with.
        IndexStateError: If an encoder cannot or must not be loaded, or a leg or codec is not registered here.
        FormatVersionError: If a newer version of a codec has been used.
    """
    given = with_bm25(settings, bm25=bm25, tokenizer=tokenizer)
    place = stored.place
    resolved = resolve_codecs(manifest, place)
    has = ", ".join(manifest)
    if unknown := [name for name in encoders if name not in manifest]:
        raise FingerprintError(
            f"{place}에는 '{unknown[0]}' 벡터가 없습니다(있는 것: {has}). 새 폴더에 다시 색인하세요.",
            f"{place} has no '{unknown[0]}' vectors (it has: {has}). Index again into a new folder.",
        )
    if bm25 is not None and (bm25 is not False) != ("bm25" in manifest):
        state, built = ("있습니다", "with") if "bm25" in manifest else ("없습니다", "without")
        raise FingerprintError(
            f"bm25={bm25!r:.60}(으)로 열었지만 {place}에는 BM25 색인이 {state}. bm25 인자를 빼고 열거나 새 폴더에 다시 "
            "색인하세요.",
            f"Opened with bm25={bm25!r:.60}, but {place} was built {built} BM25. Leave bm25 out, or index again into a "
            "new folder.",
        )
    if tokenizer is not None and "bm25" not in manifest:
        raise FingerprintError(
            f"tokenizer={tokenizer!r:.60}을(를) 넣었지만 {place}에는 BM25 색인이 없습니다. tokenizer를 빼고 열거나 새 "
            "폴더에 bm25=True로 다시 색인하세요.",
            f"tokenizer={tokenizer!r:.60} was given, but {place} was built without BM25. Leave tokenizer out, or index "
            "again into a new folder with bm25=True.",
        )
    for argument, names in (("legs", settings), ("bm25", given), ("codecs", codecs)):
        if unknown := [name for name in names if name not in manifest]:
            raise FingerprintError(
                f"{argument}에 '{unknown[0]}'이(가) 있지만 {place}에 있는 것은 {has}입니다. 빼고 열거나 새 폴더에 다시 "
                "색인하세요.",
                f"{argument} names '{unknown[0]}', but {place} has: {has}. Leave it out, or index again into a new "
                "folder.",
            )
    for name, codec in codecs.items():
        if codec != (stored_as := split_name(resolved[name].name)[0]):
            raise FingerprintError(
                f"codecs={{{name!r}: {codec!r}}}(으)로 열었지만 {place}의 '{name}' 색인은 codec="
                f"{stored_as!r}(으)로 저장되어 있습니다. codecs를 빼고 열거나 새 폴더에 다시 색인하세요.",
                f"Opened with codecs={{{name!r}: {codec!r}}}, but the '{name}' index of {place} is stored with codec="
                f"{stored_as!r}. Leave codecs out, or index again into a new folder.",
            )
    legs = {}
    for name, recorded in manifest.items():
        row = leg_type(name)
        own: Any = given.get(name)
        if row.family is not None:
            own = encoders[name] if name in encoders else stored.load(name, recorded)
        factory = WindowedLeg if isinstance(resolved[name], WindowedCodec) else row.factory
        leg = legs[name] = factory.reopen(resolved[name], recorded, own, name=name, place=place)
        if row.family is not None:
            split = leg.windows if isinstance(leg, WindowedLeg) else None
            windows.check_recorded(split, name=name, place=place)
    windows.check_needed(by_encoders=any(leg.encoder is not None for leg in legs.values()))
    return legs
