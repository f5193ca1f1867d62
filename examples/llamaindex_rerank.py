"""LlamaIndex: 검색된 노드를 ColBERT로 재순위합니다.

Reranks the nodes of any LlamaIndex retriever with a ColBERT model.

실행(run): python examples/llamaindex_rerank.py
"""

from llama_index.core import SummaryIndex
from llama_index.core.llms import MockLLM
from llama_index.core.schema import TextNode
from quickstart import read_documents

from llamaindex_korag import KoColBERTRerank

QUESTION = "집주인이 전세금을 안 돌려줘요"


def main() -> None:
    """Reranks the notices and prints the top three."""
    nodes = [TextNode(id_=document.id, text=document.page_content) for document in read_documents()]
    query_engine = SummaryIndex(nodes).as_query_engine(
        llm=MockLLM(), node_postprocessors=[KoColBERTRerank(model_name="mini-colbert", top_n=3)]
    )
    for found in query_engine.query(QUESTION).source_nodes:
        print(f"{found.score:6.2f}  {found.node.node_id}  {found.node.get_content()[:40]}…")


if __name__ == "__main__":
    main()
