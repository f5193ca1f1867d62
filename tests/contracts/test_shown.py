"""Public objects as a prompt and a notebook show them, and explanations through both frameworks."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import korag
import langchain_korag as lc
import llamaindex_korag as li
from korag import Collection, CrossEncoderReranker, DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.errors import InvalidArgumentError
from korag.reranking.colbert import TokenCache

SECRET = "hf_SECRET"  # noqa: S105 (what must not be shown)
TEXT = "보증금은 계약이 끝나면 <script>alert(1)</script> 돌려받는다. " * 8
QUERY = "보증금은 언제 돌려받나요?"
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
    with pytest.raises(InvalidArgumentError, match="document="):
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
