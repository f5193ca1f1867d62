"""Public objects as a prompt and a notebook show them, and explanations through both frameworks."""

import inspect
import pydoc
import re
from pathlib import Path
from typing import Any

import pytest
from assertions import assert_bilingual
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQuery

import korag
import langchain_korag as lc
import llamaindex_korag as li
from korag import Collection, CrossEncoderReranker, DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.errors import InvalidArgumentError
from korag.reranking.colbert import TokenCache

SECRET = "hf_SECRET"  # noqa: S105 (what must not be shown)
TEXT = "보증금은 계약이 끝나면 <script>alert(1)</script> 돌려받는다. " * 8
QUERY = "보증금은 언제 돌려받나요?"
PAGES = MetadataFilters(filters=[MetadataFilter(key="쪽", operator=FilterOperator.LTE, value=1)])
ELSEWHERE = {"KoragError", "QdrantCollection"}
"""An exception, and a class that needs a server: tests/qdrant has it."""


@pytest.fixture(scope="module")
def shown(
    colbert: LateInteractionEncoder,
    splade: SparseEncoder,
    dense: DenseEncoder,
    cross_encoder: CrossEncoderReranker,
    cross_encoder_folder: Path,
) -> list[Any]:
    """An instance of every public class, made as users make them; settings that may be secret are given."""
    documents, nodes = [Document(TEXT, id="가")], [TextNode(text=TEXT, id_="가")]
    collection = Collection.in_memory(encoders=[colbert, splade, dense], bm25=True)
    collection.add([TEXT], ids=["가"])
    bm25: Any = li.KoBM25Retriever.from_defaults(nodes=nodes)
    return [
        *(colbert, splade, dense, cross_encoder, collection, collection.search(QUERY)[0]),
        *(korag.BM25(), korag.Fusion(), korag.KiwiTokenizer(["달맞이페이"]), korag.SearchOptions(), TokenCache()),
        *(korag.Reranker(colbert), korag.Pruner(colbert), lc.KoContextPruner(model=colbert)),
        *(li.KoContextPruner(model_name="mini-colbert"), korag.ServerOptions(api_key=SECRET)),
        *(lc.KoEmbeddings(model="mini-dense", model_kwargs={"token": SECRET}), lc.KoSparseEmbeddings(model=splade)),
        *(lc.KoColBERTReranker(model=colbert), lc.KoCrossEncoderReranker(model=cross_encoder)),
        lc.KoHybridRetriever(collection=collection, k=2, filter={"쪽": 1}),
        *(lc.KoBM25Retriever(collection=collection), lc.KoSpladeRetriever(collection=collection)),
        lc.KoColBERTRetriever.from_documents(documents, model=colbert),
        lc.KoRerankRetriever(
            base_retriever=lc.KoBM25Retriever(collection=collection), reranker=lc.KoColBERTReranker(model=colbert)
        ),
        *(lc.KoStructuredQueryTranslator(filter={"쪽": 1}), lc.KoTextSplitter(model=colbert)),
        lc.KoVectorStore.from_documents(documents, lc.KoEmbeddings(model=dense)),
        *(li.KoEmbedding(model_name="mini-dense"), li.KoSparseEmbedding(model_name="mini-splade")),
        *(li.KoColBERTRerank(model_name="mini-colbert"), li.KoCrossEncoderRerank(model_name=str(cross_encoder_folder))),
        *(li.KoColBERTIndex(nodes, model_name=colbert), li.KoNodeParser(model=colbert), li.KoVectorStore(bm25=True)),
        *(bm25, bm25.retrieve(QUERY)[0], li.KoColBERTRetriever(collection)),
        *(li.KoSpladeRetriever(collection), li.KoHybridRetriever(collection)),
    ]


def test_every_public_class_has_a_short_repr(shown: list[Any]) -> None:
    for one in shown:
        for text in (repr(one), str(one)):
            assert text.startswith(("Collection(", f"{type(one).__name__}(")) or isinstance(one, li.FoundNode), text
            assert len(text) < 400, text
            assert " at 0x" not in text
            assert SECRET not in text
            assert "\n" not in text or isinstance(one, li.FoundNode)
        if (draw := getattr(one, "_repr_html_", None)) is not None:
            html = draw()
            assert "<script" not in html
            assert SECRET not in html
            assert " at 0x" not in html
            assert "<table>" in html
    public = {
        name
        for package in (korag, lc, li)
        for name in package.__all__
        if inspect.isclass(getattr(package, name)) and name not in ELSEWHERE
    }
    assert public <= {name for one in shown for name in (type(one).__name__, "Collection")}


MODELS = [
    cls for package in (lc, li) for name in package.__all__ if hasattr(cls := getattr(package, name), "model_fields")
]


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: f"{cls.__module__.split('.')[0]}.{cls.__name__}")
def test_help_of_pydantic_classes_begins_with_what_is_their_own(cls: Any) -> None:
    """Fields are in the first lines, then come our methods, and the methods that pydantic has are last."""
    lines = pydoc.plain(pydoc.render_doc(cls)).splitlines()
    is_own = re.compile(r"(langchain_|llamaindex_)?korag\.")
    first = next(place for place, line in enumerate(lines) if "Method resolution order" in line)
    own = [base for base in cls.__mro__ if is_own.match(base.__module__)]
    fields = {name for base in own for name in vars(base).get("__annotations__", {}) if name in cls.model_fields}
    shown = "\n".join(lines[:first])
    assert [name for name in fields if name not in shown and not cls.model_fields[name].exclude] == []
    places = [
        (place, found[1]) for place, line in enumerate(lines) if (found := re.search("inherited from (.+):", line))
    ]
    last = max([first, *(place for place, base in places if is_own.match(base))])
    assert first < 70
    assert last < 350
    assert min(place for place, base in places if base.startswith("pydantic.")) > last


def test_pictures_of_what_notebooks_end_cells_with(shown: list[Any]) -> None:
    drawn = {type(one).__name__ for one in shown if hasattr(one, "_repr_html_")}
    assert drawn >= {
        *("LateInteractionEncoder", "SparseEncoder", "DenseEncoder", "LocalCollection", "Hit"),
        *("KoEmbeddings", "KoEmbedding", "KoHybridRetriever", "KoBM25Retriever", "KoColBERTRetriever"),
        *("KoSpladeRetriever", "KoRerankRetriever", "KoColBERTIndex"),
    }


def test_langchain_and_llamaindex_explain_what_they_found(shown: list[Any]) -> None:
    kinds = {f"{type(one).__module__.split('.')[0]}.{type(one).__name__}": one for one in shown}
    hybrid: lc.KoHybridRetriever = kinds["langchain_korag.KoHybridRetriever"]
    (document,) = hybrid.invoke(QUERY, filter={"쪽": {"$exists": False}})
    why = hybrid.explain(QUERY, document, filter={"쪽": {"$exists": False}}, fusion="rrf")
    assert why == hybrid.collection.explain(QUERY, "가", fusion="rrf")
    assert hybrid.explain(QUERY, "가").fusion.rows[0].rank is None  # type: ignore[union-attr]  # the filter leaves none
    alone = kinds["langchain_korag.KoBM25Retriever"]
    assert list(alone.explain(QUERY, document).legs) == ["bm25"]
    with pytest.raises(InvalidArgumentError, match="no id"):
        alone.explain(QUERY, Document("글"))
    with pytest.raises(InvalidArgumentError, match="lambda"):
        alone.explain(QUERY, document, lambda_mult=0.5)

    retriever: li.KoHybridRetriever = kinds["llamaindex_korag.KoHybridRetriever"]
    expected = retriever.collection.explain(QUERY, "가")
    node = TextNode(text=TEXT, id_="가")
    for asked, found in ((QUERY, NodeWithScore(node=node)), (QueryBundle(QUERY), node), (QUERY, "가")):
        assert retriever.explain(asked, found) == expected
    with pytest.raises(InvalidArgumentError, match="no document"):
        retriever.explain(QUERY, TextNode(text="글"))


def test_documents_that_were_added_without_ids_are_explained() -> None:
    given = [Document(page_content=text) for text in ("보증금을 돌려준다.", "도서관은 쉰다.")]
    retriever = lc.KoBM25Retriever.from_documents(given)
    store = lc.KoVectorStore(collection=retriever.collection)
    found = retriever.invoke("보증금")[0]
    assert given[0].id is None
    assert retriever.explain("보증금", given[0]) == retriever.explain("보증금", found)
    assert store.explain("보증금", given[0]) == store.explain("보증금", found)
    for explain in (retriever.explain, store.explain):
        with pytest.raises(InvalidArgumentError) as caught:
            explain("보증금", Document(page_content="다른 글"))
        assert_bilingual(caught.value, "id", "Document", "invoke")


def test_stores_and_reranking_retrievers_explain_too(
    colbert: LateInteractionEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [TEXT, "도서관은 월요일에 쉰다.", "보증금은 계약서에 적는다."]
    collection = Collection.in_memory(encoders=[colbert], bm25=True)
    collection.add(texts, ids=["가", "나", "다"], metadata=[{"쪽": number} for number in range(3)])
    settings: Any = {"filter": {"쪽": {"$lte": 1}}, "using": "hybrid", "fusion": "rrf"}
    expected = collection.explain(QUERY, "가", where={"쪽": {"$lte": 1}}, fusion="rrf")
    assert expected != collection.explain(QUERY, "가")

    store = lc.KoVectorStore(collection=collection)
    document = store.similarity_search(QUERY, k=1, **settings)[0]
    assert document.id == "가"
    assert store.explain(QUERY, document, k=1, **settings) == store.explain(QUERY, "가", **settings) == expected
    with pytest.raises(InvalidArgumentError, match="lambda_mult"):
        store.explain(QUERY, document, lambda_mult=0.5)
    with pytest.raises(InvalidArgumentError, match="no id"):
        store.explain(QUERY, Document("글"))

    reranker = lc.KoColBERTReranker(model=colbert)
    of_store = store.as_retriever(search_type="mmr", search_kwargs={**settings, "fetch_k": 9, "lambda_mult": 0.3})
    hybrid = lc.KoHybridRetriever(collection=collection, filter=settings["filter"], fusion="rrf")
    for base in (of_store, hybrid, hybrid.with_config(tags=["시험"]), hybrid.bind(k=3)):
        reranked = lc.KoRerankRetriever(base_retriever=base, reranker=reranker, k=1, id_key="id")
        (found,) = reranked.invoke(QUERY)
        assert reranked.explain(QUERY, found, score_key="점수", fuse_weight=0.5) == expected
        outer = lc.KoRerankRetriever(base_retriever=reranked, reranker=reranker)
        assert outer.explain(QUERY, found.id or "") == expected
    over = reranked.explain(QUERY, "다", filter={})
    assert over == collection.explain(QUERY, "다", fusion="rrf")
    with pytest.raises(InvalidArgumentError, match="lambda_mult"):
        reranked.explain(QUERY, found, lambda_mult=0.5)
    foreign = FakeRetriever()
    with pytest.raises(InvalidArgumentError, match="base_retriever=FakeRetriever"):
        lc.KoRerankRetriever(base_retriever=foreign, reranker=reranker).explain(QUERY, "가")

    nodes = li.KoVectorStore(collection=collection)
    asked = VectorStoreQuery(query_str=QUERY, filters=PAGES, similarity_top_k=1)
    (own,) = nodes.query(asked, fusion="rrf").nodes or ()
    for query, node in ((asked, own), (asked, NodeWithScore(node=own)), (asked, "가")):
        assert nodes.explain(query, node, fusion="rrf") == expected
    assert nodes.explain(QUERY, "가") == collection.explain(QUERY, "가")
    for wrong in ("", VectorStoreQuery(query_embedding=[0.1] * 4), VectorStoreQuery(query_str=" ")):
        with pytest.raises(InvalidArgumentError, match=r"비어 있습니다|dense"):
            nodes.explain(wrong, "가")


class FakeRetriever(BaseRetriever):
    """A retriever of another package."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document(query)]
