"""Base class of the retrievers over a KoRAG collection."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, IndexNode, MetadataMode, NodeWithScore, QueryBundle, QueryType
from llama_index.core.storage.docstore import BaseDocumentStore
from llama_index.core.vector_stores import MetadataFilters

from korag.analysis.tokenizers import TokenizerLike
from korag.checkpoints.presets import Family
from korag.checks import check_count, check_flag, check_list, reject_unknown
from korag.collection.base import DEFAULT_FETCH_K, Collection, SearchOptions
from korag.collection.citations import with_cited
from korag.collection.explanation import Explanation
from korag.collection.local.arguments import EncoderLike
from korag.collection.local.opening import Server, make_collection, open_saved, planned_legs
from korag.collection.options import Expansion
from korag.encoders.load import as_encoder, as_encoders
from korag.fusion import reciprocal_rank_fusion
from korag.html.objects import object_html
from korag.keywords import checks_keywords
from korag.legs.lexical import BM25Like
from korag.legs.windows.settings import WindowSize
from korag.text import check_text, check_texts
from llamaindex_korag.filters import to_where
from llamaindex_korag.found import to_found
from llamaindex_korag.given import (
    check_collection,
    check_mode,
    check_query,
    check_sync,
    checks_constructor,
    given_nodes,
    wrong_kind,
)
from llamaindex_korag.node_methods import NodeMethods
from llamaindex_korag.nodes import to_records


class CollectionRetriever(NodeMethods, BaseRetriever):
    """Finds nodes of a KoRAG collection; each subclass searches in its own way.

    Attributes:
        collection: The nodes and their vectors; shared by all its retrievers.
        similarity_top_k: Nodes to return.
        filters: Conditions on metadata, applied before the best are taken (see `llamaindex_korag.filters`).
        node_ids: Only nodes with one of these ids; None for all.
        doc_ids: Only nodes of documents with one of these ids; None for all.
        min_relevance: Leave out nodes of a lower relevance, in [0, 1] (see `korag.Hit.relevance`); not of a lower
            score, which has no fixed scale.
        exact: False lets a ColBERT or dense search score only promising nodes (see `korag.Collection.search`).
        repair_query: Search for what was meant by a mistyped query (see `korag.collection.SearchOptions`); results
            found that way say so (`FoundNode.rewritten_query`).
        expand: ``"citations"`` adds up to `similarity_top_k` articles that those found cite, behind them
            (`FoundNode.cited_by`; see `korag.collection.SearchOptions`).
        metadata_mode: Metadata that is part of the searched text, for nodes added from now on.
    """

    _options: ClassVar[tuple[str, ...]] = (
        *("similarity_top_k", "filters", "node_ids", "doc_ids", "min_relevance", "exact", "repair_query", "expand"),
        *("metadata_mode", "callback_manager", "object_map", "objects", "verbose"),
    )
    """Keywords of the constructor, which the class methods accept as well."""
    _fields: ClassVar[Mapping[str, str]] = {
        "similarity_top_k": "k",
        **{name: name for name in ("min_relevance", "exact", "repair_query", "expand")},
    }
    """Attributes that are fields of `SearchOptions`, with the field's name."""
    _embedding_strs: ClassVar[bool] = True
    """Search with the strings that a query transformation such as HyDE generated."""

    @checks_constructor
    def __init__(
        self,
        collection: Collection,
        *,
        similarity_top_k: int = 10,
        filters: MetadataFilters | None = None,
        node_ids: Sequence[str] | None = None,
        doc_ids: Sequence[str] | None = None,
        min_relevance: float | None = None,
        exact: bool = True,
        repair_query: bool = True,
        expand: Expansion | None = None,
        metadata_mode: MetadataMode = MetadataMode.EMBED,
        callback_manager: CallbackManager | None = None,
        object_map: Mapping[str, Any] | None = None,
        objects: Sequence[IndexNode] | None = None,
        verbose: bool = False,
        **unknown: Any,
    ) -> None:
        """Wraps an existing collection; `from_defaults` creates one from nodes.

        Args:
            collection: A collection of any store that has the leg this class searches.
            similarity_top_k: Nodes to return.
            filters: Conditions on metadata.
            node_ids: Only nodes with one of these ids.
            doc_ids: Only nodes of documents with one of these ids.
            min_relevance: Leave out nodes of a lower relevance, in [0, 1].
            exact: False lets a ColBERT or dense search score only promising nodes.
            repair_query: Search for what was meant by a mistyped query.
            expand: ``"citations"`` adds the articles that those found cite.
            metadata_mode: Metadata that is part of the searched text.
            callback_manager: LlamaIndex's callbacks.
            object_map: Targets of index nodes by `IndexNode.index_id`: retrievers, query engines, nodes.
            objects: Index nodes whose `obj` is added to the map.
            verbose: Print the object that is searched.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            IndexStateError: If the collection does not have the leg.
            InvalidArgumentError: If an argument breaks its rule.
            FilterError: If a filter's value does not fit its operator.
        """
        reject_unknown(self, unknown, self._options)
        self._check_legs(check_collection(self, collection).legs, collection)
        self.collection = collection
        self.similarity_top_k = similarity_top_k
        self.filters = filters
        self.node_ids = None if node_ids is None else check_texts(node_ids, "node_ids")
        self.doc_ids = None if doc_ids is None else check_texts(doc_ids, "doc_ids")
        self.min_relevance, self.exact, self.repair_query = min_relevance, exact, repair_query
        self.expand = expand
        self.metadata_mode = check_mode(metadata_mode)
        self._search_options(collection.legs, vars(self))
        super().__init__(**_of_llamaindex(callback_manager, object_map, objects, verbose))

    # -- construction ------------------------------------------------------------------------------------

    @classmethod
    def _build(
        cls,
        nodes: Iterable[BaseNode] | None,
        index: BaseIndex[Any] | None,
        docstore: BaseDocumentStore | None,
        *,
        path: str | os.PathLike[str] | None,
        server: Server | None,
        show_progress: bool | None,
        load_stored_models: bool,
        options: dict[str, Any],
        sync: bool = False,
        models: Sequence[EncoderLike] = (),
        family: Family | None = None,
        query_length: int | None = None,
        bm25: BM25Like = False,
        tokenizer: TokenizerLike = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
    ) -> Self:
        # Checked in this order, so that a wrong name, node or option costs no model, folder or indexing.
        cls._check_keywords("from_defaults", options)
        if show_progress is not None:
            check_flag("show_progress", show_progress)
        for name in ("node_ids", "doc_ids"):
            if options.get(name) is not None:
                options[name] = check_texts(options[name], name)
        records = to_records(
            given_nodes(nodes, index, docstore), check_mode(options.get("metadata_mode", MetadataMode.EMBED))
        )
        check_sync(sync, existing=path is not None or server is not None, given=len(records.ids))
        encoders = [as_encoder(model, family=family, query_length=query_length) for model in models]
        legs = planned_legs(encoders, bm25=bm25, tokenizer=tokenizer)
        cls._check_legs(legs, f"legs={list(legs)}")
        cls._search_options(legs, options)
        collection = make_collection(
            encoders,
            path=path,
            server=server,
            bm25=bm25 or None,  # the collection may have more legs than this retriever searches
            tokenizer=tokenizer,
            window=window,
            stride=stride,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            load_stored_models=load_stored_models,
        )
        retriever = cls(collection, **options)
        added = retriever._add(records, show_progress=show_progress)
        if sync:
            collection.keep_only(added)
        return retriever

    @classmethod
    def _open(
        cls,
        path: str | os.PathLike[str],
        *,
        load_stored_models: bool,
        options: dict[str, Any],
        models: Sequence[EncoderLike] | None = None,
        family: Family | None = None,
        query_length: int | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
    ) -> Self:
        cls._check_keywords("from_persist_dir", options)
        encoders = as_encoders(models, family=family, query_length=query_length)
        made_by = f"{cls.__name__}.from_defaults(nodes=..., path='{path}'), persist('{path}')"
        collection = open_saved(
            path,
            encoders=encoders,
            bm25=bm25,
            tokenizer=tokenizer,
            load_stored_models=load_stored_models,
            made_by=made_by,
        )
        return cls(collection, **options)

    @classmethod
    def _check_keywords(cls, method: str, options: Iterable[str]) -> None:
        """Raises for a keyword that is neither the method's own nor the constructor's."""
        parameters = inspect.signature(getattr(cls, method)).parameters.values()
        own = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        known = list(dict.fromkeys([*own, *cls._options]))
        reject_unknown(cls, options, known)

    @classmethod
    def _check_legs(cls, legs: tuple[str, ...], owner: object) -> None:
        """Raises `IndexStateError` if a retriever of this class cannot search these legs of `owner`."""
        raise NotImplementedError

    @checks_keywords
    def persist(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Writes the nodes and their vectors to a folder, for `from_persist_dir`.

        A retriever created with ``path=`` saves every change itself; this makes a copy elsewhere. Targets of index
        nodes are saved if they are nodes; pass other objects again on loading, as ``object_map``.

        Args:
            path: The folder.
            overwrite: Replace a collection that is there, as `persist` does throughout LlamaIndex. Nothing but a KoRAG
                collection is ever replaced, and always by a complete one.

        Returns:
            The folder.

        Raises:
            ForeignFolderError: If the folder contains something else.
            ReadOnlyError: If it cannot be written.
        """
        return self.collection.save(path, overwrite=overwrite)

    # -- searching ----------------------------------------------------------------------------------------

    # `wraps` marks these as already instrumented, so that a retrieval is one span, not two. pyright does not recognise
    # the result as a method.

    @functools.wraps(BaseRetriever.retrieve)
    def retrieve(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, str_or_query_bundle: QueryType
    ) -> list[NodeWithScore]:
        """Finds nodes for a query."""
        return super().retrieve(check_query(str_or_query_bundle))

    @functools.wraps(BaseRetriever.aretrieve)
    async def aretrieve(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, str_or_query_bundle: QueryType
    ) -> list[NodeWithScore]:
        """Async `retrieve`, run in a thread."""
        return await super().aretrieve(check_query(str_or_query_bundle))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        options = self._search_options(self.collection.legs, vars(self))
        queries = self._queries(query_bundle)
        if len(queries) > 1 and options.k > 0:  # each contributes as many candidates as a leg does in a hybrid search
            options = dataclasses.replace(options, k=max(options.k, DEFAULT_FETCH_K), expand=None)
        found = self.collection.search_many(queries, options=options)
        if len(queries) == 1:
            return [to_found(hit) for hit in found[0]]
        by_relevance = sorted((hit for hits in found for hit in hits), key=lambda hit: hit.relevance)
        by_id = {hit.id: hit for hit in by_relevance}  # the most relevant one of each node
        ranked = reciprocal_rank_fusion({str(index): [hit.id for hit in hits] for index, hits in enumerate(found)})
        hits = [dataclasses.replace(by_id[id_], score=score) for id_, score in ranked[: self.similarity_top_k]]
        if self.expand is not None:
            (hits,) = with_cited([hits], self.collection.get, options.where, self.similarity_top_k)
        return [to_found(hit) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _queries(self, query_bundle: QueryBundle) -> list[str]:
        query = check_text(query_bundle.query_str, "query_str")
        made = query_bundle.custom_embedding_strs if self._embedding_strs else None
        return check_texts(made, "custom_embedding_strs") if made else [query]

    @classmethod
    def _search_options(cls, legs: tuple[str, ...], settings: Mapping[str, Any]) -> SearchOptions:
        """Checks settings and returns them as the collection takes them.

        Args:
            legs: The collection's.
            settings: Keywords of the constructor by name, or a retriever's attributes; others are ignored.
        """
        check_count("similarity_top_k", settings.get("similarity_top_k", 0))  # SearchOptions would call it k
        where = to_where(settings.get("filters"), node_ids=settings.get("node_ids"), doc_ids=settings.get("doc_ids"))
        given = {field: settings[name] for name, field in cls._fields.items() if name in settings}
        return SearchOptions(where=where, **(given | cls._search_kwargs(legs, settings)))

    @classmethod
    def _search_kwargs(cls, legs: tuple[str, ...], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the fields of `SearchOptions` that the subclass sets."""
        raise NotImplementedError

    @checks_keywords
    def explain(self, str_or_query_bundle: QueryType, node: NodeWithScore | BaseNode | str) -> Explanation:
        """Explains a node's score for a query: by token, term and leg, with places in the searched text.

        That text begins with the metadata that are searched, too (`metadata_mode`).

        >>> why = retriever.explain(query, retriever.retrieve(query)[0])
        >>> print(why)  # a notebook shows it as a picture

        Args:
            str_or_query_bundle: The query.
            node: A node found by this retriever, also reranked, or its id.

        Raises:
            InvalidArgumentError: If the node is not in the collection, or the query is empty.
        """
        query = check_query(str_or_query_bundle)
        asked = query.query_str if isinstance(query, QueryBundle) else query
        found: Any = node.node if isinstance(node, NodeWithScore) else node
        id_: Any = found.node_id if isinstance(found, BaseNode) else found
        return self.collection.explain(asked, id_, options=self._search_options(self.collection.legs, vars(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.collection!r}, similarity_top_k={self.similarity_top_k})"

    def _repr_html_(self) -> str:
        names = ("collection", *self._fields, "filters", "node_ids", "doc_ids")
        return object_html(type(self).__name__, [(name, getattr(self, name)) for name in names])

    def __getstate__(self) -> dict[str, Any]:
        # Callbacks are left out, as in the other classes: they belong to a process, and some cannot be pickled.
        return {name: value for name, value in self.__dict__.items() if name != "callback_manager"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, callback_manager=CallbackManager())


def _of_llamaindex(
    callback_manager: CallbackManager | None,
    object_map: Mapping[str, Any] | None,
    objects: Sequence[IndexNode] | None,
    verbose: object,
) -> dict[str, Any]:
    """Checks what LlamaIndex's retriever takes, and returns it."""
    if not isinstance(callback_manager, CallbackManager | None):
        raise wrong_kind("callback_manager", callback_manager, "CallbackManager")
    if not isinstance(object_map, Mapping | None):
        raise wrong_kind("object_map", object_map, "dict")
    known = dict(object_map or {})
    for index, node in enumerate(check_list("objects", () if objects is None else objects)):
        if not isinstance(node, IndexNode):
            raise wrong_kind(f"objects[{index}]", node, "IndexNode")
        known[node.index_id] = node.obj
    return {
        "callback_manager": callback_manager,
        "object_map": known,
        "verbose": check_flag("verbose", verbose),
    }
