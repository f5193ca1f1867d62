"""The retriever that fuses several legs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

from langchain_core.documents import Document
from pydantic import ValidationInfo, field_validator

from korag.analysis.tokenizers import TokenizerLike
from korag.checkpoints.presets import DEFAULT_COLBERT, DEFAULT_SPLADE
from korag.checks import FusionMethod, check_fusion, check_list, name_weights
from korag.collection.base import Collection
from korag.collection.local.arguments import EncoderLike
from korag.collection.local.opening import check_server
from korag.deprecations import accepts_old_names, renamed_attribute
from korag.errors import IndexStateError
from korag.keywords import checks_keywords
from korag.legs.lexical import BM25Like
from korag.legs.windows.settings import WindowSize
from langchain_korag.collection_retriever import CollectionRetriever
from langchain_korag.field_types import Count
from langchain_korag.search_options import RENAMED


class KoHybridRetriever(CollectionRetriever):
    """Finds documents with several models and BM25 and fuses the results.

    >>> retriever = KoHybridRetriever.from_documents(documents, models=["mini-colbert", "mini-splade"], bm25=True)
    >>> retriever.invoke("제6조의2", weights={"bm25": 2.0})

    Unlike in an ensemble of retrievers, documents are identified by id rather than text, filters apply to every leg
    before its best are taken, and results have scores (`score_key`). `k`, `filter`, `score_threshold`, `exact`,
    `weights`, `fusion`, `fetch_k`, `score_key` and `id_key` can be given to ``invoke``, ``ainvoke``, ``batch`` and
    ``stream`` too.

    Attributes:
        collection: The documents and their vectors; shared by copies of the retriever.
        k: Documents to return.
        filter: Metadata filter, applied before the k best are taken (see `korag.filters`).
        score_threshold: Leave out documents of a lower relevance, in [0, 1] (see `korag.Hit.relevance`); 0.5 leaves out
            most of what the documents cannot answer with the bundled models; ``korag eval --threshold`` finds yours.
        exact: False lets the ColBERT and dense legs score only promising documents (see `korag.Collection.search`).
        repair_query: Search for what was meant by a mistyped query (see `korag.collection.SearchOptions`).
        expand: ``"citations"`` adds up to k articles that those found cite, behind them (see there as well).
        score_key: Metadata key for the fused score; None adds nothing to what a document was added with.
        id_key: Metadata key for the document's id; None for none.
        weights: Factor on the weight of each leg, by its name (``"colbert"``, ``"sparse"``, ``"dense"``, ``"bm25"``), 1
            where not given; or a list, in the order of the models, with BM25 last.
        fusion: As in `korag.SearchOptions`: ``"auto"`` for the collection's own or the library's default,
            ``"anchored"``, ``"weighted"`` or ``"rrf"``.
        fetch_k: Candidates of each leg; None for 100, or k if that is more.

    Raises:
        IndexStateError: If the collection has a single leg.
    """

    weights: dict[str, float] | None = None
    fusion: FusionMethod = "auto"
    fetch_k: Count | None = None

    _overrides = (*CollectionRetriever._overrides, "weights", "fusion", "fetch_k")
    _renamed = RENAMED
    method = renamed_attribute("method", "fusion")

    @classmethod
    def _check_legs(cls, legs: tuple[str, ...], owner: object) -> None:
        if len(legs) < 2:
            raise IndexStateError(
                f"{owner!r}의 검색 방식이 둘 이상이어야 결과를 합칠 수 있습니다. models에 모델을 더 넣거나 bm25=True로 "
                "만드세요.",
                f"{owner!r} has a single leg, so there is nothing to fuse; name more models, or use bm25=True.",
            )

    @field_validator("fusion", mode="before")
    @classmethod
    def _check_fusion(cls, fusion: Any) -> FusionMethod:
        return check_fusion(fusion)

    @field_validator("weights", mode="before")
    @classmethod
    def _name_weights(cls, weights: Any, info: ValidationInfo) -> Any:
        collection: Collection | None = info.data.get("collection")
        legs = (info.context or {}).get("legs") if collection is None else collection.legs
        return weights if legs is None else name_weights(legs, weights)

    @classmethod
    @accepts_old_names(RENAMED)
    @checks_keywords
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        models: Sequence[EncoderLike] = (DEFAULT_COLBERT, DEFAULT_SPLADE),
        bm25: BM25Like = True,
        tokenizer: TokenizerLike = None,
        weights: dict[str, float] | Sequence[float] | None = None,
        fusion: FusionMethod = "auto",
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        k: int = 4,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        collection_name: str | None = None,
        api_key: str | None = None,
        ids: Sequence[str] | None = None,
        sync: bool = False,
        load_stored_models: bool = False,
        **fields: Any,
    ) -> Self:
        """Indexes documents and returns a retriever over them.

        Args:
            documents: The documents; they keep their ids.
            models: Names, paths or loaded encoders, at most one per family.
            bm25: Search with BM25 too: as for `korag.Collection.open`. ``["bigram", "kiwi"]`` makes two legs.
            tokenizer: Short for a tokenizer as `bm25`.
            weights: Factor on the weight of each leg: by name, or in the order of the models with BM25 last.
            fusion: As the attribute.
            window: Tokens of the windows that long documents are split into; as for `korag.Collection.open`.
            stride: Tokens from the beginning of a window to that of the next; as there.
            codec: How the token vectors of a ColBERT model are stored; as there.
            keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
            pool_factor: Merge similar token vectors of each document, so that one is left for so many; as there.
            k: Documents to return.
            path: Folder of the collection; as for `KoColBERTRetriever.from_documents`.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
            ids: Ids in place of the documents' own; as there.
            sync: As there.
            load_stored_models: As there.
            fields: Other fields of the retriever.

        Raises:
            InvalidArgumentError: If two models are of the same family.
        """
        return cls._index(
            documents,
            ids=ids,
            path=path,
            server=check_server(url, collection_name, api_key, path=path),
            sync=sync,
            models=check_list("models", models),
            bm25=bm25,
            tokenizer=tokenizer,
            window=window,
            stride=stride,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            load_stored_models=load_stored_models,
            fields={"weights": weights, "fusion": fusion, "k": k, **fields},
        )

    @classmethod
    @accepts_old_names(RENAMED)
    @checks_keywords
    def load_local(
        cls,
        path: str | os.PathLike[str],
        *,
        models: Sequence[EncoderLike] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        load_stored_models: bool = False,
        k: int = 4,
        **fields: Any,
    ) -> Self:
        """Opens the folder that a retriever was created with or saved to.

        Args:
            path: The folder.
            models: The models it was built with; None loads those recorded in the folder.
            bm25: The lexical legs it was built with; None takes those recorded in the folder.
            tokenizer: The tokenizer it was built with; needed only if it is your own function.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            k: Documents to return.
            fields: Other fields of the retriever.

        Raises:
            FingerprintError: If it was built with other models.
            IndexStateError: If there is no collection with several legs in the folder.
        """
        models = None if models is None else check_list("models", models)
        return cls._open(
            path,
            models=models,
            bm25=bm25,
            tokenizer=tokenizer,
            load_stored_models=load_stored_models,
            fields={"k": k, **fields},
        )

    def _search_kwargs(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"using": "hybrid", "weights": name_weights(self.collection.legs, settings["weights"])}
