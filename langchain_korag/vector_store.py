"""A vector store over a KoRAG collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from korag.analysis.tokenizers import TokenizerLike
from korag.checks import check_count, reject_unknown
from korag.collection.base import Collection, Hit
from korag.collection.explanation import Explanation
from korag.collection.local.arguments import EncoderLike
from korag.collection.local.opening import check_server, open_or_make, open_saved
from korag.deprecations import rename_keywords
from korag.encoders.dense import DenseEncoder
from korag.keywords import checks_keywords
from korag.legs.lexical import BM25Like
from korag.legs.windows.settings import WindowSize
from langchain_korag.checked_model import korag_errors
from langchain_korag.documents import (
    delete_documents,
    get_documents,
    how_to_make,
    id_to_explain,
    texts_to_documents,
    to_records,
)
from langchain_korag.embeddings import KoEmbeddings
from langchain_korag.given_embedding import check_encoders, with_embedding
from langchain_korag.owned_collection import OwnsCollection
from langchain_korag.results import KEYS, Shown
from langchain_korag.retriever_keywords import check_retriever_keywords
from langchain_korag.search_options import RENAMED, search_options

_SEARCH = (
    *("filter", "using", "fetch_k", "fusion", "weights", "score_threshold", "exact", "repair_query", "expand"),
    *KEYS,
)
_BY_VECTOR = ("filter", "score_threshold", *KEYS)
_DIVERSE = tuple(name for name in _SEARCH if name not in ("fetch_k", "expand"))
_ADDING = ("ids", "batch_size")
_MAKING = (
    "encoders", "path", "url", "collection_name", "api_key", "bm25", "tokenizer", "window", "stride", "codec",
    "keep_vectors", "pool_factor", "collection", "load_stored_models", "ids", "sync",
)  # fmt: skip


class KoVectorStore(OwnsCollection, VectorStore):
    """Documents with dense, sparse, ColBERT and BM25 legs, as a LangChain vector store.

    >>> store = KoVectorStore(["mini-colbert", "mini-splade"], bm25=True)
    >>> store.add_documents(documents)
    >>> store.similarity_search("보증금은 언제 돌려받나요?", k=4, filter={"분류": "주거"})
    >>> retriever = store.as_retriever(search_kwargs={"k": 4, "using": "colbert"})

    Every search takes `filter` (see `korag.filters`; applied before the k best are taken), `using` (a leg:
    ``"dense"``, ``"sparse"``, ``"colbert"``, ``"bm25"``, or ``"hybrid"``; by default the only leg, else hybrid),
    `score_threshold` (on relevance, see `korag.Hit.relevance`), `exact`, `repair_query` and `expand` (see
    `korag.Collection.search`), and for hybrid searches `fusion` (see `korag.SearchOptions`), `weights` by leg and
    `fetch_k` (candidates of each leg). Any other keyword is an error.

    Results are equal to the documents that were added. `score_key` names a metadata key for the score, with which
    ``rewritten_query`` (what was searched for, if the query was mistyped) and ``span`` (the part of a long document
    that was found) are added too; `id_key` names one for the id. Scores are of each leg's own kind; relevance scores
    are in [0, 1].

    Args:
        encoders: Names, paths or loaded encoders, at most one per family.
        path: Folder of the collection, new or existing; None keeps it in memory.
        url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
        collection_name: Name of the collection there, new or existing.
        api_key: The server's key. Never shown or stored.
        bm25: Search with BM25 too: as for `korag.Collection.open`; an existing folder keeps its legs.
        tokenizer: Short for a tokenizer as `bm25`.
        window: Tokens of the windows that long documents are split into; as for `korag.Collection.open`.
        stride: Tokens from the beginning of a window to that of the next; as there.
        codec: How the token vectors of a ColBERT model are stored; as there.
        keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
        pool_factor: Merge similar token vectors of each document, so that one is left for so many; as there.
        collection: An open collection, of any store, in place of all the above.
        load_stored_models: Load models that an existing folder names from outside it; see `korag.Collection.open`.

    Raises:
        InvalidArgumentError: If there is nothing to search by, or two models are of the same family.
        FingerprintError: If the folder was built with other models.
    """

    @checks_keywords
    def __init__(
        self,
        encoders: Sequence[EncoderLike] | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        collection_name: str | None = None,
        api_key: str | None = None,
        bm25: BM25Like = False,
        tokenizer: TokenizerLike = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        collection: Collection | None = None,
        load_stored_models: bool = False,
    ) -> None:
        check_encoders(encoders)
        self._given: KoEmbeddings | None = None
        self.collection = open_or_make(
            encoders,
            path=path,
            server=check_server(url, collection_name, api_key, path=path),
            bm25=bm25,
            tokenizer=tokenizer,
            window=window,
            stride=stride,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            collection=collection,
            load_stored_models=load_stored_models,
        )

    @classmethod
    @checks_keywords
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Creates a store and adds texts.

        Args:
            texts: The texts.
            embedding: A `KoEmbeddings`, whose model becomes the dense leg with all its settings; or None, and
                `encoders` instead.
            metadatas: A dict of JSON values for each text.
            ids: Their ids, all different; derived from text and metadata if not given.
            kwargs: Arguments of the constructor, and `sync`: True removes the documents of a folder that are not given,
                after adding; those that are unchanged are not encoded again either way.

        Raises:
            InvalidArgumentError: If `embedding` is another class: a ColBERT or SPLADE leg needs a model, and vectors
                of an unknown model cannot be checked against the next one's. Or if it scales vectors that its model
                compares by dot product, unscaled.
        """
        documents = texts_to_documents(texts, metadatas)
        return cls.from_documents(documents, embedding, **({} if ids is None else {"ids": ids}), **kwargs)

    @classmethod
    @checks_keywords
    def from_documents(cls, documents: Iterable[Document], embedding: Embeddings | None = None, **kwargs: Any) -> Self:
        """Creates a store and adds documents; arguments as for `from_texts`."""
        reject_unknown(cls, kwargs, ("embedding", *_MAKING))  # first, because the rest may take long
        records = to_records(documents, kwargs.pop("ids", None))
        existing = any(kwargs.get(name) is not None for name in ("path", "url", "collection"))
        sync = records.check_sync(kwargs.pop("sync", False), existing=existing)
        store = cls(**with_embedding(embedding, kwargs))
        store._given = embedding if isinstance(embedding, KoEmbeddings) else None
        records.add_to(store.collection, sync=sync)
        return store

    @classmethod
    @checks_keywords
    async def afrom_documents(
        cls, documents: Iterable[Document], embedding: Embeddings | None = None, **kwargs: Any
    ) -> Self:
        """Async `from_documents`, run in a thread."""
        return await run_in_executor(None, cls.from_documents, documents, embedding, **kwargs)

    @classmethod
    @checks_keywords
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Async `from_texts`, run in a thread."""
        return await run_in_executor(None, cls.from_texts, texts, embedding, metadatas, ids=ids, **kwargs)

    @classmethod
    @checks_keywords
    def load_local(
        cls,
        path: str | os.PathLike[str],
        *,
        encoders: Sequence[EncoderLike] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        load_stored_models: bool = False,
    ) -> Self:
        """Opens the folder of a store.

        Args:
            path: The folder.
            encoders: The models it was built with; None loads those recorded in the folder.
            bm25: The lexical legs it was built with; None takes those recorded in the folder.
            tokenizer: The tokenizer it was built with; needed only if it is your own function.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.

        Raises:
            IndexStateError: If there is nothing in the folder, or a model must be named.
            FingerprintError: If it was built with other models.
        """
        collection = open_saved(
            path,
            encoders=encoders,
            bm25=bm25,
            tokenizer=tokenizer,
            load_stored_models=load_stored_models,
            made_by=how_to_make(path),
        )
        return cls(collection=collection)

    @property
    def embeddings(self) -> KoEmbeddings | None:
        """Embeds as the dense leg does, if there is one: the object given, or one with the leg's model."""
        dense = self.collection.encoders.get("dense")
        if self._given is not None and self._given.model is dense:
            return self._given
        return KoEmbeddings(model=dense) if isinstance(dense, DenseEncoder) else None

    # -- documents ----------------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Adds texts, replacing documents with the same ids. Returns the ids, in order."""
        reject_unknown(self, kwargs, ("texts", "metadatas", *_ADDING))
        return self.add_documents(texts_to_documents(texts, metadatas), ids=ids, **kwargs)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Async `add_texts`, run in a thread."""
        return await run_in_executor(None, self.add_texts, texts, metadatas, ids=ids, **kwargs)

    def add_documents(self, documents: Iterable[Document], **kwargs: Any) -> list[str]:
        """Adds documents, replacing those with the same ids.

        Args:
            documents: The documents; those without an id get one derived from text and metadata, so that adding them
                again changes nothing.
            kwargs: `ids`, in place of the documents' own; `batch_size`, which LangChain's indexing API passes, has no
                effect: batches are formed by length.

        Returns:
            The ids, in order.
        """
        reject_unknown(self, kwargs, _ADDING)
        return to_records(documents, kwargs.get("ids")).add_to(self.collection)

    async def aadd_documents(self, documents: Iterable[Document], **kwargs: Any) -> list[str]:
        """Async `add_documents`, run in a thread."""
        return await run_in_executor(None, self.add_documents, documents, **kwargs)

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> bool:
        """Removes documents by id, by `filter`, or those among `ids` that match the filter.

        Returns:
            True. Unknown ids are ignored.

        Raises:
            InvalidArgumentError: If neither is given; ``filter={}`` removes everything.
        """
        reject_unknown(self, kwargs, ("filter",))
        delete_documents(self.collection, ids, kwargs.get("filter"))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns the documents that exist, in the order of `ids`."""
        return get_documents(self.collection, ids)

    # -- searching ----------------------------------------------------------------------------------------

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Returns the k best documents; the class lists the keywords."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Returns the k best documents with their scores; higher is better, in every leg."""
        shown, hits = self._search(query, k, kwargs)
        return [(shown.document(hit), hit.score) for hit in hits]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Async `similarity_search_with_score`, run in a thread."""
        return await run_in_executor(None, self.similarity_search_with_score, query, k, **kwargs)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        shown, hits = self._search(query, k, kwargs)
        return [(shown.document(hit), hit.relevance) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await run_in_executor(None, self._similarity_search_with_relevance_scores, query, k, **kwargs)

    def similarity_search_by_vector(self, embedding: Sequence[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Returns the k best documents for a query embedded with the dense model.

        Args:
            embedding: Shape: (dim,).
            k: Documents at most.
            kwargs: `filter`, `score_threshold`, `score_key` and `id_key`.

        Raises:
            InvalidArgumentError: If there is no dense leg, or the vector does not fit it.
        """
        shown, hits = self._search_by_vector(embedding, k, kwargs)
        return [shown.document(hit) for hit in hits]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Returns documents that match the query and differ from each other (see `korag.diversity`).

        Args:
            query: The query.
            k: Documents at most.
            fetch_k: Documents to choose from.
            lambda_mult: 1 for relevance alone, 0 for difference alone.
            kwargs: As for every search, except `fetch_k`.
        """
        found = self._search(query, _candidates(k, fetch_k), kwargs, known=_DIVERSE)
        return self._diversify(found, k, lambda_mult, kwargs.get("using"))

    def max_marginal_relevance_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """`max_marginal_relevance_search` for a query embedded with the dense model."""
        found = self._search_by_vector(embedding, _candidates(k, fetch_k), kwargs)
        return self._diversify(found, k, lambda_mult, "dense")

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Async `max_marginal_relevance_search_by_vector`, run in a thread."""
        return await run_in_executor(
            None, self.max_marginal_relevance_search_by_vector, embedding, k, fetch_k, lambda_mult, **kwargs
        )

    def explain(self, query: str, document: Document | str, *, k: int = 4, **kwargs: Any) -> Explanation:
        """Explains a document's score for a query: by token, term and leg, with places in its text.

        >>> why = store.explain(query, store.similarity_search(query)[0])
        >>> print(why)  # a notebook shows it as a picture

        Args:
            query: The query.
            document: A document found in this store, also reranked, or one that was added, or its id.
            k: As for the search that is to be explained.
            kwargs: Likewise.

        Raises:
            InvalidArgumentError: If the document is not in the store, the query is empty, or a keyword breaks its rule.
        """
        keywords = rename_keywords(kwargs, RENAMED)
        Shown.take_from(keywords)
        reject_unknown(self, keywords, _SEARCH)
        return self.collection.explain(
            query, id_to_explain(document, self.collection), options=search_options(k, keywords)
        )

    def _search(
        self, query: str, k: int, keywords: dict[str, Any], *, known: tuple[str, ...] = _SEARCH
    ) -> tuple[Shown, list[Hit]]:
        keywords = rename_keywords(keywords, RENAMED)
        shown = Shown.take_from(keywords)
        reject_unknown(self, keywords, known)
        return shown, self.collection.search(query, options=search_options(k, keywords))

    def _search_by_vector(self, vector: Sequence[float], k: int, keywords: dict[str, Any]) -> tuple[Shown, list[Hit]]:
        shown = Shown.take_from(keywords)
        reject_unknown(self, keywords, _BY_VECTOR)
        options = search_options(k, keywords)
        hits = self.collection.search_by_vector(
            vector, k=options.k, where=options.where, min_relevance=options.min_relevance
        )
        return shown, hits

    def _diversify(
        self, found: tuple[Shown, list[Hit]], k: int, lambda_mult: float, using: str | None
    ) -> list[Document]:
        shown, hits = found
        chosen = self.collection.diversify(hits, k=k, lambda_mult=lambda_mult, using=using)
        return [shown.document(hit) for hit in chosen]

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Returns a retriever over this store.

        Args:
            kwargs: ``search_type`` (``"similarity"``, ``"similarity_score_threshold"``, ``"mmr"``), ``search_kwargs``
                (`k` and the keywords of a search; for ``"mmr"`` also `lambda_mult`), ``tags``, ``metadata``, ``name``.

        Raises:
            InvalidArgumentError: If one of them, or one in ``search_kwargs``, is unknown or has a wrong value.
        """
        kwargs = check_retriever_keywords(self.collection, kwargs, _SEARCH)
        with korag_errors(VectorStoreRetriever):
            return super().as_retriever(**kwargs)

    def __len__(self) -> int:
        return len(self.collection)

    def __repr__(self) -> str:
        return f"KoVectorStore({self.collection!r})"


def _candidates(k: int, fetch_k: int) -> int:
    """Returns the number of documents to choose from: at least as many as to return."""
    return max(check_count("k", k), check_count("fetch_k", fetch_k))
