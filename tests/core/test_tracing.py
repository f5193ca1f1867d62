"""OpenTelemetry spans: what they hold and never hold, how they nest, and that they cost nothing where nobody asked."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import types
from typing import Any

import pytest
from dict_store import DictStore
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from spans import named, recording, tree

from korag import Collection, CrossEncoderReranker, Reranker
from korag.testing.encoders import FakeDenseEncoder

QUERY = "밀린 월세를 나눠 내도 되나요?"
TEXTS = ["월세가 밀리면 나누어 낼 수 있습니다.", "창고 열쇠는 경비실에 있습니다.", "승강기 점검은 둘째 화요일입니다."]
OWNER = "등록번호-884213"


def _filled(*encoders: Any, **settings: Any) -> Collection:
    collection = Collection.in_memory(encoders=list(encoders), **settings)
    collection.add(TEXTS, ids=["rent", "key", "lift"], metadata=[{"owner": OWNER}] * 3)
    return collection


def _written(spans: Any) -> str:
    return "\n".join(span.to_json() for span in spans)


def test_a_hybrid_search_has_spans_of_encoding_legs_and_fusion(colbert: Any, dense: Any) -> None:
    collection = _filled(dense, colbert, bm25=True)
    with recording() as exporter:
        hits = collection.search(QUERY, k=2, where={"owner": OWNER})
    spans = exporter.get_finished_spans()
    legs = ["korag.search dense", "korag.search colbert", "korag.search bm25"]
    assert tree(spans) == {
        "": ["korag.search"],
        "korag.search": ["CreateEmbeddings", "CreateEmbeddings", *legs, "korag.fuse"],
    }
    search = dict(named(spans, "korag.search").attributes or {})
    assert search.pop("korag.milliseconds") > 0
    assert search == {
        "openinference.span.kind": "RETRIEVER",
        "korag.legs": ("dense", "colbert", "bm25"),
        "korag.k": 2,
        "korag.fetch_k": 100,
        "korag.fusion": "anchored",
        "korag.filtered": True,
        "korag.queries": 1,
        "korag.repaired": 0,
        "korag.found": 2,
        "retrieval.documents.0.document.id": hits[0].id,
        "retrieval.documents.0.document.score": pytest.approx(hits[0].score),
        "retrieval.documents.1.document.id": hits[1].id,
        "retrieval.documents.1.document.score": pytest.approx(hits[1].score),
    }
    leg = dict(named(spans, "korag.search colbert").attributes or {})
    assert leg.pop("korag.milliseconds") > 0
    assert leg == {
        "openinference.span.kind": "RETRIEVER",
        "korag.leg": "colbert",
        "korag.k": 100,
        "korag.found": 3,
        "embedding.model_name": "mini-colbert",
    }
    fuse = named(spans, "korag.fuse").attributes or {}
    assert (fuse["openinference.span.kind"], fuse["korag.fusion"]) == ("CHAIN", "anchored")
    encoded = [span.attributes or {} for span in spans if span.name == "CreateEmbeddings"]
    assert [(one["openinference.span.kind"], one["embedding.model_name"], one["korag.task"]) for one in encoded] == [
        ("EMBEDDING", "mini-dense", "query"),
        ("EMBEDDING", "mini-colbert", "query"),
    ]


def test_many_queries_have_one_span_per_leg(colbert: Any) -> None:
    collection = _filled(colbert, bm25=True)
    with recording() as exporter:
        found = collection.search_many([QUERY, "열쇠는 어디에 있나요?", "승강기"], k=1)
    spans = exporter.get_finished_spans()
    assert tree(spans)["korag.search"] == [
        "CreateEmbeddings", "korag.search colbert", "korag.search bm25", "korag.fuse",
    ]  # fmt: skip
    search = named(spans, "korag.search").attributes or {}
    assert (search["korag.queries"], search["korag.found"]) == (3, sum(map(len, found)))
    assert not any("document" in name for name in search), "which query they belong to would be lost"


def test_reranking_has_spans_of_encoding_and_fusion(colbert: Any) -> None:
    with recording() as exporter:
        ranked = Reranker(colbert).rerank(QUERY, TEXTS, top_n=2, first_stage_scores=[3, 2, 1], fuse_weight=0.3)
    spans = exporter.get_finished_spans()
    assert tree(spans) == {
        "": ["korag.rerank"],
        "korag.rerank": ["CreateEmbeddings", "CreateEmbeddings", "korag.fuse"],
    }
    rerank = dict(named(spans, "korag.rerank").attributes or {})
    assert rerank.pop("korag.milliseconds") > 0
    assert rerank == {
        "openinference.span.kind": "RERANKER",
        "reranker.model_name": "mini-colbert",
        "reranker.top_k": 2,
        "korag.texts": 3,
        "korag.found": 2,
        "reranker.output_documents.0.document.score": pytest.approx(ranked[0][1]),
        "reranker.output_documents.1.document.score": pytest.approx(ranked[1][1]),
    }


def test_a_cross_encoder_has_its_name_in_the_span(cross_encoder: CrossEncoderReranker) -> None:
    with recording() as exporter:
        cross_encoder.rerank(QUERY, TEXTS)
    rerank = named(exporter.get_finished_spans(), "korag.rerank").attributes or {}
    assert rerank["reranker.model_name"] == cross_encoder.model_name


def test_indexing_and_vectors_have_spans_too(dense: Any) -> None:
    with recording() as exporter:
        collection = _filled(dense)
        collection.search_by_vector(dense.encode_queries([QUERY])[0], k=1)
    spans = exporter.get_finished_spans()
    assert tree(spans) == {
        "": ["CreateEmbeddings", "CreateEmbeddings", "korag.search"],
        "korag.search": ["korag.search dense"],
    }
    documents = spans[0].attributes or {}
    assert (documents["korag.task"], documents["korag.texts"]) == ("document", 3)


def test_stores_of_others_have_spans(colbert: Any) -> None:
    store = DictStore(encoders=[colbert], bm25=True)
    store.add(TEXTS, ids=["rent", "key", "lift"])
    with recording() as exporter:
        store.search(QUERY, k=1)
    assert tree(exporter.get_finished_spans())["korag.search"] == ["CreateEmbeddings", "korag.fuse"]


def test_no_span_holds_a_text_or_metadata(colbert: Any, dense: Any) -> None:
    with recording() as exporter:
        _filled(dense, colbert, bm25=True).search(QUERY, where={"owner": OWNER})
        Reranker(colbert).rerank(QUERY, TEXTS)
    written = json.loads("[" + _written(exporter.get_finished_spans()).replace("}\n{", "},{") + "]")
    plain = json.dumps(written, ensure_ascii=False)
    assert not [text for text in (QUERY, OWNER, *TEXTS, "월세", "열쇠") if text in plain]


class _Breaking(FakeDenseEncoder):
    def encode_queries(self, texts: Any, *, show_progress: Any = False) -> Any:
        raise RuntimeError(f"no vector for {list(texts)}")


def test_an_error_is_a_status_without_its_message() -> None:
    collection = _filled(_Breaking())
    with recording() as exporter, pytest.raises(RuntimeError, match="no vector"):
        collection.search(QUERY)
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "RuntimeError")
    assert (span.attributes or {})["error.type"] == "RuntimeError"
    assert not span.events
    assert "월세" not in json.dumps(json.loads(span.to_json()), ensure_ascii=False)


def test_documents_do_not_push_other_attributes_out() -> None:
    collection = Collection.in_memory(bm25=True)
    collection.add([f"우편함 {number}번은 비어 있습니다." for number in range(90)], ids=[f"box-{n}" for n in range(90)])
    with recording() as exporter:
        collection.search("우편함", k=90)
    search = named(exporter.get_finished_spans(), "korag.search").attributes or {}
    assert search["openinference.span.kind"] == "RETRIEVER"
    assert search["korag.found"] == 90
    assert sum(name.endswith("document.id") for name in search) == 20


def test_hidden_outputs_hide_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = _filled(bm25=True)
    monkeypatch.setenv("OPENINFERENCE_HIDE_OUTPUTS", "true")
    with recording() as exporter:
        collection.search(QUERY)
    search = named(exporter.get_finished_spans(), "korag.search").attributes or {}
    assert not any("document" in name for name in search)


def test_a_trace_goes_on_in_other_threads() -> None:
    collection = _filled(bm25=True)

    async def request() -> None:
        with trace.get_tracer("web").start_as_current_span("request"):
            await asyncio.gather(*(asyncio.to_thread(collection.search, QUERY) for _ in range(3)))

    with recording() as exporter:
        asyncio.run(request())
    spans = exporter.get_finished_spans()
    assert tree(spans)["request"] == ["korag.search"] * 3
    legs = [span for span in spans if span.name == "korag.search bm25"]
    assert len({span.parent.span_id for span in legs if span.parent}) == 3


def test_nothing_is_recorded_of_a_trace_that_was_not_sampled() -> None:
    collection = _filled(bm25=True)
    with recording(ALWAYS_OFF) as exporter:
        assert collection.search(QUERY)
    assert not exporter.get_finished_spans()


def test_without_a_provider_there_are_no_spans() -> None:
    """The API alone, which LlamaIndex and others import, gives spans that nobody sees."""
    collection = _filled(bm25=True)
    with trace.get_tracer("web").start_as_current_span("request") as span:
        assert collection.search(QUERY)
    assert not span.is_recording()


def test_an_import_in_progress_is_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread imports OpenTelemetry while this one searches: the module is there, and still empty."""
    collection = _filled(bm25=True)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.ModuleType("opentelemetry.trace"))
    assert collection.search(QUERY)


def test_opentelemetry_is_never_imported() -> None:
    code = (
        "import sys; from korag import Collection, Reranker; c = Collection.in_memory(bm25=True); "
        "c.add(['열쇠는 경비실에 있습니다.']); assert c.search('열쇠'); "
        "sys.exit([name for name in sys.modules if name.startswith('opentelemetry')] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
