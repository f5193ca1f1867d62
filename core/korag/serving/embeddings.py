"""Vectors over HTTP: ``/v1/embeddings`` of OpenAI, ``/embed`` and ``/embed_sparse`` of TEI.

A text is encoded as it is, without the model's prompt, as those servers do: clients such as `korag.load_encoder` send
finished texts. ``input_type`` or ``prompt_name`` asks for the prompt of queries or documents.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Response

from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder, Task
from korag.encoders.pretrained import PretrainedEncoder
from korag.serving.refusals import RefusedError
from korag.serving.served import Body, Served, Texts
from korag.serving.shapes import EmbeddingsAnswer, ListedModel, ModelsAnswer, Term


class EmbeddingsRequest(Body):
    """``POST /v1/embeddings``."""

    input: str | Texts
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
    input_type: Task | None = None


class EmbedRequest(Body):
    """``POST /embed`` and ``/embed_sparse``."""

    inputs: str | Texts
    truncate: bool = False
    normalize: bool = True
    truncation_direction: Literal["Right", "right"] = "Right"
    dimensions: int | None = None
    prompt_name: Task | None = None


class Model:
    """A model behind an address.

    Args:
        encoder: The model.
    """

    def __init__(self, encoder: Encoder[Any]) -> None:
        self.encoder, self.name, self.family = encoder, encoder.model_name, encoder.family
        self.created = int(time.time())
        self._finished = encoder.without_prompts() if isinstance(encoder, PretrainedEncoder) else encoder

    def listed(self) -> dict[str, Any]:
        """Returns the model as OpenAI lists it; its time is when this server took it up."""
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "korag"}

    def check_dimensions(self, dimensions: int | None) -> None:
        """Checks that the model's vectors have the length that is asked for.

        Raises:
            RefusedError: If they have not.
        """
        if dimensions not in (None, self.encoder.dim):
            raise RefusedError(
                f"dimensions={dimensions}: 이 모델의 벡터는 {self.encoder.dim}차원입니다. dimensions를 빼세요.",
                f"dimensions={dimensions}: the vectors of this model have {self.encoder.dim}; leave it out.",
            )

    def encode(self, texts: list[str], task: Task | None) -> Any:
        """Returns vectors; of texts as they are if there is no task."""
        if task == "query":
            return self.encoder.encode_queries(texts)
        encoder = self.encoder if task == "document" else self._finished
        return encoder.encode_documents(texts, show_progress=False)

    def check_lengths(self, name: str, texts: list[str], task: Task | None) -> int:
        """Returns the tokens of all texts.

        Args:
            name: Their field in the request.
            texts: The texts.
            task: As for `encode`.

        Raises:
            RefusedError: If the model would not read one to its end.
        """
        known = self.encoder.fingerprint
        prompts = {None: "", "query": known.query_prompt, "document": known.document_prompt}
        limit = known.query_length if task == "query" else known.document_length
        counted = self._finished.count_tokens([prompts[task] + text for text in texts])
        for index, tokens in enumerate(counted):
            if limit is not None and tokens > limit:
                raise RefusedError(
                    f"{name}[{index}]: {tokens:,}토큰 이상. 이 모델은 {limit:,}토큰까지 읽습니다. 글을 나누세요.",
                    f"{name}[{index}] has {tokens:,} tokens or more; this model reads {limit:,}. Divide the text.",
                )
        return sum(counted)


def embedding_routes(served: Served) -> APIRouter:
    """Returns the addresses for vectors."""
    router = APIRouter(dependencies=[Depends(served.check_counts)])
    models = [Model(encoder) for encoder in served.encoders.values()]

    @router.get("/v1/models", response_model=ModelsAnswer)
    async def listed() -> dict[str, Any]:
        """Lists the models of ``/v1/embeddings``."""
        return {"object": "list", "data": [model.listed() for model in models if model.family == "dense"]}

    @router.get("/v1/models/{name:path}", response_model=ListedModel)
    async def one(name: str) -> dict[str, Any]:
        """Returns a model of ``/v1/embeddings``."""
        return _model(models, "dense", "/v1/embeddings", name).listed()

    @router.post("/v1/embeddings", response_model=EmbeddingsAnswer)
    async def embeddings(body: EmbeddingsRequest) -> Response:
        """Vectors of a dense model in OpenAI's shape."""
        texts = _texts(served, "input", body.input)
        model = _model(models, "dense", "/v1/embeddings", body.model)
        model.check_dimensions(body.dimensions)

        def encoded() -> dict[str, Any]:
            tokens = model.check_lengths("input", texts, body.input_type)
            rows = np.asarray(model.encode(texts, body.input_type), np.float32)
            vectors = [_base64(row) for row in rows] if body.encoding_format == "base64" else rows.tolist()
            return {
                "object": "list",
                "model": model.name,
                "data": [{"object": "embedding", "index": i, "embedding": each} for i, each in enumerate(vectors)],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }

        return await served.answer("/v1/embeddings", len(texts), encoded)

    async def tei(path: str, family: Family, body: EmbedRequest) -> Response:
        texts = _texts(served, "inputs", body.inputs)
        model = _model(models, family, path, None)
        model.check_dimensions(body.dimensions)

        def encoded() -> list[Any]:
            if not body.truncate:
                model.check_lengths("inputs", texts, body.prompt_name)
            vectors = model.encode(texts, body.prompt_name)
            return _terms(vectors) if family == "sparse" else _rows(vectors, normalize=body.normalize)

        return await served.answer(path, len(texts), encoded)

    @router.post("/embed", response_model=list[list[float]])
    async def embed(body: EmbedRequest) -> Response:
        """Vectors of a dense model in TEI's shape."""
        return await tei("/embed", "dense", body)

    @router.post("/embed_sparse", response_model=list[list[Term]])
    async def embed_sparse(body: EmbedRequest) -> Response:
        """Terms and weights of a SPLADE model in TEI's shape."""
        return await tei("/embed_sparse", "sparse", body)

    return router


def _texts(served: Served, name: str, given: str | list[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not texts:
        raise RefusedError(f"{name}: 텍스트가 없습니다. 하나 이상 넣으세요.", f"{name} is empty; send a text at least.")
    return served.limits.check_texts(name, texts)


def _model(models: Sequence[Model], family: Family, path: str, name: str | None) -> Model:
    """Returns the model of a family that a request asks for."""
    fitting = [model for model in models if model.family == family]
    for model in fitting:
        if name in (None, model.name):
            return model
    if fitting:
        names = ", ".join(repr(model.name) for model in fitting)
        raise RefusedError(
            f"model={name!r:.80}: 제공하지 않는 모델입니다. 쓸 수 있는 것: {names}.",
            f"model={name!r:.80} is not served here; those that are: {names}.",
            status=404,
            kind="not_found",
        )
    korean, english = _OF_OTHERS.get(family, ("", ""))
    there = ", ".join(f"{model.name} ({model.family})" for model in models) or "-"
    raise RefusedError(
        f"'{path}'에는 {family} 모델이 필요한데 이 서버에 없습니다(있는 모델: {there}).{korean}",
        f"'{path}' needs a {family} model, and this server has none (it has: {there}).{english}",
        status=404,
        kind="not_supported",
    )


_OF_OTHERS: dict[Family, tuple[str, str]] = {
    "dense": (
        " SPLADE 모델의 벡터는 '/embed_sparse'가 제공합니다. ColBERT 모델은 텍스트마다 벡터가 여러 개라서 "
        "'/v1/search'와 '/v1/rerank'로만 쓸 수 있습니다.",
        " Vectors of a SPLADE model are at '/embed_sparse'. A ColBERT model has several vectors per text: use "
        "'/v1/search' and '/v1/rerank'.",
    ),
}


def _rows(vectors: Any, *, normalize: bool) -> list[Any]:
    rows = np.asarray(vectors, np.float32)
    if normalize:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return list(rows.tolist())


def _terms(vectors: Any) -> list[Any]:
    rows = [vectors[[index]] for index in range(vectors.shape[0])]
    return [
        [{"index": int(term), "value": float(weight)} for term, weight in zip(row.indices, row.data, strict=True)]
        for row in rows
    ]


def _base64(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
