"""Retrievers: ColBERT, SPLADE, BM25, and hybrid."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore import BaseDocumentStore

from korag.analysis.tokenizers import TokenizerLike
from korag.checkpoints.presets import DEFAULT_COLBERT, DEFAULT_SPLADE, Family
from korag.checks import FusionMethod, check_list, name_weights
from korag.collection.base import Collection
from korag.collection.local.arguments import EncoderLike
from korag.collection.local.opening import check_server
from korag.deprecations import accepts_old_names, renamed_attribute
from korag.errors import IndexStateError
from korag.keywords import checks_keywords
from korag.legs.lexical import BM25Choice, BM25Like, one_lexical
from korag.legs.windows.settings import WindowSize
from llamaindex_korag.collection_retriever import CollectionRetriever
from llamaindex_korag.given import checks_constructor

_RENAMED = {"method": "fusion"}


class _OneLegRetriever(CollectionRetriever):
    """Searches one leg of a collection and ignores any others."""

    _leg: ClassVar[str]

    @classmethod
    def _check_legs(cls, legs: tuple[str, ...], owner: object) -> None:
        if cls._leg not in legs:
            raise IndexStateError(
                f"{owner!r}에는 '{cls._leg}' 색인이 없습니다. {cls.__name__}.from_defaults로 만드세요.",
                f"{owner!r} has no '{cls._leg}' leg; create one with {cls.__name__}.from_defaults.",
            )

    @classmethod
    def _search_kwargs(cls, legs: tuple[str, ...], settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"using": cls._leg}


class _ModelRetriever(_OneLegRetriever):
    """Searches with one model."""

    _family: ClassVar[Family]
    _default: ClassVar[str]

    @classmethod
    @checks_keywords
    def from_defaults(
        cls,
        nodes: Iterable[BaseNode] | None = None,
        *,
        index: BaseIndex[Any] | None = None,
        docstore: BaseDocumentStore | None = None,
        model_name: EncoderLike | None = None,
        query_length: int | None = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        collection_name: str | None = None,
        api_key: str | None = None,
        sync: bool = False,
        show_progress: bool | None = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """Indexes nodes and returns a retriever over them.

        Args:
            nodes: The nodes; they keep their ids and are not modified.
            index: An index whose docstore has the nodes, in place of `nodes`.
            docstore: A docstore with the nodes, in place of `nodes`.
            model_name: A name, a path, or a loaded encoder; None for the class's own model. ``model=`` is taken too.
            query_length: Longest query in tokens; None for the model's own.
            window: Tokens of the windows that long nodes are split into; as for `korag.Collection.open`.
            stride: Tokens from the beginning of a window to that of the next; as there.
            codec: How the token vectors of a ColBERT model are stored; as there.
            keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
            pool_factor: Merge similar token vectors of each node, so that one is left for so many; as there.
            path: Folder of the collection, new or built with the same model, where nodes replace those with the
                same ids, and nothing is encoded that is there already (see `add_nodes`); None keeps it in memory.
                `from_persist_dir` opens a folder without adding anything.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
            sync: Remove from the folder every node that is not given, after adding those that are. Documents that
                another program has put there are removed too: one folder, one script.
            show_progress: Show a progress bar; None shows one for more than 1,000 nodes in a terminal.
            load_stored_models: Load other models that an existing folder names from outside it; see
                `korag.Collection.open`.
            options: Keywords of the constructor: `similarity_top_k` (10), `filters`, `node_ids`, `doc_ids`,
                `min_relevance`, `exact`, `metadata_mode`, `callback_manager`, `object_map`, `objects`, `verbose`.

        Raises:
            WrongFamilyError: If the model is of another family.
            InvalidArgumentError: If a node has no text, an id occurs twice, or an argument breaks its rule.
            FingerprintError: If the folder was built with another model.
        """
        model = cls._default if model_name is None else model_name
        return cls._build(
            nodes, index, docstore,
            models=[model], family=cls._family, query_length=query_length, window=window, stride=stride,
            codec=codec, keep_vectors=keep_vectors, pool_factor=pool_factor, path=path, sync=sync,
            server=check_server(url, collection_name, api_key, path=path),
            show_progress=show_progress, load_stored_models=load_stored_models, options=options,
        )  # fmt: skip

    @classmethod
    @checks_keywords
    def from_persist_dir(
        cls,
        path: str | os.PathLike[str],
        *,
        model_name: EncoderLike | None = None,
        query_length: int | None = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """Opens the folder that a retriever was created with or persisted to.

        Args:
            path: The folder.
            model_name: The model it was built with, or ``model=``; None loads the one recorded in the folder.
            query_length: Longest query in tokens that `model_name` was loaded with; None for its own.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            options: Keywords of the constructor.

        Raises:
            FingerprintError: If it was built with another model.
            IndexStateError: If there is no collection with this model's vectors in the folder.
        """
        models = None if model_name is None else [model_name]
        return cls._open(
            path,
            models=models,
            family=cls._family,
            query_length=query_length,
            load_stored_models=load_stored_models,
            options=options,
        )


class KoColBERTRetriever(_ModelRetriever):
    """Finds nodes with a ColBERT model: exact MaxSim over every token of every node.

    >>> retriever = KoColBERTRetriever.from_defaults(nodes, model_name="mini-colbert", similarity_top_k=4)
    >>> query_engine = RetrieverQueryEngine.from_args(retriever)

    Returns new `FoundNode` objects with new nodes, equal to those added except for their embeddings. The score is
    MaxSim, comparable for the same query only. If a transformation such as HyDE generated several query strings, each
    is searched and the results are fused by rank, because scores of different queries do not compare; the score is then
    that of this fusion.

    Attributes:
        collection: The nodes and their vectors; shared by all its retrievers.
        similarity_top_k: Nodes to return.
        filters: Conditions on metadata, applied before the best are taken (see `llamaindex_korag.filters`).
        node_ids: Only nodes with one of these ids; None for all.
        doc_ids: Only nodes of documents with one of these ids; None for all.
        min_relevance: Leave out nodes whose best match per query token, averaged, is lower; in [0, 1].
        exact: False lets the search score only promising nodes (see `korag.Collection.search`).
        metadata_mode: Metadata that is part of the searched text, for nodes added from now on.
    """

    _leg = "colbert"
    _family = "late_interaction"
    _default = DEFAULT_COLBERT


class KoSpladeRetriever(_ModelRetriever):
    """Finds nodes with a SPLADE model: weighted terms, including related ones.

    >>> retriever = KoSpladeRetriever.from_defaults(nodes, model_name="mini-splade")

    Arguments, attributes and results as for `KoColBERTRetriever`; the score is the dot product of term weights, and
    `min_relevance` its fraction of the query's score with itself. `exact` has no effect.
    """

    _leg = "sparse"
    _family = "sparse"
    _default = DEFAULT_SPLADE


class KoBM25Retriever(_OneLegRetriever):
    """Finds nodes with BM25; needs no model.

    >>> retriever = KoBM25Retriever.from_defaults(nodes)
    >>> retriever = KoBM25Retriever.from_defaults(nodes, tokenizer="kiwi")

    Attributes and results as for `KoColBERTRetriever`; the score is BM25's. Nodes that share no term with the query
    are never found. The query's own terms are searched, not those of strings generated by HyDE. `exact` has no effect.
    """

    _leg = "bm25"
    _embedding_strs = False

    @classmethod
    @checks_keywords
    def from_defaults(
        cls,
        nodes: Iterable[BaseNode] | None = None,
        *,
        index: BaseIndex[Any] | None = None,
        docstore: BaseDocumentStore | None = None,
        bm25: BM25Choice = True,
        tokenizer: TokenizerLike = None,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        collection_name: str | None = None,
        api_key: str | None = None,
        sync: bool = False,
        show_progress: bool | None = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """Indexes nodes and returns a retriever over them; arguments as for `KoColBERTRetriever.from_defaults`.

        Args:
            nodes: The nodes.
            index: An index whose docstore has the nodes, in place of `nodes`.
            docstore: A docstore with the nodes, in place of `nodes`.
            bm25: `korag.BM25` settings, in place of a tokenizer.
            tokenizer: None for character bigrams, ``"kiwi"`` for morphemes, or a function from text to tokens.
            path: Folder of the collection; None keeps it in memory.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
            sync: Remove from the folder every node that is not given, after adding those that are. Documents that
                another program has put there are removed too: one folder, one script.
            show_progress: Show a progress bar.
            load_stored_models: As for `KoColBERTRetriever.from_defaults`.
            options: Keywords of the constructor.
        """
        return cls._build(
            nodes, index, docstore,
            bm25=one_lexical(bm25), tokenizer=tokenizer, path=path, sync=sync,
            server=check_server(url, collection_name, api_key, path=path), show_progress=show_progress,
            load_stored_models=load_stored_models, options=options,
        )  # fmt: skip

    @classmethod
    @checks_keywords
    def from_persist_dir(
        cls,
        path: str | os.PathLike[str],
        *,
        bm25: BM25Choice = True,
        tokenizer: TokenizerLike = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """Opens the folder that a retriever was created with or persisted to.

        Args:
            path: The folder.
            bm25: The settings it was built with; needed only to change what is done to queries.
            tokenizer: The tokenizer it was built with; needed only if it is your own function.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            options: Keywords of the constructor.

        Raises:
            FingerprintError: If it was built with another tokenizer.
            IndexStateError: If there is no collection with BM25 in the folder.
        """
        asked = None if bm25 is True else one_lexical(bm25)
        return cls._open(path, bm25=asked, tokenizer=tokenizer, load_stored_models=load_stored_models, options=options)


class KoHybridRetriever(CollectionRetriever):
    """Finds nodes with several models and BM25 and fuses the results.

    >>> retriever = KoHybridRetriever.from_defaults(nodes, models=["mini-colbert", "mini-splade"], bm25=True)

    Unlike in LlamaIndex's fusion of retrievers, nodes are identified by id rather than text, and filters apply to every
    leg before its best are taken.

    Attributes:
        collection: The nodes and their vectors; shared by all its retrievers.
        similarity_top_k: Nodes to return.
        filters: Conditions on metadata, applied before the best are taken (see `llamaindex_korag.filters`).
        node_ids: Only nodes with one of these ids; None for all.
        doc_ids: Only nodes of documents with one of these ids; None for all.
        min_relevance: Leave out nodes of a lower relevance, in [0, 1] (see `korag.Hit.relevance`); 0.5 leaves out most
            of what the nodes cannot answer with the bundled models; ``korag eval --threshold`` finds yours.
        exact: False lets the ColBERT and dense legs score only promising nodes (see `korag.Collection.search`).
        metadata_mode: Metadata that is part of the searched text, for nodes added from now on.
        weights: Factor on the weight of each leg, by its name (``"colbert"``, ``"sparse"``, ``"dense"``, ``"bm25"``), 1
            where not given; or a list, in the order of the models, with BM25 last.
        fusion: As in `korag.SearchOptions`: ``"auto"`` for the collection's own or the library's default,
            ``"anchored"``, ``"weighted"`` or ``"rrf"``.
        fetch_k: Candidates of each leg; None for 100, or `similarity_top_k` if that is more.
    """

    _options = (*CollectionRetriever._options, "weights", "fusion", "fetch_k")
    _fields: ClassVar[Mapping[str, str]] = {**CollectionRetriever._fields, "fusion": "fusion", "fetch_k": "fetch_k"}
    method = renamed_attribute("method", "fusion")

    @checks_constructor
    @accepts_old_names(_RENAMED)
    def __init__(
        self,
        collection: Collection,
        *,
        weights: Mapping[str, float] | Sequence[float] | None = None,
        fusion: FusionMethod = "auto",
        fetch_k: int | None = None,
        **options: Any,
    ) -> None:
        """Wraps an existing collection; `from_defaults` creates one from nodes.

        Args:
            collection: A collection of any store with several legs.
            weights: Factor on the weight of each leg: by name, or in the order of the models with BM25 last.
            fusion: As the attribute.
            fetch_k: Candidates of each leg.
            options: Keywords of `KoColBERTRetriever`'s constructor.

        Raises:
            IndexStateError: If the collection has a single leg.
            InvalidArgumentError: If an argument breaks its rule.
        """
        self.weights, self.fusion, self.fetch_k = weights, fusion, fetch_k
        super().__init__(collection, **options)

    @classmethod
    @checks_keywords
    @accepts_old_names(_RENAMED)
    def from_defaults(
        cls,
        nodes: Iterable[BaseNode] | None = None,
        *,
        index: BaseIndex[Any] | None = None,
        docstore: BaseDocumentStore | None = None,
        models: Sequence[EncoderLike] = (DEFAULT_COLBERT, DEFAULT_SPLADE),
        bm25: BM25Like = True,
        tokenizer: TokenizerLike = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        collection_name: str | None = None,
        api_key: str | None = None,
        sync: bool = False,
        show_progress: bool | None = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """Indexes nodes and returns a retriever over them; arguments as for `KoColBERTRetriever.from_defaults`.

        Args:
            nodes: The nodes.
            index: An index whose docstore has the nodes, in place of `nodes`.
            docstore: A docstore with the nodes, in place of `nodes`.
            models: Names, paths or loaded encoders, at most one per family.
            bm25: Search with BM25 too: as for `korag.Collection.open`. ``["bigram", "kiwi"]`` makes two legs.
            tokenizer: Short for a tokenizer as `bm25`.
            window: Tokens of the windows that long nodes are split into; as for `korag.Collection.open`.
            stride: Tokens from the beginning of a window to that of the next; as there.
            codec: How the token vectors of a ColBERT model are stored; as there.
            keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
            pool_factor: Merge similar token vectors of each node, so that one is left for so many; as there.
            path: Folder of the collection; None keeps it in memory.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
            sync: Remove from the folder every node that is not given, after adding those that are. Documents that
                another program has put there are removed too: one folder, one script.
            show_progress: Show a progress bar.
            load_stored_models: As for `KoColBERTRetriever.from_defaults`.
            options: Keywords of the constructor, `weights`, `fusion` and `fetch_k` among them.

        Raises:
            InvalidArgumentError: If two models are of the same family.
        """
        return cls._build(
            nodes, index, docstore,
            models=check_list("models", models), bm25=bm25, tokenizer=tokenizer, window=window, stride=stride,
            codec=codec, keep_vectors=keep_vectors, pool_factor=pool_factor, path=path, sync=sync,
            server=check_server(url, collection_name, api_key, path=path),
            show_progress=show_progress, load_stored_models=load_stored_models, options=options,
        )  # fmt: skip

    @classmethod
    @checks_keywords
    @accepts_old_names(_RENAMED)
    def from_persist_dir(
        cls,
        path: str | os.PathLike[str],
        *,
        models: Sequence[EncoderLike] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """Opens the folder that a retriever was created with or persisted to.

        Args:
            path: The folder.
            models: The models it was built with; None loads those recorded in the folder.
            bm25: The lexical legs it was built with; None takes those recorded in the folder.
            tokenizer: The tokenizer it was built with; needed only if it is your own function.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            options: Keywords of the constructor.

        Raises:
            FingerprintError: If it was built with other models.
            IndexStateError: If there is no collection with several legs in the folder.
        """
        return cls._open(
            path, models=models, bm25=bm25, tokenizer=tokenizer, load_stored_models=load_stored_models, options=options
        )

    @classmethod
    def _check_legs(cls, legs: tuple[str, ...], owner: object) -> None:
        if len(legs) < 2:
            raise IndexStateError(
                f"{owner!r}의 검색 방식이 둘 이상이어야 결과를 합칠 수 있습니다. models에 모델을 더 넣거나 bm25=True로 "
                "만드세요.",
                f"{owner!r} has a single leg, so there is nothing to fuse; name more models, or use bm25=True.",
            )

    @classmethod
    def _search_kwargs(cls, legs: tuple[str, ...], settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"using": "hybrid", "weights": name_weights(legs, settings.get("weights"))}
