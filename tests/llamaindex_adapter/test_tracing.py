"""Spans of the core below LlamaIndex's calls, also in the threads that its asynchronous ones use."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.schema import TextNode
from opentelemetry import trace
from spans import recording, tree

from llamaindex_korag import KoBM25Retriever, KoColBERTRerank

NODES = [
    TextNode(text="공용 세탁실은 밤 열 시까지 엽니다.", id_="laundry"),
    TextNode(text="택배는 무인 보관함에서 찾습니다.", id_="parcel"),
]


def test_retrieving_and_reranking_belong_to_the_callers_trace(colbert: Any) -> None:
    retriever = KoBM25Retriever.from_defaults(nodes=NODES)
    rerank = KoColBERTRerank(model_name=colbert, top_n=1)

    async def request() -> None:
        with trace.get_tracer("web").start_as_current_span("request"):
            await rerank.apostprocess_nodes(await retriever.aretrieve("세탁실 시간"), query_str="세탁실 시간")

    with recording() as exporter:
        with trace.get_tracer("web").start_as_current_span("request"):
            rerank.postprocess_nodes(retriever.retrieve("세탁실 시간"), query_str="세탁실 시간")
        asyncio.run(request())
    spans = exporter.get_finished_spans()
    assert tree(spans)["request"] == ["korag.search", "korag.rerank"] * 2
    assert len({span.context.trace_id for span in spans}) == 2
