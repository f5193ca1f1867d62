"""The manifest of a collection: its legs, with the codec and the encoder or settings of each.

``{leg: {"codec": {"name", "version"}, "fingerprint": …, "load": …}}`` for a leg with an encoder, with ``"windows":
{"window", "stride"}`` if its documents are split (`korag.legs.windows`) and ``"pool_factor"`` if tokens are pooled, and
``{leg: {"codec": …, "settings": {…}}}`` for a model-free one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from korag.collection.local.arguments import LegArguments, check_tokenizer, no_legs, with_bm25
from korag.collection.local.database import FORMAT_VERSION, Database
from korag.collection.local.segments import CodecVersion, is_codec_version, newer_codec
from korag.collection.local.stored_models import StoredModels
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError
from korag.legs.base import Codec, EncoderLeg, Leg, damaged_entry
from korag.legs.multi_vector.codecs import MultiVectorCodec
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.multi_vector.settings import TokenArguments
from korag.legs.registry import leg_type, recorded_codec
from korag.legs.windows.codec import WindowedCodec, split_name
from korag.legs.windows.leg import WindowedLeg

Manifest = dict[str, dict[str, Any]]
_WITHOUT_CODECS = 2  # the format of KoRAG 0.1.0


# -- a new collection -------------------------------------------------------------------------------------


def make_legs(asked: LegArguments) -> dict[str, Leg]:
    """Makes the legs of a new collection.

    Raises:
        InvalidArgumentError: If there is no leg at all, or an argument is for one that is not there.
    """
    encoders, bm25 = asked.encoders, asked.bm25
    check_tokenizer(asked.tokenizer, bm25=(bm25 is not None and bm25 is not False) or "bm25" in asked.settings)
    asked.windows.check_needed(by_encoders=bool(encoders))
    given = with_bm25(asked.settings, bm25=bm25, tokenizer=asked.tokenizer)
    if not encoders and not given:
        raise no_legs()
    for leg in asked.codecs:
        if leg not in encoders and leg not in given:
            raise InvalidArgumentError(
                f"codecs에 '{leg}'이(가) 있지만 이 컬렉션의 검색 방식은 {', '.join([*encoders, *given])}입니다.",
                f"codecs names '{leg}', but the legs of this collection are {', '.join([*encoders, *given])}.",
            )
    asked.tokens.check_needed(encoders)
    codecs = {**asked.codecs, **asked.tokens.codecs()}
    legs = {}
    for name in (*encoders, *given):
        row, settings = leg_type(name), given.get(name, asked.tokens.settings(name))
        made = row.make(row.codec(codecs.get(name)), encoders.get(name), settings)
        split = asked.windows.of(made.encoder) if isinstance(made, EncoderLeg) else None
        if isinstance(made, EncoderLeg) and split is not None:
            made = WindowedLeg(made, WindowedCodec(made.codec), split)
        legs[name] = made
    return legs


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


def recoded_legs(codecs: Mapping[str, Codec], tokens: TokenArguments, *, place: str) -> dict[str, Codec]:
    """Returns the new codecs of the legs whose vectors are to be stored with another one.

    Args:
        codecs: Of each leg, from `resolve_codecs`.
        tokens: What is asked for; nothing of it changes nothing.
        place: The collection, for messages.

    Raises:
        InvalidArgumentError: If there are no token vectors, or `tokens` contradict the codec they have.
        IndexStateError: If that codec has not kept the vectors.
    """
    tokens.check_needed(codecs)
    changed: dict[str, Codec] = {}
    for name, codec in codecs.items():
        stored = codec.inner if isinstance(codec, WindowedCodec) else codec
        if isinstance(stored, MultiVectorCodec) and (new := tokens.recoded(stored, place=place)) is not stored:
            changed[name] = WindowedCodec(new) if isinstance(codec, WindowedCodec) else new
    return changed


def check_same_codecs(manifest: Manifest, codecs: Mapping[str, Codec], place: str) -> None:
    """Raises if the vectors of a collection have been stored with another codec since it was opened.

    Args:
        manifest: Of now, as it is recorded.
        codecs: Of each leg, as it was opened.
        place: The collection, for messages.

    Raises:
        IndexStateError: If so.
    """
    for name, entry in manifest.items():
        # KoRAG 0.1.0 recorded no codecs: there was one.
        now = entry.get("codec", {}).get("name")
        if now is not None and name in codecs and now != codecs[name].name:
            was, new = split_name(codecs[name].name)[0], split_name(now)[0]
            raise IndexStateError(
                f"{place}의 '{name}' 벡터가 여기서 연 뒤에 codec={was!r}에서 {new!r}(으)로 바뀌었습니다. 아무것도 쓰지 "
                "않았습니다. Collection.open으로 다시 여세요.",
                f"The '{name}' vectors of {place} have been changed from codec={was!r} to {new!r} since it was opened "
                "here. Open it again with Collection.open; nothing was written.",
            )


def reopen_legs(manifest: Manifest, asked: LegArguments, stored: StoredModels) -> dict[str, Leg]:
    """Makes the legs of an existing collection: as asked for, where anything is, otherwise as the manifest says.

    Raises:
        FingerprintError: If what is asked for is not what the collection was made with.
        IndexStateError: If an encoder cannot or must not be loaded, or a leg or codec is not registered here.
        FormatVersionError: If a newer version of a codec has been used.
    """
    encoders, bm25, tokenizer = asked.encoders, asked.bm25, asked.tokenizer
    given = with_bm25(asked.settings, bm25=bm25, tokenizer=tokenizer)
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
            f"bm25={bm25!r:.60}(으)로 열었지만 {place}에는 BM25 색인이 {state}. bm25 인수를 빼고 열거나 새 폴더에 다시 "
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
    for argument, names in (("legs", asked.settings), ("bm25", given), ("codecs", asked.codecs)):
        if unknown := [name for name in names if name not in manifest]:
            raise FingerprintError(
                f"{argument}에 '{unknown[0]}'이(가) 있지만 {place}에 있는 것은 {has}입니다. 빼고 열거나 새 폴더에 다시 "
                "색인하세요.",
                f"{argument} names '{unknown[0]}', but {place} has: {has}. Leave it out, or index again into a new "
                "folder.",
            )
    for name, codec in asked.codecs.items():
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
            asked.windows.check_recorded(split, name=name, place=place)
        inner = leg.inner if isinstance(leg, WindowedLeg) else leg
        if isinstance(inner, LateInteractionLeg):
            asked.tokens.check_recorded(inner.codec, inner.pool_factor, place=place)
    asked.windows.check_needed(by_encoders=any(leg.encoder is not None for leg in legs.values()))
    asked.tokens.check_needed(legs)
    return legs
