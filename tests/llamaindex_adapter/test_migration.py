"""`docs/migration-llamaindex.md`: its code prints what it shows and moves an existing index."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, TextNode

import llamaindex_korag
from korag import Collection
from korag.errors import InvalidArgumentError
from llamaindex_korag import KoBM25Retriever, KoHybridRetriever, KoVectorStore

PAGE = Path(__file__).parents[2] / "docs/migration-llamaindex.md"
OURS = re.compile(r"```python\n(# KoRAG.*?)```\n+```text\n(.*?)```", re.DOTALL)
THEIRS = re.compile(r"```python\n(# 지금.*?)```", re.DOTALL)
NAMES = re.compile(r"^\| .* · .* \| `(\w+)` \| `(\w+)` \| (.*) \|$", re.MULTILINE)
QUERY = "보증금은 언제 돌려받나요?"


@pytest.mark.slow
def test_the_page_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order and with the same variables, as a reader would run it."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    text = PAGE.read_text(encoding="utf-8")
    assert (len(THEIRS.findall(text)), len(OURS.findall(text)), text.count("python\n# KoRAG")) == (5, 7, 7)
    for code, expected in OURS.findall(text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, PAGE.name, "exec"), names)  # noqa: S102 (our own page)
        assert printed.getvalue() == expected, code


def test_every_part_is_in_both_languages() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for code in THEIRS.findall(text):
        compile(code, PAGE.name, "exec")
    parts = [re.findall(r"^\| (`.*?) \| (`.*?) \|", part, re.MULTILINE) for part in text.split("## In English")]
    assert len(parts[1]) == 9
    assert parts[0] == parts[1]


@pytest.mark.parametrize(
    ("cls", "ours", "theirs"),
    [
        (cls, ours, theirs)
        for cls, ours, elsewhere in NAMES.findall(PAGE.read_text(encoding="utf-8"))
        for theirs in re.findall(r"`(\w+)`", elsewhere)
    ],
)
def test_the_table_of_names_is_what_errors_say(cls: str, ours: str, theirs: str) -> None:
    made = getattr(llamaindex_korag, cls)
    make = getattr(made, "from_defaults", made)
    given = {"nodes": [TextNode(text="보증금")]} if cls.endswith("Retriever") else {}
    with pytest.raises(InvalidArgumentError, match=f"Did you mean {ours}\\?"):
        make(**given, **{theirs: "x"})


def test_nodes_of_equal_text_stay_two() -> None:
    twins = [TextNode(id_=id_, text="보증금은 이사하는 날 돌려준다.") for id_ in ("제1조", "부칙")]
    words = KoBM25Retriever.from_defaults(twins)
    theirs = QueryFusionRetriever([words, words], llm=MockLLM(), num_queries=1, use_async=False)
    assert len(theirs.retrieve("보증금")) == 1  # what the page says of it
    ours = KoHybridRetriever.from_defaults(twins, models=["mini-dense"])
    assert [found.node_id for found in ours.retrieve("보증금")] == ["제1조", "부칙"]


def test_weights_are_ignored_when_ranks_are_fused() -> None:
    """The page says so of LlamaIndex's class."""
    node = NodeWithScore(node=TextNode(id_="가", text="보증금"), score=1.0)
    words = KoBM25Retriever.from_defaults([node.node])
    fused = [
        QueryFusionRetriever(
            [words, words], llm=MockLLM(), num_queries=1, use_async=False, mode="reciprocal_rerank", retriever_weights=w
        )
        for w in ([1.0, 0.0], [0.5, 0.5])
    ]
    assert len({found.score for each in fused for found in each.retrieve("보증금")}) == 1


def _of_docstore(documents: list[str]) -> VectorStoreIndex:
    nodes = [TextNode(id_=f"노드-{index}", text=text, metadata={"쪽": index}) for index, text in enumerate(documents)]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=3))


def _of_store(documents: list[str]) -> VectorStoreIndex:
    """An index whose nodes are only in its vector store."""
    store = KoVectorStore(collection=Collection.in_memory(bm25=True))
    context = StorageContext.from_defaults(vector_store=store)
    nodes = [Document(id_=f"노드-{index}", text=text, metadata={"쪽": index}) for index, text in enumerate(documents)]
    return VectorStoreIndex(nodes, storage_context=context, embed_model=store.embed_model)


@pytest.mark.parametrize("make", [_of_docstore, _of_store])
def test_nodes_move_with_their_ids(
    make: Any, documents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(# LlamaIndex.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"index": make(documents)}
    exec(compile(code.replace("dragonkue/BGE-m3-ko", "mini-dense"), PAGE.name, "exec"), names)  # noqa: S102 (our own page)
    moved = KoVectorStore.from_persist_dir("law_index").get_nodes()
    assert [(node.node_id, node.get_content(), node.metadata) for node in moved] == [
        (f"노드-{index}", text, {"쪽": index}) for index, text in enumerate(documents)
    ]
    assert names["retriever"].retrieve(QUERY)[0].node_id == "노드-0"
