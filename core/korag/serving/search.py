"""Searching over HTTP: ``/v1/search``, ``/v1/documents``, ``/v1/explain`` and ``/v1/info``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response

import korag
from korag.collection.options import SearchOptions
from korag.serving.answers import hit_as_dict
from korag.serving.refusals import RefusedError
from korag.serving.served import Body, Served, Texts
from korag.serving.shapes import DocumentsAnswer, ExplainAnswer, InfoAnswer, SearchAnswer


class Asked(Body):
    """A query and how it is searched for: fields of `korag.SearchOptions`."""

    query: str
    using: str | None = None
    where: dict[str, Any] | None = None
    fusion: str = "auto"
    weights: dict[str, float] | None = None
    exact: bool = True
    repair_query: bool = True

    def options(self, **others: Any) -> SearchOptions:
        """Returns the settings, and others; checked."""
        names = Asked.model_fields.keys() - {"query"}
        return SearchOptions(**{name: getattr(self, name) for name in names}, **others)


class SearchRequest(Asked):
    """A search."""

    k: int = 10
    min_relevance: float | None = None
    expand: str | None = None
    text: bool = True


class DocumentsRequest(Body):
    """Documents by their ids."""

    ids: Texts


class ExplainRequest(Asked):
    """A document whose score is to be explained, in the search that found it."""

    id: str
    html: bool = False


def search_routes(served: Served) -> APIRouter:
    """Returns the addresses for searching."""
    router = APIRouter(dependencies=[Depends(served.check_counts)])
    collection, limits = served.collection, served.limits

    @router.post("/v1/search", response_model=SearchAnswer)
    async def search(body: SearchRequest) -> Response:
        """Finds documents, as `Collection.search`."""
        limits.check_query(body.query)
        if body.k > limits.hits:
            raise RefusedError(
                f"k={body.k}: {limits.hits}까지 받습니다.", f"k={body.k} is too large; {limits.hits} is the most."
            )

        def found() -> dict[str, Any]:
            # checked here and not before, since large filters take long
            options = body.options(k=body.k, min_relevance=body.min_relevance, expand=body.expand)
            hits = collection.search(body.query, options=options)
            meant = hits[0].rewritten_query if hits else None
            shown = [hit_as_dict(hit, text=body.text) for hit in hits]
            return {"query": body.query, "rewritten_query": meant, "hits": shown}

        return await served.answer("/v1/search", 1, found)

    @router.post("/v1/documents", response_model=DocumentsAnswer)
    async def documents(body: DocumentsRequest) -> Response:
        """Returns documents by their ids."""
        limits.check_texts("ids", body.ids)

        def found() -> dict[str, Any]:
            known = collection.get(body.ids)
            return {"documents": [{"id": each.id, "text": each.text, "metadata": each.metadata} for each in known]}

        return await served.answer("/v1/documents", 0, found)

    @router.post("/v1/explain", response_model=ExplainAnswer)
    async def explained(body: ExplainRequest) -> Response:
        """Explains a document's score, as `Collection.explain`; as a picture too, if `html` is true."""
        limits.check_query(body.query)
        limits.check_text("id", body.id)

        def reasons() -> dict[str, Any]:
            why = collection.explain(body.query, body.id, options=body.options())
            return {**why.to_dict(), **({"html": why._repr_html_()} if body.html else {})}

        return await served.answer("/v1/explain", 1, reasons)

    @router.get("/v1/info", response_model=InfoAnswer)
    async def info() -> Response:
        """Says what is served."""

        def facts() -> dict[str, Any]:
            fusion = collection.fitted_fusion
            return {
                "version": korag.__version__,
                "documents": len(collection),
                "legs": list(collection.legs),
                "models": {leg: encoder.model_name for leg, encoder in collection.encoders.items()},
                "fusion": None if fusion is None else fusion.to_dict(),
                "reranker": getattr(served.reranker, "model_name", None),
                "limits": {"hits": limits.hits, "texts": limits.texts, "characters": limits.characters},
            }

        return await served.answer("/v1/info", 0, facts)

    return router
