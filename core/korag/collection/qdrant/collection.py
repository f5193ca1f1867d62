"""`QdrantCollection`: documents and their vectors on a Qdrant server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from korag.analysis.tokenizers import TokenizerLike
from korag.checks import check_choice, check_count, check_flag
from korag.collection.documents import StoredDocument
from korag.collection.explaining import explain_anew
from korag.collection.local.arguments import EncoderLike, LegArguments, name_encoders
from korag.collection.local.collection import LocalCollection
from korag.collection.local.database import DATABASE_FILE
from korag.collection.local.fitted import check_fitted
from korag.collection.local.manifest import make_legs, reopen_legs
from korag.collection.local.stored_models import StoredModels
from korag.collection.moving import move_documents
from korag.collection.qdrant.attached import AttachedCollection, attach
from korag.collection.qdrant.connecting import check_name, check_version, reach
from korag.collection.qdrant.documents import QdrantDocuments
from korag.collection.qdrant.layout import ID, STORED_METADATA, TEXT, point_id
from korag.collection.qdrant.points import read_document, read_vectors
from korag.collection.qdrant.querying import Searcher
from korag.collection.qdrant.schema import (
    FieldType,
    LateInteraction,
    Schema,
    check_filter_fields,
    check_legs,
    check_rerank,
    create,
    make_indexes,
)
from korag.collection.qdrant.searching import SearchedCollection
from korag.collection.qdrant.transport import Transport
from korag.errors import FingerprintError, InvalidArgumentError, ServerError
from korag.explanations import LegExplanation
from korag.fusion import Fusion
from korag.keywords import checks_keywords
from korag.legs.base import Leg, ModelFreeLeg
from korag.legs.bm25 import BM25Leg
from korag.legs.lexical import BM25Like
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.registry import leg_type
from korag.paths import check_path
from korag.text import is_empty


class QdrantCollection(QdrantDocuments, SearchedCollection):
    """Documents with one representation per leg, on a Qdrant server. Made by `open`.

    Everything of `korag.collection.base.Collection`, with the results of a local collection: the server finds each
    leg's best, and fusion and relevance are computed here. Many threads and processes may use one collection.

    Models read the beginning of a document that is longer than they read; BM25 indexes the whole. Queries are not
    repaired. The relevance of BM25 counts documents for up to 128 terms of a query, and takes the other terms for as
    frequent as these; ranks are exact. docs/scale-out.md says what a server does not guarantee.
    """

    def __init__(self, transport: Transport, legs: Mapping[str, Leg], schema: Schema) -> None:
        """Puts a collection together; use `open`.

        Args:
            transport: The server.
            legs: By name.
            schema: What is recorded there.
        """
        super().__init__(transport, legs)
        self._schema = schema
        self._fitted = schema.stored_fusion(transport.place)
        self._searcher = Searcher(transport, self._legs, schema.late_interaction)

    @classmethod
    @checks_keywords
    def open(
        cls,
        name: str,
        *,
        url: str | None = None,
        client: QdrantClient | None = None,
        encoders: Sequence[EncoderLike] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        pool_factor: int | None = None,
        late_interaction: LateInteraction | None = None,
        filter_fields: Sequence[str] | Mapping[str, FieldType] | None = None,
        shard_number: int | None = None,
        replication_factor: int | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        api_key: str | None = None,
        load_stored_models: bool = False,
    ) -> Self:
        """Opens a collection on a server, or makes a new one there.

        Args:
            name: The collection's name on the server.
            url: The server's address, such as ``"http://localhost:6333"``.
            client: A client instead, of a server, without ``prefer_grpc``; it is not closed with the collection.
            encoders: As for `korag.Collection.open`; an existing collection has recorded its own.
            bm25: Likewise. The server weighs terms by shard: with few documents in many shards, scores differ.
            tokenizer: Short for a tokenizer as `bm25`.
            pool_factor: As for `korag.Collection.open`: merges token vectors, of which a server holds many.
            late_interaction: ``"search"``: the ColBERT leg scores every document that passes the filter. ``"rerank"``:
                those that the other legs find, on the server; for large collections. None takes what the collection
                has (``"search"`` for a new one).
            filter_fields: Metadata fields to index: names, whose values are then strings, or a dict from names to
                ``"keyword"``, ``"integer"``, ``"float"`` or ``"bool"``. May be given for an existing collection, too.
            shard_number: Shards of a new collection; None for the server's default.
            replication_factor: Copies of each shard of a new collection; None for the server's default.
            timeout: Seconds to wait for an answer.
            retries: How often a request is repeated if the server is busy, fails or does not answer.
            api_key: The server's key. Never shown, logged or stored. An address with a password is not taken.
            load_stored_models: Load the models that the server names from wherever they are; only for a server you
                trust. Bundled models are loaded without it.

        Raises:
            InvalidArgumentError: If an argument breaks its rule, or a new collection is given nothing to search by.
            ServerError: If the server does not answer, or refuses the key.
            IndexStateError: If it is too old, or an encoder must be named.
            ForeignFolderError: If the collection was not made by KoRAG.
            FormatVersionError: If a newer KoRAG made it.
            FingerprintError: If it was built with another encoder or setting, or a field is indexed as another type.
        """
        asked = LegArguments.check(
            encoders=encoders, bm25=bm25, tokenizer=tokenizer, pool_factor=pool_factor, window=None
        )
        fields = check_filter_fields(filter_fields)
        check_name(name)
        check_flag("load_stored_models", load_stored_models)
        if late_interaction is not None:
            check_choice("late_interaction", late_interaction, ("search", "rerank"))
        for argument, value in (("shard_number", shard_number), ("replication_factor", replication_factor)):
            if value is not None:
                check_count(argument, value, at_least=1)
        transport = reach(name, url, client, timeout=timeout, retries=retries, api_key=api_key)
        place = transport.place
        try:
            check_version(transport)
            made: dict[str, Leg] = {}
            if not transport.call("collection_exists"):
                made = make_legs(asked)
                check_legs(made)
                check_rerank(late_interaction or "search", made)
                _make(transport, made, late_interaction or "search", shard_number, replication_factor)
            info = transport.call("get_collection")
            schema = Schema.from_metadata(info.config.metadata, place)
            legs = reopen_legs(schema.legs, asked, StoredModels(place, allowed=load_stored_models))
            if late_interaction not in (None, schema.late_interaction):
                raise FingerprintError(
                    f"{place}은(는) late_interaction={schema.late_interaction!r}(으)로 만들었는데 "
                    f"{late_interaction!r}을(를) 넣었습니다. 빼고 열거나 다른 이름으로 다시 색인하세요.",
                    f"{place} was made with late_interaction={schema.late_interaction!r}, not {late_interaction!r}. "
                    "Leave it out, or index again under another name.",
                )
            make_indexes(transport, legs, fields, info.payload_schema or {})
            return cls(transport, legs, schema)
        except BaseException:
            transport.close()
            raise

    @classmethod
    @checks_keywords
    def attach(
        cls,
        name: str,
        *,
        encoders: Sequence[EncoderLike],
        url: str | None = None,
        client: QdrantClient | None = None,
        text_field: str | None = None,
        metadata_field: str | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        api_key: str | None = None,
    ) -> AttachedCollection:
        """Opens a collection that ``langchain-qdrant`` or LlamaIndex's Qdrant store has made, to search it.

        Some of its texts are encoded again and compared with its vectors: a model that did not make them is an error.
        Only a collection that is empty cannot be compared. Nothing is changed.

        Args:
            name: The collection's name on the server.
            encoders: The dense or sparse models that made its vectors, or both: names, paths or loaded encoders.
            url: As for `open`.
            client: Likewise.
            text_field: The payload's field with the text; None finds out whether LangChain or LlamaIndex wrote it.
            metadata_field: The field with the metadata; None likewise.
            timeout: As for `open`.
            retries: Likewise.
            api_key: Likewise.

        Raises:
            InvalidArgumentError: If an argument breaks its rule, or a model is neither dense nor sparse.
            IndexStateError: If there is no such collection, or its payload is of an unknown kind.
            FingerprintError: If its vectors are of other models.
            ServerError: If the server does not answer, or refuses the key.
        """
        named = name_encoders(encoders)
        if not named:
            raise InvalidArgumentError(
                "encoders에 컬렉션의 벡터를 만든 모델을 넣으세요. 예: encoders=['dragonkue/BGE-m3-ko'].",
                "Pass the models that made the collection's vectors, for example encoders=['dragonkue/BGE-m3-ko'].",
            )
        check_name(name)
        for argument, field in (("text_field", text_field), ("metadata_field", metadata_field)):
            if field is not None and (not isinstance(field, str) or not field or set(field) & {'"', "\\", "."}):
                raise InvalidArgumentError(
                    f"{argument}={field!r:.80}: 페이로드 필드의 이름이어야 합니다.",
                    f"{argument}={field!r:.80} must be the name of a payload field.",
                )
        transport = reach(name, url, client, timeout=timeout, retries=retries, api_key=api_key)
        try:
            check_version(transport)
            return attach(transport, named, text_field=text_field, metadata_field=metadata_field)
        except BaseException:
            transport.close()
            raise

    # -- search -------------------------------------------------------------------------------------------

    @property
    def fitted_fusion(self) -> Fusion | None:
        """The fusion that ``fusion="auto"`` uses, as it was when the collection was opened; None for the default."""
        return self._fitted

    def store_fusion(self, fusion: Fusion | None) -> None:
        """Stores the fusion that ``fusion="auto"`` uses from now on; elsewhere, from the next opening on.

        Args:
            fusion: The fusion; None for the library's default.

        Raises:
            InvalidArgumentError: If it is no fusion of this collection's legs.
        """
        recorded = None if fusion is None else check_fitted(fusion, self.legs).to_dict()
        schema = replace(self._schema, fusion=recorded)
        self._transport.call("update_collection", metadata=schema.to_metadata())
        self._schema, self._fitted = schema, fusion

    def _explain_legs(self, query: str, legs: Sequence[str], document: StoredDocument) -> dict[str, LegExplanation]:
        return {
            name: self._searcher.explain_terms(name, query, document)
            if isinstance(self._legs[name], BM25Leg)
            else explain_anew(self.encoders, name, query, document)
            for name in legs
        }

    def _similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        name = min(legs, key=lambda name: leg_type(name).comparison_order)
        leg = self._legs[name]
        is_lexical = isinstance(leg, BM25Leg)
        points = {point_id(id_): id_ for id_ in ids}
        records = {}
        fields = [ID, TEXT, STORED_METADATA]
        if points:
            found = self._transport.call(
                "retrieve", ids=list(points), with_payload=fields, with_vectors=False if is_lexical else [name]
            )
            records = {points[str(own.id)]: own for own in found if not is_empty(own.payload[TEXT])}
        there = [id_ for id_ in dict.fromkeys(ids) if id_ in records]
        if not there:
            return [], np.zeros((0, 0), np.float32)
        if leg.encoder is None:
            texts = [read_document(records[id_].payload).searched for id_ in there]
            return there, leg.similarities(leg.encode_documents(texts, show_progress=False))
        vectors = [(records[id_].vector or {}).get(name) for id_ in there]
        return there, leg.similarities(read_vectors(leg, leg.encoder, vectors))

    # -- copies -------------------------------------------------------------------------------------------

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        show_progress: bool | None = None,
    ) -> LocalCollection:
        """Writes all documents with their vectors into a folder. Nothing is encoded, nor all of it held in memory.

        If it is interrupted, the same call continues where it stopped: documents that are there with the same text are
        not fetched again. What is no longer on the server is removed. Nobody should write to the server meanwhile.

        Args:
            path: A folder that is empty, does not exist, or holds an earlier export.
            codec: How a new folder stores token vectors; see `korag.Collection.open`.
            keep_vectors: Likewise.
            show_progress: Show a progress bar; None shows one in a terminal.

        Returns:
            The collection in the folder, open.

        Raises:
            ForeignFolderError: If the folder holds something else.
            FingerprintError: If it holds a collection with other models or settings.
            IndexStateError: If documents are changed meanwhile.
            ServerError: If the server does not answer.
        """
        tokens = next((leg for leg in self._legs.values() if isinstance(leg, LateInteractionLeg)), None)
        local = LocalCollection.open(
            path,
            encoders=list(self.encoders.values()),
            legs={name: leg.arguments for name, leg in self._legs.items() if isinstance(leg, ModelFreeLeg)},
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=None if tokens is None else tokens.pool_factor,
            window=None,
        )
        try:
            moved = move_documents(self, local, total=len(self), show_progress=show_progress)
            if len(local) != moved:
                local.keep_only(self.ids())
            local.store_fusion(self.fitted_fusion)
        except BaseException:
            local.close()
            raise
        return local

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes a copy into a folder, as `export` does, but only into one that is empty or does not exist.

        Args:
            path: The folder.
            overwrite: Let `export` bring a folder that has an earlier copy up to date.

        Returns:
            The folder.

        Raises:
            InvalidArgumentError: If there is a collection and `overwrite` is False.
            ForeignFolderError: If the folder holds something else.
        """
        folder = check_path("path", path)
        check_flag("overwrite", overwrite)
        if (folder / DATABASE_FILE).exists() and not overwrite:
            raise InvalidArgumentError(
                f"'{folder}'에 이미 컬렉션이 있습니다. 갱신하려면 overwrite=True를 넣으세요.",
                f"There is a collection in '{folder}' already; to bring it up to date, pass overwrite=True.",
            )
        self.export(folder).close()
        return folder

    # -- life ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the connection, unless the client was given; the collection cannot be used afterwards."""
        self._transport.close()

    def __getstate__(self) -> dict[str, Any]:
        """A connection and its key cannot be pickled.

        Raises:
            IndexStateError: Always.
        """
        return self._transport.__getstate__()

    def __repr__(self) -> str:
        return f"QdrantCollection({self._transport.name!r}, documents={len(self)}, legs={list(self.legs)})"


def _make(
    transport: Transport, legs: Mapping[str, Leg], mode: LateInteraction, shards: int | None, replicas: int | None
) -> None:
    """Makes a new collection, or leaves that of a process that was faster."""
    try:
        create(transport, legs, mode, shard_number=shards, replication_factor=replicas)
    except ServerError:
        if not transport.call("collection_exists"):
            raise
