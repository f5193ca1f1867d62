"""Arguments of the retrievers, checked."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, Document, MetadataMode, QueryBundle, QueryType
from llama_index.core.storage.docstore import BaseDocumentStore

from korag.checks import check_choice, check_flag
from korag.collection.base import Collection
from korag.errors import InvalidArgumentError, InvalidTextError
from korag.field_errors import showable
from korag.keywords import MODEL_NAMES, checks_keywords
from korag.text import check_text

P = ParamSpec("P")


def checks_constructor(init: Callable[P, None]) -> Callable[P, None]:
    """Decorates a retriever's constructor: keywords of ``from_defaults`` are an error that names it."""
    checks_rest = checks_keywords(init)

    @functools.wraps(init)
    def checked(*args: P.args, **keywords: P.kwargs) -> None:
        cls: Any = type(args[0])
        makes = [name for name in inspect.signature(cls.from_defaults).parameters if name != "options"]
        for name in keywords:
            if name in ("documents", *makes, *MODEL_NAMES) and name not in cls._options:
                raise InvalidArgumentError(
                    f"{cls.__name__}(collection, ...)에는 '{name}' 인수가 없습니다. 노드로 만들려면 {cls.__name__}."
                    f"from_defaults(nodes, ...)를 쓰세요. 쓸 수 있는 것: {', '.join(makes)}.",
                    f"{cls.__name__}(collection, ...) takes no '{name}'. To create one from nodes, use {cls.__name__}."
                    f"from_defaults(nodes, ...), which takes: {', '.join(makes)}.",
                )
        checks_rest(*args, **keywords)

    return checked


def check_collection(owner: object, collection: object) -> Collection:
    """Returns a collection.

    Args:
        owner: The retriever over it.
        collection: The argument.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if not isinstance(collection, Collection):
        name = type(owner).__name__
        raise InvalidArgumentError(
            f"{name}의 collection이 {type(collection).__name__}입니다. KoRAG 컬렉션이어야 합니다. 노드로 만들려면 "
            f"{name}.from_defaults(nodes, ...)를 쓰세요.",
            f"collection of {name} is a {type(collection).__name__}; it must be a KoRAG collection. To create one from "
            f"nodes, use {name}.from_defaults(nodes, ...).",
        )
    return collection


def wrong_kind(name: str, value: object, kind: str) -> InvalidArgumentError:
    """Returns the error for an argument of the wrong class."""
    shown = f"{name}={showable(value)!r:.80}"
    return InvalidArgumentError(
        f"{shown}: {kind}이(가) 아닙니다. {kind}을(를) 넣으세요.", f"{shown} is no {kind}; pass one."
    )


def check_query(query: object) -> QueryType:
    """Returns a query: a string, or LlamaIndex's bundle."""
    return query if isinstance(query, QueryBundle) else check_text(query, "query")


def check_mode(mode: MetadataMode | str) -> MetadataMode:
    """Returns a metadata mode, which may be given by name."""
    return MetadataMode(check_choice("metadata_mode", mode, [known.value for known in MetadataMode]))


def given_nodes(
    nodes: Iterable[BaseNode] | None, index: BaseIndex[Any] | None, docstore: BaseDocumentStore | None
) -> Iterable[BaseNode]:
    """Returns the nodes to index, from the one source that is given."""
    named = [name for name, value in (("nodes", nodes), ("index", index), ("docstore", docstore)) if value is not None]
    if len(named) != 1:
        raise InvalidArgumentError(
            f"nodes, index, docstore 중 하나를 넣으세요(넣은 것: {', '.join(named) or '없음'}). 저장한 폴더를 "
            "열려면 from_persist_dir을 쓰세요.",
            f"Pass one of nodes, index and docstore (given: {', '.join(named) or 'none'}); to open a saved folder, use "
            "from_persist_dir.",
        )
    if nodes is not None:
        return nodes
    if docstore is None:
        if not isinstance(index, BaseIndex):
            raise wrong_kind("index", index, "BaseIndex")
        if get_nodes := getattr(index, "get_nodes", None):  # a KoColBERTIndex
            found: list[BaseNode] = get_nodes()
            return found
        docstore = index.docstore
        if not docstore.docs and getattr(getattr(index, "vector_store", None), "stores_text", False):
            raise InvalidArgumentError(
                "index의 docstore가 비어 있습니다. 노드는 벡터 저장소에만 있으니 nodes=로 넣으세요.",
                "The docstore of index is empty because its vector store keeps the nodes; pass them as nodes=.",
            )
    if not isinstance(docstore, BaseDocumentStore):
        raise wrong_kind("docstore", docstore, "BaseDocumentStore")
    return list(docstore.docs.values())


def check_document(document: object) -> Document:
    """Returns a LlamaIndex document.

    Raises:
        InvalidTextError: If it is anything else.
    """
    if not isinstance(document, Document):
        raise InvalidTextError(
            f"document는 {type(document).__name__}입니다. LlamaIndex의 Document여야 합니다.",
            f"document is a {type(document).__name__}; it must be a LlamaIndex Document.",
        )
    return document


def check_sync(sync: object, *, existing: bool, given: int) -> bool:
    """Returns whether nodes that are not given are removed.

    Args:
        sync: The argument.
        existing: Whether the collection may have nodes already.
        given: Number of nodes or documents given.

    Raises:
        InvalidArgumentError: If it is no bool, there is no folder, or nothing is given.
    """
    if not check_flag("sync", sync):
        return False
    if not existing:
        raise InvalidArgumentError(
            "sync=True인데 path=가 없습니다. sync는 폴더에 저장된 노드 가운데 이번에 넣지 않은 것을 지웁니다. 메모리의 "
            "새 컬렉션에는 지울 것이 없으니 path=를 넣거나 sync를 빼세요.",
            "sync=True without path=: it removes nodes that a folder has and that are not given. A new collection in "
            "memory has none; pass path=, or leave sync out.",
        )
    if not given:
        raise InvalidArgumentError(
            "sync=True인데 넣은 노드가 없어, 저장된 노드가 모두 지워집니다. 문서를 제대로 읽었는지 확인하세요. 정말 "
            "모두 지우려면 delete_nodes(filters=MetadataFilters(filters=[]))를 쓰세요.",
            "sync=True without any node would remove everything that is stored; check that your documents were read. "
            "To remove everything, use delete_nodes(filters=MetadataFilters(filters=[])).",
        )
    return True


def nodes_of(nodes: Iterable[BaseNode], document: Document) -> list[BaseNode]:
    """Returns the nodes of a document.

    Raises:
        InvalidArgumentError: If one comes from another document.
    """
    checked = list(nodes)
    for index, node in enumerate(checked):
        if isinstance(node, BaseNode) and document.id_ not in (node.node_id, node.ref_doc_id):
            raise InvalidArgumentError(
                f"nodes[{index}]의 원본 문서는 {node.ref_doc_id!r}인데 {document.id_!r}의 노드로 넣었습니다. "
                "relationships의 SOURCE를 그 문서로 두세요.",
                f"nodes[{index}] comes from the document {node.ref_doc_id!r}, not from {document.id_!r}; make it the "
                "SOURCE in its relationships.",
            )
    return checked


def check_documents(documents: Iterable[Document]) -> list[Document]:
    """Returns documents as a list.

    Raises:
        InvalidTextError: If something is not a LlamaIndex document.
    """
    if isinstance(documents, BaseNode | str) or not isinstance(documents, Iterable):
        raise InvalidTextError(
            f"documents의 값은 {type(documents).__name__} 하나입니다. Document의 리스트여야 합니다: [문서].",
            f"documents is a single {type(documents).__name__}; it must be a list of Documents: [document].",
        )
    checked = list(documents)
    for index, document in enumerate(checked):
        if not isinstance(document, Document):
            raise InvalidTextError(
                f"documents[{index}]은(는) {type(document).__name__}입니다. LlamaIndex의 Document여야 합니다. "
                "나눈 노드는 KoColBERTIndex(nodes=[...])나 insert_nodes로 넣으세요.",
                f"documents[{index}] is a {type(document).__name__}; it must be a LlamaIndex Document. Nodes go into "
                "KoColBERTIndex(nodes=[...]) or insert_nodes.",
            )
    return checked


@functools.cache
def engine_keywords() -> tuple[str, ...]:
    """Returns the keywords of the engines that can be created from an index."""
    from llama_index.core.chat_engine import (
        CondensePlusContextChatEngine,
        CondenseQuestionChatEngine,
        ContextChatEngine,
        SimpleChatEngine,
    )
    from llama_index.core.query_engine import RetrieverQueryEngine

    engines = (CondensePlusContextChatEngine, CondenseQuestionChatEngine, ContextChatEngine, SimpleChatEngine)
    makers = [RetrieverQueryEngine.from_args, *(engine.from_defaults for engine in engines)]
    names = [name for make in makers for name in inspect.signature(make).parameters]
    return tuple(name for name in dict.fromkeys(names) if name not in ("retriever", "kwargs"))
