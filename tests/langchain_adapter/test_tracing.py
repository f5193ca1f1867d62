"""Spans of the core below LangChain's calls, also in the threads that its asynchronous ones use."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.documents import Document
from opentelemetry import trace
from spans import recording, tree

from langchain_korag import KoBM25Retriever, KoColBERTReranker, KoRerankRetriever

DOCUMENTS = [
    Document("공용 세탁실은 밤 열 시까지 엽니다.", id="laundry"),
    Document("택배는 무인 보관함에서 찾습니다.", id="parcel"),
]


def test_retrieving_and_reranking_belong_to_the_callers_trace(colbert: Any) -> None:
    retriever = KoRerankRetriever(
        base_retriever=KoBM25Retriever.from_documents(DOCUMENTS), reranker=KoColBERTReranker(model=colbert), k=1
    )

    async def request() -> None:
        with trace.get_tracer("web").start_as_current_span("request"):
            await retriever.ainvoke("세탁실 시간")

    with recording() as exporter:
        with trace.get_tracer("web").start_as_current_span("request"):
            retriever.invoke("세탁실 시간")
        asyncio.run(request())
    spans = exporter.get_finished_spans()
    assert tree(spans)["request"] == ["korag.search", "korag.rerank"] * 2
    assert len({span.context.trace_id for span in spans}) == 2
