"""The parts of a server that its addresses share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, FailFast, model_validator

from korag.checks import reject_unknown
from korag.collection.base import Collection
from korag.encoders.base import Encoder
from korag.reranking.base import TextReranker
from korag.serving.limits import ServeLimits, Work
from korag.serving.metrics import Metrics
from korag.serving.refusals import RefusedError
from korag.serving.validation import shown


class _Hashable(FailFast):
    """A type in a union with others must have a hash."""

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType] (pydantic's dataclass has None there)


Texts = Annotated[list[str], _Hashable()]
"""Texts of a request; the first that is none ends the validation, which would make an error of each otherwise."""
_NAMES = 1_000
"""Names in an object of a request."""


class Body(BaseModel):
    """A request's JSON. Fields that are not known are an error: ignored, they would change what is answered."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        """Names the field that was meant by another name for it."""
        if isinstance(given, dict):
            reject_unknown(cls, map(shown, given), list(cls.model_fields))
        return given


class RefusalFacts(BaseModel):
    """The mistake, for people and programs."""

    message: str
    message_en: str
    type: str


class Refusal(BaseModel):
    """The answer to a request that is not answered, as `RefusedError.body` makes it."""

    error: RefusalFacts


@dataclass(frozen=True)
class Served:
    """The parts of a server.

    Attributes:
        collection: Only read.
        encoders: Models of ``/v1/embeddings`` and the like, by leg or name.
        reranker: Model of ``/v1/rerank`` and the like; None for none.
        limits: What it takes on.
        work: Where it computes.
        metrics: What it counts.
    """

    collection: Collection
    encoders: Mapping[str, Encoder[Any]]
    reranker: TextReranker | None
    limits: ServeLimits
    work: Work
    metrics: Metrics

    async def check_counts(self, request: Request) -> None:
        """Counts what a request has before any of it is validated: a dependency of all addresses with a body.

        Raises:
            RefusedError: If it has too many texts, or names in an object.
        """
        try:
            body = await request.json()  # which FastAPI has read already
        except (ValueError, RecursionError):
            return  # there is none, or what is wrong with it is said later
        for name, value in body.items() if isinstance(body, dict) else ():
            if isinstance(value, list):
                self.limits.check_number(shown(name), len(value))
            elif isinstance(value, dict) and len(value) > _NAMES:
                raise RefusedError.too_large(
                    f"{shown(name)}: 항목 {len(value):,}개. {_NAMES:,}개까지 받습니다.",
                    f"{shown(name)} has {len(value):,} names; {_NAMES:,} are the most.",
                )

    async def answer(self, path: str, texts: int, function: Callable[[], Any]) -> Response:
        """Computes an answer in a thread, its JSON too.

        Args:
            path: For the metrics.
            texts: Likewise.
            function: Returns JSON values.
        """
        content = await self.work.run(lambda: json.dumps(function(), ensure_ascii=False, allow_nan=False).encode())
        self.metrics.count_texts(path, texts)
        return Response(content, media_type="application/json")
