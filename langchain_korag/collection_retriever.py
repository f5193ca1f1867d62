"""Base class of the retrievers over a KoRAG collection."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import LangSmithRetrieverParams
from langchain_core.runnables import RunnableSerializable, run_in_executor
from langchain_core.runnables.utils import AnyConfigurableField
from pydantic import field_validator, model_validator

from korag.analysis.tokenizers import TokenizerLike
from korag.checkpoints.presets import Family
from korag.checks import reject_unknown
from korag.collection.base import Collection, Hit
from korag.collection.explanation import Explanation
from korag.collection.local.arguments import EncoderLike
from korag.collection.local.opening import Server, make_collection, open_saved, planned_legs
from korag.deprecations import rename_keywords
from korag.encoders.load import as_encoder, as_encoders
from korag.errors import InvalidArgumentError
from korag.filters import parse
from korag.keywords import checks_keywords
from korag.legs.lexical import BM25Like
from korag.legs.windows.settings import WindowSize
from langchain_korag.checked_model import korag_errors
from langchain_korag.collection_documents import CollectionDocuments
from langchain_korag.documents import how_to_make, id_to_explain, texts_to_documents, to_records
from langchain_korag.field_types import Count, Expand, Flag, Fraction, Key
from langchain_korag.results import KEYS, Shown
from langchain_korag.search_options import search_options


class CollectionRetriever(CollectionDocuments):
    """Finds documents of a KoRAG collection; each subclass searches in its own way.

    Attributes:
        collection: The documents and their vectors; shared by copies of the retriever.
        k: Documents to return.
        filter: Metadata filter, applied before the k best are taken (see `korag.filters`).
        score_threshold: Leave out documents of a lower relevance, in [0, 1] (see `korag.Hit.relevance`); not of a
            lower score, which has no fixed scale.
        exact: False lets a ColBERT or dense search score only promising documents (see `korag.Collection.search`).
        repair_query: Search for what was meant by a mistyped query (see `korag.collection.SearchOptions`).
        expand: ``"citations"`` adds up to k articles that those found cite, behind them (see there as well); with a
            `score_key`, they have ``cited_by``, the id of the document that cites them.
        score_key: Metadata key for the score, with which ``rewritten_query`` (what was searched for, if the query was
            repaired) and ``span`` (the part of a long document that was found) are added too, where there are any. None
            adds nothing: results are equal to the documents that were added.
        id_key: Metadata key for the document's id; None for none. For ``EnsembleRetriever(id_key=...)``.
    """

    k: Count = 4
    filter: dict[str, Any] | None = None
    score_threshold: Fraction | None = None
    exact: Flag = True
    repair_query: Flag = True
    expand: Expand | None = None
    score_key: Key | None = None
    id_key: Key | None = None

    _overrides: ClassVar[tuple[str, ...]] = ("k", "filter", "score_threshold", "exact", "repair_query", "expand", *KEYS)
    """Fields that ``invoke``, ``ainvoke``, ``batch`` and ``stream`` accept as keywords."""
    _renamed: ClassVar[Mapping[str, str]] = {}
    """Deprecated names of fields, with their new names."""

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        if isinstance(given, dict):
            given = rename_keywords(given, cls._renamed)
            makes = inspect.signature(cls.from_documents).parameters
            if not any(name in makes and name not in cls.model_fields for name in given):
                reject_unknown(cls, given, cls._field_names())
            if "collection" not in given:
                raise InvalidArgumentError(
                    f"collection이 없습니다. 문서로 만들려면 {cls.__name__}.from_documents(documents, ...)를 쓰세요.",
                    f"collection is missing; to create one from documents, use {cls.__name__}.from_documents("
                    "documents, ...).",
                )
            reject_unknown(cls, given, cls._field_names())
        return given

    @field_validator("filter", mode="before")
    @classmethod
    def _check_filter(cls, filter: Any) -> Any:
        parse(filter, written="filter=")
        return filter

    @model_validator(mode="after")
    def _check_keys_differ(self) -> Self:
        Shown(self.score_key, self.id_key)
        return self

    @field_validator("collection")
    @classmethod
    def _check_collection(cls, collection: Collection) -> Collection:
        cls._check_legs(collection.legs, collection)
        return collection

    # -- construction ------------------------------------------------------------------------------------

    @classmethod
    @checks_keywords
    def from_texts(
        cls,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Indexes texts and returns a retriever over them.

        Args:
            texts: The texts.
            metadatas: A dict of JSON values for each.
            ids: Their ids, all different; derived from text and metadata if not given.
            options: As for `from_documents`.
        """
        return cls.from_documents(texts_to_documents(texts, metadatas), ids=ids, **options)

    @classmethod
    def from_documents(cls, documents: Iterable[Document], **options: Any) -> Self:
        """Indexes documents and returns a retriever over them; subclasses define the options."""
        raise NotImplementedError

    @classmethod
    def load_local(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Opens the folder that a retriever was created with or saved to; subclasses define the options."""
        raise NotImplementedError

    @classmethod
    def _index(
        cls,
        documents: Iterable[Document],
        *,
        ids: Sequence[str] | None,
        path: str | os.PathLike[str] | None,
        server: Server | None,
        models: Sequence[EncoderLike],
        load_stored_models: bool,
        fields: dict[str, Any],
        sync: bool = False,
        family: Family | None = None,
        query_length: int | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
    ) -> Self:
        # Checked in this order, so that a wrong name, document or field costs no download, folder or indexing.
        cls._check_keywords(cls.from_documents, fields)
        records = to_records(documents, ids)
        records.check_sync(sync, existing=path is not None or server is not None)
        encoders = [as_encoder(model, family=family, query_length=query_length) for model in models]
        cls._check_fields(fields, planned_legs(encoders, bm25=bm25, tokenizer=tokenizer))
        collection = make_collection(
            encoders,
            path=path,
            server=server,
            bm25=bm25,
            tokenizer=tokenizer,
            window=window,
            stride=stride,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            load_stored_models=load_stored_models,
        )
        retriever = cls(collection=collection, **fields)
        records.add_to(collection, sync=sync)
        return retriever

    @classmethod
    def _open(
        cls,
        path: str | os.PathLike[str],
        *,
        models: Sequence[EncoderLike] | None,
        load_stored_models: bool,
        fields: dict[str, Any],
        family: Family | None = None,
        query_length: int | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
    ) -> Self:
        cls._check_keywords(cls.load_local, fields)
        encoders = as_encoders(models, family=family, query_length=query_length)
        collection = open_saved(
            path,
            encoders=encoders,
            bm25=bm25,
            tokenizer=tokenizer,
            load_stored_models=load_stored_models,
            made_by=how_to_make(path),
        )
        return cls(collection=collection, **fields)

    @classmethod
    def _check_keywords(cls, method: Callable[..., Any], fields: dict[str, Any]) -> None:
        """Raises for a keyword that is neither the method's own nor a field."""
        own = [name for name, given in inspect.signature(method).parameters.items() if given.kind is given.KEYWORD_ONLY]
        known = [*own, *(name for name in cls.model_fields if name not in [*own, "collection"])]
        reject_unknown(cls, fields, known, takes="model" if "model" in own else None)

    @classmethod
    def _check_fields(cls, fields: dict[str, Any], legs: tuple[str, ...]) -> None:
        """Validates the fields of a retriever whose collection does not exist yet.

        Args:
            fields: All fields but the collection.
            legs: The legs it will have.

        Raises:
            InvalidArgumentError: If a field breaks its rule.
            IndexStateError: If a retriever of this class cannot search such a collection.
        """
        cls._check_legs(legs, f"legs={list(legs)}")
        draft = cls.model_construct(collection=None)  # a placeholder; assigning a field does not validate it
        with korag_errors(cls):
            for name, value in fields.items():
                cls.__pydantic_validator__.validate_assignment(draft, name, value, context={"legs": legs})

    @classmethod
    def _check_legs(cls, legs: tuple[str, ...], owner: object) -> None:
        """Raises `IndexStateError` if a retriever of this class cannot search these legs of `owner`."""
        raise NotImplementedError

    # -- searching ----------------------------------------------------------------------------------------

    def similarity_search_with_score(self, query: str, **overrides: Any) -> list[tuple[Document, float]]:
        """Finds documents, the same as ``invoke``, and returns (document, score) pairs.

        Args:
            query: The query.
            overrides: Keywords, as for ``invoke``.
        """
        shown, hits = self._search(query, overrides)
        return [(shown.document(hit), hit.score) for hit in hits]

    async def asimilarity_search_with_score(self, query: str, **overrides: Any) -> list[tuple[Document, float]]:
        """Async `similarity_search_with_score`, run in a thread."""
        return await run_in_executor(None, self.similarity_search_with_score, query, **overrides)

    def explain(self, query: str, document: Document | str, **overrides: Any) -> Explanation:
        """Explains a document's score for a query: by token, term and leg, with places in its text.

        >>> why = retriever.explain(query, retriever.invoke(query)[0])
        >>> print(why)  # a notebook shows it as a picture

        Args:
            query: The query.
            document: A document found by this retriever, also reranked, or one that was added, or its id.
            overrides: Keywords, as for ``invoke``; the same as for the search that is to be explained.

        Raises:
            InvalidArgumentError: If the document is not in the collection, or the query is empty.
        """
        settings = self._settings(overrides)
        k = settings.pop("k")
        options = search_options(k, settings | self._search_kwargs(settings))
        return self.collection.explain(query, id_to_explain(document, self.collection), options=options)

    def _search(self, query: str, overrides: dict[str, Any]) -> tuple[Shown, list[Hit]]:
        overrides = dict(overrides)
        shown = Shown.take_from(overrides, {"score_key": self.score_key, "id_key": self.id_key})
        settings = self._settings(overrides)
        k = settings.pop("k")
        options = search_options(k, settings | self._search_kwargs(settings))
        return shown, self.collection.search(query, options=options)

    def _search_kwargs(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Returns the settings that the subclass adds or changes, under LangChain's names."""
        raise NotImplementedError

    def _settings(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """Returns the fields that a search uses, replaced by the overrides of this call."""
        overrides = rename_keywords(overrides, self._renamed)
        reject_unknown(self, overrides, self._overrides)
        names = [name for name in self._overrides if name not in KEYS]
        return {name: getattr(self, name) if overrides.get(name) is None else overrides[name] for name in names}

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return [document for document, _ in self.similarity_search_with_score(query, **overrides)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        # With the keywords: the base class's method takes none, so `ainvoke` would not either.
        return await run_in_executor(
            None, self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **overrides
        )

    def configurable_fields(self, **kwargs: AnyConfigurableField) -> RunnableSerializable[str, list[Document]]:
        """LangChain's, with deprecated field names accepted."""
        return super().configurable_fields(**rename_keywords(kwargs, self._renamed))

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "KoRAG"
        if encoders := self.collection.encoders:
            params["ls_embedding_provider"] = "KoRAG"
            params["ls_embedding_model"] = ", ".join(encoder.model_name for encoder in encoders.values())
        return params
