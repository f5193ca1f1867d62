"""`docs/migration.md`: its LlamaIndex code moves an existing index."""

import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import TextNode

from korag import Collection
from llamaindex_korag import KoVectorStore

PAGE = Path(__file__).parents[2] / "docs/migration.md"
QUERY = "보증금은 언제 돌려받나요?"


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
