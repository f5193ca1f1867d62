"""Retrievers over one leg: ColBERT, SPLADE, BM25."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from langchain_core.documents import Document

from korag.analysis.tokenizers import TokenizerLike
from korag.checkpoints.presets import DEFAULT_COLBERT, DEFAULT_SPLADE, Family
from korag.collection.local.arguments import EncoderLike
from korag.collection.local.opening import check_server
from korag.errors import IndexStateError
from korag.keywords import checks_keywords
from korag.legs.lexical import BM25Choice, one_lexical
from korag.legs.windows.settings import WindowSize
from langchain_korag.collection_retriever import CollectionRetriever


class _OneLegRetriever(CollectionRetriever):
    """Searches one leg of a collection and ignores any others."""

    _leg: ClassVar[str]

    @classmethod
    def _check_legs(cls, legs: tuple[str, ...], owner: object) -> None:
        if cls._leg not in legs:
            raise IndexStateError(
                f"{owner!r}에는 '{cls._leg}' 색인이 없습니다. {cls.__name__}.from_documents로 만드세요.",
                f"{owner!r} has no '{cls._leg}' leg; create one with {cls.__name__}.from_documents.",
            )

    def _search_kwargs(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"using": self._leg}


class _ModelRetriever(_OneLegRetriever):
    """Searches with one model."""

    _family: ClassVar[Family]

    @classmethod
    @checks_keywords
    def load_local(
        cls,
        path: str | os.PathLike[str],
        *,
        model: EncoderLike | None = None,
        query_length: int | None = None,
        load_stored_models: bool = False,
        k: int = 4,
        **fields: Any,
    ) -> Self:
        """Opens the folder that a retriever was created with or saved to.

        Args:
            path: The folder.
            model: The model it was built with; None loads the one recorded in the folder.
            query_length: Longest query in tokens that `model` was loaded with; None for its own.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            k: Documents to return.
            fields: Other fields of the retriever.

        Raises:
            FingerprintError: If it was built with another model.
            IndexStateError: If there is no collection with this model's vectors in the folder.
        """
        models = None if model is None else [model]
        return cls._open(
            path,
            models=models,
            family=cls._family,
            query_length=query_length,
            load_stored_models=load_stored_models,
            fields={"k": k, **fields},
        )


class KoColBERTRetriever(_ModelRetriever):
    """Finds documents with a ColBERT model: exact MaxSim over every token of every document.

    >>> retriever = KoColBERTRetriever.from_documents(documents, model="mini-colbert", k=4)
    >>> retriever.invoke("보증금은 언제 돌려받나요?", filter={"분류": "임대차"})

    `k`, `filter`, `score_threshold`, `exact`, `score_key` and `id_key` can be given to ``invoke``, ``ainvoke``,
    ``batch`` and ``stream`` too; they replace the retriever's own for that call, so ``filter={}`` searches everything.
    Results equal the documents that were added. With a `score_key` they have the MaxSim score, comparable for the same
    query only, and ``rewritten_query`` and ``span`` where there are any.

    Attributes:
        collection: The documents and their vectors; shared by copies of the retriever.
        k: Documents to return.
        filter: Metadata filter, applied before the k best are taken (see `korag.filters`).
        score_threshold: Leave out documents whose best match per query token, averaged, is lower; in [0, 1].
        exact: False lets the search score only promising documents (see `korag.Collection.search`).
        repair_query: Search for what was meant by a mistyped query (see `korag.collection.SearchOptions`).
        expand: ``"citations"`` adds up to k articles that those found cite, behind them (see there as well).
        score_key: Metadata key for the score; None adds nothing to what a document was added with.
        id_key: Metadata key for the document's id; None for none.

    Raises:
        IndexStateError: If the collection has no ColBERT vectors.
    """

    _leg = "colbert"
    _family = "late_interaction"

    @classmethod
    @checks_keywords
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        model: EncoderLike = DEFAULT_COLBERT,
        query_length: int | None = None,
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
            model: A name, a path, or a loaded late-interaction encoder.
            query_length: Longest query in tokens; None for the model's own.
            window: Tokens of the windows that long documents are split into; as for `korag.Collection.open`.
            stride: Tokens from the beginning of a window to that of the next; as there.
            codec: How the token vectors of a ColBERT model are stored; as there.
            keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
            pool_factor: Merge similar token vectors of each document, so that one is left for so many; as there.
            k: Documents to return.
            path: Folder of the collection, new or built with the same model, where documents replace those
                with the same ids; None keeps it in memory. `load_local` opens a folder without adding
                anything.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
            ids: Ids in place of the documents' own. If there are none either, they are derived from text and metadata,
                so that running a program again adds nothing twice.
            sync: Remove the documents of the folder that are not given, after adding; those that are unchanged are
                not encoded again either way. An error without `path`.
            load_stored_models: Load other models that an existing folder names from outside it; see
                `korag.Collection.open`.
            fields: Other fields of the retriever.

        Raises:
            WrongFamilyError: If the model is not a late-interaction model.
        """
        return cls._index(
            documents,
            ids=ids,
            path=path,
            server=check_server(url, collection_name, api_key, path=path),
            sync=sync,
            models=[model],
            family=cls._family,
            query_length=query_length,
            window=window,
            stride=stride,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            load_stored_models=load_stored_models,
            fields={"k": k, **fields},
        )


class KoSpladeRetriever(_ModelRetriever):
    """Finds documents with a SPLADE model: weighted terms, including related ones.

    >>> retriever = KoSpladeRetriever.from_documents(documents, model="mini-splade", k=4)

    Keywords and results as for `KoColBERTRetriever`; the score is the dot product of term weights.

    Attributes:
        collection: The documents and their vectors; shared by copies of the retriever.
        k: Documents to return.
        filter: Metadata filter, applied before the k best are taken (see `korag.filters`).
        score_threshold: Leave out documents whose score is a smaller fraction of the query's score with itself; in
            [0, 1].
        exact: No effect; only ColBERT and dense searches can be approximate.
        repair_query: Search for what was meant by a mistyped query (see `korag.collection.SearchOptions`).
        expand: ``"citations"`` adds up to k articles that those found cite, behind them (see there as well).
        score_key: Metadata key for the score; None adds nothing to what a document was added with.
        id_key: Metadata key for the document's id; None for none.

    Raises:
        IndexStateError: If the collection has no SPLADE vectors.
    """

    _leg = "sparse"
    _family = "sparse"

    @classmethod
    @checks_keywords
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        model: EncoderLike = DEFAULT_SPLADE,
        query_length: int | None = None,
        window: WindowSize = "auto",
        stride: int | None = None,
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
        """Indexes documents; arguments as for `KoColBERTRetriever.from_documents`.

        Raises:
            WrongFamilyError: If the model is not a sparse model.
        """
        return cls._index(
            documents,
            ids=ids,
            path=path,
            server=check_server(url, collection_name, api_key, path=path),
            sync=sync,
            models=[model],
            family=cls._family,
            query_length=query_length,
            window=window,
            stride=stride,
            load_stored_models=load_stored_models,
            fields={"k": k, **fields},
        )


class KoBM25Retriever(_OneLegRetriever):
    """Finds documents with BM25; needs no model.

    >>> retriever = KoBM25Retriever.from_documents(documents, k=4)
    >>> retriever = KoBM25Retriever.from_documents(documents, tokenizer="kiwi")

    Keywords and results as for `KoColBERTRetriever`; the score is BM25's, and documents that share no term with
    the query are never found.

    Attributes:
        collection: The documents and their terms; shared by copies of the retriever.
        k: Documents to return.
        filter: Metadata filter, applied before the k best are taken (see `korag.filters`).
        score_threshold: Leave out documents whose score is a smaller fraction of the highest score the query could
            get; in [0, 1].
        exact: No effect; only ColBERT and dense searches can be approximate.
        repair_query: Search for what was meant by a mistyped query (see `korag.collection.SearchOptions`).
        expand: ``"citations"`` adds up to k articles that those found cite, behind them (see there as well).
        score_key: Metadata key for the score; None adds nothing to what a document was added with.
        id_key: Metadata key for the document's id; None for none.

    Raises:
        IndexStateError: If the collection has no BM25 leg.
    """

    _leg = "bm25"

    @classmethod
    @checks_keywords
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        bm25: BM25Choice = True,
        tokenizer: TokenizerLike = None,
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
            bm25: `korag.BM25` settings, in place of a tokenizer.
            tokenizer: None for character bigrams, ``"kiwi"`` for morphemes, or a function from text to tokens.
            k: Documents to return.
            path: Folder of the collection; as for `KoColBERTRetriever.from_documents`.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
            ids: Ids in place of the documents' own; as there.
            sync: As there.
            load_stored_models: As there.
            fields: Other fields of the retriever.
        """
        return cls._index(
            documents,
            ids=ids,
            path=path,
            server=check_server(url, collection_name, api_key, path=path),
            sync=sync,
            models=(),
            bm25=one_lexical(bm25),
            tokenizer=tokenizer,
            load_stored_models=load_stored_models,
            fields={"k": k, **fields},
        )

    @classmethod
    @checks_keywords
    def load_local(
        cls,
        path: str | os.PathLike[str],
        *,
        bm25: BM25Choice = True,
        tokenizer: TokenizerLike = None,
        load_stored_models: bool = False,
        k: int = 4,
        **fields: Any,
    ) -> Self:
        """Opens the folder that a retriever was created with or saved to.

        Args:
            path: The folder.
            bm25: The settings it was built with; needed only to change what is done to queries.
            tokenizer: The tokenizer it was built with; needed only if it is your own function.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            k: Documents to return.
            fields: Other fields of the retriever.

        Raises:
            FingerprintError: If it was built with another tokenizer.
            IndexStateError: If there is no collection with BM25 in the folder.
        """
        return cls._open(
            path,
            models=None,
            bm25=None if bm25 is True else one_lexical(bm25),
            tokenizer=tokenizer,
            load_stored_models=load_stored_models,
            fields={"k": k, **fields},
        )
