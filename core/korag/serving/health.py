"""Health and metrics, for an orchestrator and Prometheus: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from fastapi import APIRouter, Response

from korag.errors import KoragError
from korag.serving.metrics import CONTENT_TYPE
from korag.serving.served import Served

_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


def health_routes(served: Served) -> APIRouter:
    """Returns the addresses for health and metrics; they do not wait for requests that compute."""
    router = APIRouter()

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        """Says that the process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def ready() -> dict[str, str]:
        """Says that the collection can be read."""
        await asyncio.to_thread(len, served.collection)
        return {"status": "ok"}

    @router.get("/metrics", response_class=Response, responses=_TEXT)
    async def metrics() -> Response:
        """Returns the metrics for Prometheus."""
        try:
            documents: float = await asyncio.to_thread(len, served.collection)
        except KoragError:  # said by /readyz; what has been counted is wanted all the more
            documents = math.nan
        return Response(served.metrics.text(documents), media_type=CONTENT_TYPE)

    return router
