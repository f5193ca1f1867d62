"""A collection on the server: its vectors, its indexes, and the manifest that it is opened by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from qdrant_client import models as m

from korag.collection.local.manifest import Manifest, describe
from korag.collection.qdrant.filters import field_path
from korag.collection.qdrant.layout import DOTTED, EMPTIES, SEQUENCE, terms_field
from korag.collection.qdrant.transport import Transport
from korag.errors import (
    FingerprintError,
    ForeignFolderError,
    FormatVersionError,
    IndexStateError,
    InvalidArgumentError,
)
from korag.fusion import Fusion
from korag.legs.base import Leg, ModelFreeLeg
from korag.legs.bm25 import BM25Leg
from korag.legs.dense import DenseLeg
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.sparse import SparseLeg

LateInteraction = Literal["search", "rerank"]
FieldType = Literal["keyword", "integer", "float", "bool"]
_FORMAT = 1
_KEY = "korag"


@dataclass(frozen=True)
class Schema:
    """The record of a collection, kept in the server's metadata of it.

    Attributes:
        legs: The manifest, as of a local collection.
        late_interaction: The leg with token vectors searches by itself, or reranks what the others find.
        fusion: The fitted fusion; None for the library's default.
    """

    legs: Manifest
    late_interaction: LateInteraction = "search"
    fusion: Mapping[str, Any] | None = field(default=None)

    def to_metadata(self) -> dict[str, str]:
        """Returns the collection's metadata on the server."""
        recorded = {
            "format": _FORMAT,
            "legs": self.legs,
            "late_interaction": self.late_interaction,
            "fusion": self.fusion,
        }
        return {_KEY: json.dumps(recorded, ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any] | None, place: str) -> Self:
        """Reads it again.

        Raises:
            ForeignFolderError: If the collection is somebody else's.
            FormatVersionError: If a newer KoRAG made it.
            IndexStateError: If the record is damaged.
        """
        if not metadata or _KEY not in metadata:
            raise ForeignFolderError(
                f"{place}은(는) KoRAG가 만든 컬렉션이 아니므로 열지 않습니다. 아무것도 바꾸지 않았습니다. 다른 이름을 "
                "쓰거나, 찾기만 하려면 QdrantCollection.attach로 여세요.",
                f"{place} was not made by KoRAG and is not opened; nothing was changed. Use another name, or open it "
                "with QdrantCollection.attach to search it.",
            )
        try:
            recorded = json.loads(metadata[_KEY])
            version = recorded["format"]
            if type(version) is int and version > _FORMAT:
                raise FormatVersionError(
                    f"{place}은(는) 더 새로운 KoRAG가 만들었습니다(형식 {version}). KoRAG를 업그레이드하세요.",
                    f"{place} was made by a newer KoRAG (format {version}); upgrade KoRAG.",
                )
            legs, mode, fusion = recorded["legs"], recorded["late_interaction"], recorded.get("fusion")
            is_right = isinstance(legs, dict) and legs and all(isinstance(entry, dict) for entry in legs.values())
            if not is_right or mode not in get_args(LateInteraction) or not isinstance(fusion, dict | None):
                raise ValueError("legs")
        except (TypeError, ValueError, KeyError) as error:
            raise _damaged(place) from error
        return cls(legs, mode, fusion)

    def stored_fusion(self, place: str) -> Fusion | None:
        """Returns the fitted fusion.

        Raises:
            IndexStateError: If the record is damaged.
        """
        if self.fusion is None:
            return None
        try:
            return Fusion.from_dict(self.fusion)
        except (TypeError, ValueError, KeyError) as error:
            raise _damaged(place) from error


def _damaged(place: str) -> IndexStateError:
    return IndexStateError(
        f"{place}의 매니페스트가 KoRAG가 적는 것과 다릅니다. 손상되었거나 누군가 고쳤을 수 있어 열지 않습니다. "
        "아무것도 바꾸지 않았습니다. 스냅숏에서 되살리거나 다른 이름으로 다시 색인하세요.",
        f"The manifest of {place} is not what KoRAG writes. It may have been damaged or altered, so the collection is "
        "not opened. Nothing was changed; restore it from a snapshot, or index again under another name.",
    )


def check_legs(legs: Mapping[str, Leg]) -> None:
    """Raises for a leg that Qdrant cannot search.

    Raises:
        InvalidArgumentError: If there is one.
    """
    for name, leg in legs.items():
        if type(leg) not in (DenseLeg, SparseLeg, LateInteractionLeg, BM25Leg):
            raise InvalidArgumentError(
                f"검색 방식 '{name}'은(는) Qdrant에 둘 수 없습니다. dense, sparse, late_interaction 모델과 "
                "BM25만 됩니다.",
                f"The leg '{name}' cannot be kept in Qdrant, which has dense, sparse and late-interaction models and "
                "BM25.",
            )


def check_rerank(mode: str, legs: Mapping[str, Leg]) -> None:
    """Raises if there is nothing to rerank.

    Raises:
        InvalidArgumentError: If `mode` is ``"rerank"`` and there are no token vectors, or nothing else.
    """
    tokens = [leg for leg in legs.values() if isinstance(leg, LateInteractionLeg)]
    if mode == "rerank" and (not tokens or len(legs) == 1):
        raise InvalidArgumentError(
            f"late_interaction='rerank': ColBERT 모델과, 후보를 찾을 다른 검색 방식이 있어야 합니다(지금: "
            f"{', '.join(legs)}). bm25=True나 다른 모델을 더하거나 late_interaction='search'로 여세요.",
            f"late_interaction='rerank' needs a ColBERT model and another leg that finds candidates (there is: "
            f"{', '.join(legs)}). Add bm25=True or another model, or use late_interaction='search'.",
        )


def create(
    transport: Transport,
    legs: Mapping[str, Leg],
    mode: LateInteraction,
    *,
    shard_number: int | None,
    replication_factor: int | None,
) -> None:
    """Makes a collection; another process may have been faster.

    Raises:
        ServerError: If the server refuses.
    """
    transport.call(
        "create_collection",
        vectors_config={
            name: _vectors(leg) for name, leg in legs.items() if isinstance(leg, DenseLeg | LateInteractionLeg)
        },
        sparse_vectors_config={name: m.SparseVectorParams() for name, leg in legs.items() if isinstance(leg, SparseLeg)}
        or None,
        metadata=Schema(describe(legs), mode).to_metadata(),
        shard_number=shard_number,
        replication_factor=replication_factor,
    )


def _vectors(leg: DenseLeg | LateInteractionLeg) -> m.VectorParams:
    if isinstance(leg, DenseLeg):  # vectors have unit length already, where they are compared by cosine
        return m.VectorParams(size=leg.encoder.dim, distance=m.Distance.DOT)
    return m.VectorParams(
        size=leg.encoder.dim,
        distance=m.Distance.DOT,
        datatype=m.Datatype.FLOAT16,
        multivector_config=m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM),
        hnsw_config=m.HnswConfigDiff(m=0),  # a graph over tokens would be larger than they are
    )


def make_indexes(
    transport: Transport, legs: Mapping[str, Leg], filter_fields: Mapping[str, FieldType], present: Mapping[str, Any]
) -> None:
    """Makes the payload indexes that are not there yet, as after an interruption.

    Args:
        transport: The server.
        legs: Of the collection.
        filter_fields: Metadata fields and what they hold.
        present: The indexes that exist, by field.

    Raises:
        FingerprintError: If a metadata field is indexed as another type. No index has been made.
    """
    there = {name.replace('"', ""): own.data_type.value for name, own in present.items()}
    for name, asked in filter_fields.items():
        path = field_path(name)
        kind = there.get(path.replace('"', ""), asked)
        if kind != asked:
            raise FingerprintError(
                f"filter_fields: {transport.place}의 '{name}'은(는) {kind}(으)로 색인되어 있는데 {asked}을(를) "
                f"넣었습니다. 있는 종류를 넣거나, Qdrant 클라이언트의 delete_payload_index로 '{path}'을(를) 지우세요.",
                f"filter_fields: '{name}' of {transport.place} is indexed as {kind}, not {asked}. Pass the type that "
                f"is there, or remove the index '{path}' with delete_payload_index of Qdrant's client.",
            )
    wanted: dict[str, Any] = {
        terms_field(name): m.TextIndexParams(type=m.TextIndexType.TEXT, tokenizer=m.TokenizerType.WORD, scoring=True)
        for name, leg in legs.items()
        if isinstance(leg, ModelFreeLeg)
    }
    wanted |= {EMPTIES: m.PayloadSchemaType.KEYWORD, DOTTED: m.PayloadSchemaType.KEYWORD}
    wanted[SEQUENCE] = m.PayloadSchemaType.INTEGER
    wanted |= {field_path(name): m.PayloadSchemaType(kind) for name, kind in filter_fields.items()}
    for name, schema in wanted.items():
        if name.replace('"', "") not in there:
            transport.call("create_payload_index", field_name=name, field_schema=schema, wait=True)


def check_filter_fields(given: object) -> dict[str, FieldType]:
    """Returns the fields to index and what they hold; a list means keywords.

    Raises:
        InvalidArgumentError: If it is neither a list of names nor a dict from names to types.
    """
    kinds = get_args(FieldType)
    if given is None:
        return {}
    fields: dict[Any, Any] | None = None
    if isinstance(given, Mapping):
        fields = dict(given)
    elif isinstance(given, list | tuple):
        fields = dict.fromkeys(given, "keyword")
    if fields is None or not all(
        isinstance(name, str) and name and not set(name) & {'"', "\\"} and kind in kinds
        for name, kind in fields.items()
    ):
        raise InvalidArgumentError(
            f"filter_fields={given!r:.80}: 메타데이터 이름의 리스트이거나 {{이름: 종류}} 형식의 dict여야 합니다(종류: "
            f"{', '.join(kinds)}). 예: {{'부서': 'keyword', '연도': 'integer'}}.",
            f"filter_fields={given!r:.80} must be a list of metadata names, or a dict from names to types (one of: "
            f"{', '.join(kinds)}), for example {{'department': 'keyword', 'year': 'integer'}}.",
        )
    return fields
