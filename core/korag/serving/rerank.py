"""Scores over HTTP: ``/v2/rerank`` of Cohere, ``/v1/rerank`` of Jina, ``/rerank`` of TEI."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import FailFast

from korag.errors import CheckpointError
from korag.reranking.base import TextReranker
from korag.serving.refusals import RefusedError
from korag.serving.served import Body, Served, Texts
from korag.serving.shapes import RerankAnswer, TeiRanked
from korag.text import is_empty


class TextDocument(Body):
    """A document as an object."""

    text: str


class RerankRequest(Body):
    """``POST /v1/rerank`` and ``/v2/rerank``."""

    query: str
    documents: Annotated[list[str | TextDocument], FailFast()]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool = False
    max_tokens_per_doc: None = None
    """Sent by Cohere's client; a number would be another limit than the model's own, which cuts long texts."""


class TeiRerankRequest(Body):
    """``POST /rerank``."""

    query: str
    texts: Texts
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool = True
    truncation_direction: Literal["Right", "right"] = "Right"


def rerank_routes(served: Served) -> APIRouter:
    """Returns the addresses for scores."""
    router = APIRouter(dependencies=[Depends(served.check_counts)])

    async def results(path: str, body: RerankRequest) -> Response:
        texts = [each if isinstance(each, str) else each.text for each in body.documents]
        reranker = _checked(served, path, body.query, "documents", texts)
        if body.model not in (None, _name(reranker)):
            raise RefusedError(
                f"model={body.model!r:.80}: 제공하지 않는 모델입니다. 쓸 수 있는 것: {_name(reranker)!r}.",
                f"model={body.model!r:.80} is not served here; the one that is: {_name(reranker)!r}.",
                status=404,
                kind="not_found",
            )
        if body.top_n is not None and body.top_n < 1:
            raise RefusedError(
                f"top_n={body.top_n}: 1 이상의 정수여야 합니다.", f"top_n={body.top_n} must be at least 1."
            )

        def scored() -> dict[str, Any]:
            found = [
                {
                    "index": index,
                    "relevance_score": score,
                    **({"document": {"text": texts[index]}} if body.return_documents else {}),
                }
                for index, score in _ranked(reranker, body.query, texts)[: body.top_n]
            ]
            return {"id": str(uuid.uuid4()), "model": _name(reranker), "results": found}

        return await served.answer(path, len(texts), scored)

    @router.post("/v1/rerank", response_model=RerankAnswer)
    async def jina(body: RerankRequest) -> Response:
        """Scores in Jina's shape, which vLLM and Infinity share."""
        return await results("/v1/rerank", body)

    @router.post("/v2/rerank", response_model=RerankAnswer)
    async def cohere(body: RerankRequest) -> Response:
        """Scores in Cohere's shape."""
        return await results("/v2/rerank", body)

    @router.post("/rerank", response_model=list[TeiRanked])
    async def tei(body: TeiRerankRequest) -> Response:
        """Scores in TEI's shape."""
        reranker = _checked(served, "/rerank", body.query, "texts", body.texts)
        if not body.truncate:
            raise RefusedError(
                "truncate=false: 이 서버의 재순위 모델은 긴 글을 자릅니다. truncate=true를 보내세요.",
                "truncate=false: the reranker of this server cuts long texts; send truncate=true.",
            )
        return await served.answer("/rerank", len(body.texts), lambda: _tei(reranker, body))

    return router


def _tei(reranker: TextReranker, body: TeiRerankRequest) -> list[dict[str, Any]]:
    has_relevance = reranker._no_relevance() is None
    if body.raw_scores == has_relevance:
        asked, other = str(body.raw_scores).lower(), str(not body.raw_scores).lower()
        korean, english = ("0과 1 사이의 점수만", "in [0, 1] only") if has_relevance else ("로짓만", "as logits only")
        raise RefusedError(
            f"raw_scores={asked}: 이 모델은 {korean} 냅니다. 보낼 값: raw_scores={other}.",
            f"raw_scores={asked}: this model gives scores {english}; send raw_scores={other}.",
        )
    return [
        {"index": index, "score": score, **({"text": body.texts[index]} if body.return_text else {})}
        for index, score in _ranked(reranker, body.query, body.texts)
    ]


def _checked(served: Served, path: str, query: str, name: str, texts: list[str]) -> TextReranker:
    if served.reranker is None:
        raise RefusedError(
            f"'{path}': 이 서버에 재순위 모델이 없습니다. 서버를 --reranker 모델로 시작하세요.",
            f"'{path}': this server has no reranker; start it with --reranker MODEL.",
            status=404,
            kind="not_supported",
        )
    served.limits.check_query(query)
    served.limits.check_texts(name, texts)
    return served.reranker


def _ranked(reranker: TextReranker, query: str, texts: list[str]) -> list[tuple[int, float]]:
    """Returns (index, score), best first: relevances in [0, 1] where the model has them, otherwise its own scores.

    As everywhere in KoRAG, empty texts are not ranked.
    """
    filled = [index for index, text in enumerate(texts) if not is_empty(text)]
    if not filled:
        return []
    scores, relevances = reranker._score(query, [texts[index] for index in filled], show_progress=False)
    numbers = (scores if relevances is None else relevances).tolist()
    if any(number != number for number in numbers):  # NaN
        raise CheckpointError("모델이 계산한 점수에 NaN이 있습니다.", "Some of the model's scores are NaN.")
    return sorted(zip(filled, numbers, strict=True), key=lambda pair: -pair[1])


def _name(reranker: TextReranker) -> str:
    return str(getattr(reranker, "model_name", type(reranker).__name__))
