"""The HTTP server of a collection, as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import korag
from korag._optional import check
from korag.collection.base import Collection
from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError, KoragError
from korag.logs import logger
from korag.remote.options import Secret
from korag.reranking.base import TextReranker
from korag.reranking.colbert import Reranker
from korag.reranking.load import load_reranker
from korag.serving.guard import Guard
from korag.serving.limits import ServeLimits, Work
from korag.serving.refusals import RefusedError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response


_SHORTEST_TOKEN = 16


def create_app(
    collection: Collection,
    *,
    token: str | Secret | None = None,
    encoders: Mapping[str, Encoder[Any]] | None = None,
    reranker: TextReranker | str | None = None,
    limits: ServeLimits | None = None,
) -> FastAPI:
    """Makes the HTTP server of a collection: searching, vectors, reranking, health and metrics.

    >>> app = create_app(Collection.open("색인"), token=os.environ["KORAG_TOKEN"])

    It only reads, and sees what others add to the collection. Errors are ``{"error": {"message", "message_en",
    "type"}}``.

    Args:
        collection: The collection, of any store; the caller closes it.
        token: Requests need ``Authorization: Bearer`` with it; at least 16 characters. Without one, only those from
            this machine to a name of it are answered (``localhost``, ``127.0.0.1``): it is for this machine alone,
            then. A proxy makes the requests of others its own: behind one, a token is needed.
        encoders: Models of ``/v1/embeddings``, ``/embed`` and ``/embed_sparse``; None for the collection's.
        reranker: Model of ``/v1/rerank``, ``/v2/rerank`` and ``/rerank``, loaded or by name; None for the collection's
            ColBERT model, if it has one.
        limits: What it takes on.

    Raises:
        InvalidArgumentError: If an argument is invalid.
        MissingDependencyError: If FastAPI or prometheus-client is not installed.
    """
    check("fastapi", "prometheus_client", extra="serve")
    from fastapi import FastAPI

    from korag.serving.embeddings import embedding_routes
    from korag.serving.health import health_routes
    from korag.serving.metrics import Metrics
    from korag.serving.page import page_routes
    from korag.serving.rerank import rerank_routes
    from korag.serving.search import search_routes
    from korag.serving.served import Refusal, Served

    limits = ServeLimits() if limits is None else limits
    work = Work(limits.running, limits.waiting)
    served = Served(
        collection=collection,
        encoders=dict(collection.encoders if encoders is None else encoders),
        reranker=_reranker(collection, reranker),
        limits=limits,
        work=work,
        metrics=Metrics(lambda: work.taken),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work.open()
        yield
        work.close()

    # Its pages with documentation load scripts from elsewhere.
    app = FastAPI(
        title="KoRAG",
        version=korag.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={"default": {"model": Refusal, "description": "An error."}},
    )
    app.state.work = work
    for routes in (search_routes, rerank_routes, embedding_routes, health_routes):
        app.include_router(routes(served))
    app.include_router(page_routes())
    _answer_errors(app)
    paths = [*app.openapi()["paths"], "/", "/openapi.json"]
    app.add_middleware(Guard, token=check_token(token), limits=limits, metrics=served.metrics, paths=paths)
    return app


def check_token(token: str | Secret | None) -> Secret:
    """Returns a token that is hidden in messages.

    Raises:
        InvalidArgumentError: If it is too short or cannot be sent in a header.
    """
    text = token.reveal() if isinstance(token, Secret) else token
    if text is None:
        return Secret(None)
    fits = isinstance(text, str) and text.isascii() and text.isprintable() and " " not in text
    if not fits or len(text) < _SHORTEST_TOKEN:
        raise InvalidArgumentError(  # the value stays out of the message
            f'token: 공백이 없는 ASCII 문자 {_SHORTEST_TOKEN}자 이상이어야 합니다. 만들기: python -c "import secrets; '
            'print(secrets.token_urlsafe())"',
            f"token is invalid; it must be {_SHORTEST_TOKEN} ASCII characters or more, without spaces. To make one: "
            'python -c "import secrets; print(secrets.token_urlsafe())"',
        )
    return Secret(text)


def _reranker(collection: Collection, given: TextReranker | str | None) -> TextReranker | None:
    if given is not None:
        return load_reranker(given)
    own = [encoder for encoder in collection.encoders.values() if encoder.family == "late_interaction"]
    return Reranker(own[0]) if own else None


def _answer_errors(app: FastAPI) -> None:
    """Makes every error the JSON of `RefusedError.body`."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    from korag.serving.validation import of_invalid_body

    def respond(refused: RefusedError) -> Response:
        return JSONResponse(refused.body(), refused.status, dict(refused.headers))

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, KoragError)  # noqa: S101 (registered for it)
        refused = RefusedError.of_error(error)
        if refused.kind == "internal":  # whose answer sends people to the log
            logger.error("요청을 처리하지 못했습니다. / A request has failed.", exc_info=error)
        return respond(refused)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return respond(of_invalid_body(error.errors()))

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return respond(RefusedError.of_status(error.status_code, error.headers))

    async def other(_: Request, __: Exception) -> Response:
        return respond(RefusedError.internal())

    app.add_exception_handler(KoragError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, other)
