"""Encoders whose model runs on a server."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any, NoReturn, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint, digest_files
from korag.checkpoints.hub import has_weights
from korag.checkpoints.presets import Family
from korag.encoders.base import Task, Vectors
from korag.encoders.dense import DenseEncoder
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.encoders.placed import to_rows
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.running import explained
from korag.encoders.shared import Loaded
from korag.encoders.sparse import SparseEncoder
from korag.encoders.token_pooling import before_pooling
from korag.errors import InvalidArgumentError
from korag.forking import Lock
from korag.remote.canaries import TASKS, Canaries, exact, known_rows, make_canaries, read_canaries
from korag.remote.diagnosis import Doubts, check_agreement
from korag.remote.hollow import DEVICE, check_plain, weightless
from korag.remote.options import Address, ServerOptions
from korag.remote.pipeline import RemotePipeline
from korag.remote.requests import Requests
from korag.remote.shapes.find import find_encoding
from korag.remote.transport import Transport
from korag.text import check_texts, normalize
from korag.tracing import span


class RemoteEncoder(PretrainedEncoder[Vectors]):
    """An encoder whose forward pass a server makes; everything else is as with the checkpoint it is like.

    It has the fingerprint of the local model: a collection filled with one opens with the other. Its `load_arguments`
    are those of the local model as well, so no collection names a server. Pickles hold the known vectors of short
    texts but no key; the server is asked for them again at first use. Made by `korag.load_encoder`.
    """

    _server: ServerOptions
    _url: Address
    _canaries: Canaries

    @classmethod
    def like(cls, encoder: PretrainedEncoder[Any], url: str, server: ServerOptions, canaries: Canaries) -> Self:
        """Makes an encoder of a local one.

        Args:
            encoder: The local one.
            url: The whole address.
            server: How to ask it.
            canaries: What it must return.
        """
        options = dataclasses.replace(encoder.options, device=DEVICE, dtype="float32", backend="torch")
        made = cls.__new__(cls)
        state = {"_options": options, "_url": Address(url), "_server": server, "_canaries": canaries}
        made.__setstate__(encoder.__getstate__() | state | {"_dim": canaries.fingerprint.dim})
        return made

    def _reset(self) -> None:
        super()._reset()
        self._requests: Requests | None = None
        self._takes_ids = False
        self._verified = False
        self._connect_lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        for name in ("_requests", "_takes_ids", "_verified", "_connect_lock"):
            del state[name]
        return state

    @property
    def url(self) -> str:
        """Address of the server, without what follows a ``?``."""
        return self._url.shown

    @property
    def fingerprint(self) -> Fingerprint:
        """That of the local model with the same settings, which the server's vectors have been compared with."""
        return self._canaries.fingerprint

    def connect(self, doubts: Doubts | None = None) -> None:
        """Asks the server for the known vectors, unless it has returned them before.

        Args:
            doubts: What else they may be, for the message; None if no local weights can tell.

        Raises:
            ServedModelError: If it returns other vectors.
            ServerError: If it does not answer.
        """
        if self._verified:
            return
        with self._connect_lock:
            if self._verified:
                return
            pipeline = self._make_pipeline()
            for task in TASKS:
                rows = known_rows(pipeline, self._canaries.texts, task)
                check_agreement(self.url, self._canaries, rows, task, doubts)
            self._verified = True

    async def aencode_queries(self, texts: Iterable[str]) -> Vectors:
        """As `encode_queries`, for coroutines: the requests run while others do."""
        return await self._aencode(texts, "query")

    async def aencode_documents(self, texts: Iterable[str]) -> Vectors:
        """As `encode_documents`, for coroutines: the requests run while others do."""
        return await self._aencode(texts, "document")

    async def _aencode(self, texts: Iterable[str], task: Task) -> Vectors:
        checked = [normalize(text) for text in check_texts(texts)]
        if task == "query" and self.options.query_cache:
            return self._collate(await self._query_cache.arows(checked, partial(self._aencode_rows, task=task)))
        return self._collate(await self._aencode_rows(checked, task=task))

    async def _aencode_rows(self, texts: list[str], *, task: Task) -> list[Any]:
        if not texts:
            return []
        with span("CreateEmbeddings", "EMBEDDING", self._span_attributes(task, len(texts))):
            pipeline = await asyncio.to_thread(self._pipeline)
            report = self._report(task)
            cut, lengths, _ = await asyncio.to_thread(self._measure, pipeline, texts, task, report, log=True)
            return await pipeline.aencode(cut, task, lengths=lengths)

    def _pipeline(self) -> RemotePipeline:
        self.connect()
        return self._make_pipeline()

    def _make_pipeline(self) -> RemotePipeline:
        return self._assemble(self.shared().model)

    def _assemble(self, model: Any, **changed: Any) -> RemotePipeline:
        """Returns a pipeline around a model without weights, some of whose arguments are changed."""
        requests = self._reached()
        arguments: dict[str, Any] = {**self._pipeline_arguments(self.shared()), **changed}
        return RemotePipeline(
            model, requests=requests, takes_ids=self._takes_ids, dims=self._served_dims(), **arguments
        )

    def _reached(self) -> Requests:
        """Returns the requests to the server."""
        if (requests := self._requests) is None:
            address, shape = find_encoding(self._url.reveal(), self._server, self.family)
            model = self._server.model or (self.model_name if self.checkpoint.source.revision else None)
            self._requests = requests = Requests(
                Transport(address, self._server),
                body=partial(shape.body, model=model, normalize=self.checkpoint.normalized),
                read=shape.rows,
                batch_size=self._server.batch_size,
            )
            self._takes_ids = shape.takes_ids
        return requests

    def _served_dims(self) -> tuple[int, ...]:
        return tuple({self.dim, *self.checkpoint.dims})

    # -- the model without weights -----------------------------------------------------------------------------

    def _load_key(self) -> Hashable:
        return type(self), str(self.checkpoint.source.folder), self._load_settings()

    def _load_ready(self) -> Loaded:
        from korag.encoders.backends import RuntimeInfo

        check_plain(self.checkpoint)
        with weightless(self.checkpoint.source.folder) as folder, explained(self._load_error):
            return Loaded(self._load(folder).eval(), RuntimeInfo("unknown", backend="server"))

    def _find_mismatch(self, model: Any) -> str | None:
        return None

    def _not_here(self, *_: Any, **__: Any) -> NoReturn:
        name = self.model_name
        raise InvalidArgumentError(
            f"이 인코더의 가중치는 {self.url} 서버에 있습니다. 학습, 저장, 설명, 여러 프로세스에는 로컬 모델을 쓰세요: "
            f"load_encoder({name!r}).",
            f"The weights of this encoder are on the server {self.url}. For training, saving, explaining and several "
            f"processes, use the local model: load_encoder({name!r}).",
        )

    load_copy = save = processes = encode_token_groups = _not_here

    def encode_batch(self, texts: Any, task: Task) -> list[Any]:
        """As `PretrainedEncoder.encode_batch`, in as many requests as it takes."""
        pipeline = self._pipeline()
        return pipeline.encode(texts, task, lengths=pipeline.count_tokens(texts, task))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, like={self.model_name!r}, dim={self.dim}, prompts={self.prompts})"


class RemoteDenseEncoder(RemoteEncoder[NDArray[np.float32]], DenseEncoder):
    """A dense model on a server."""

    def _to_rows(self, features: dict[str, Any]) -> list[NDArray[np.float32]]:
        if self.checkpoint.normalized:  # whether the server has done it or not
            import torch

            vectors = torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)
            features = {"sentence_embedding": vectors}
        return super()._to_rows(features)


class RemoteSparseEncoder(RemoteEncoder[sp.csr_array], SparseEncoder):
    """A SPLADE model on a server."""


class RemoteLateInteractionEncoder(RemoteEncoder[list[NDArray[np.float32]]], LateInteractionEncoder):
    """A ColBERT model on a server that returns a vector for every token."""

    def _placing_pipeline(self) -> RemotePipeline:
        self.connect()
        return self._assemble(before_pooling(self.shared().model), to_rows=to_rows)

    def read_tokens(self, text: str, task: Task) -> None:
        """None: which tokens have vectors is known where the model runs."""

    def _served_dims(self) -> tuple[int, ...]:
        return (self.dim,)


_SERVED: dict[Family, type[RemoteEncoder[Any]]] = {
    "dense": RemoteDenseEncoder,
    "sparse": RemoteSparseEncoder,
    "late_interaction": RemoteLateInteractionEncoder,
}


def connect_encoder(
    url: str,
    like: PretrainedEncoder[Any],
    *,
    canaries: str | os.PathLike[str] | None,
    server: ServerOptions,
) -> RemoteEncoder[Any]:
    """Returns an encoder for a server, after comparing its vectors with known ones.

    Args:
        url: Address of the server.
        like: The model that it should serve, with the settings to use it with.
        canaries: File of `write_canaries`; None to compute them here.
        server: How to ask it.

    Raises:
        ServedModelError: If the server's vectors are others.
        ServerError: If it does not answer.
        InvalidArgumentError: If `canaries` are of another model or settings than `like`.
    """
    check_plain(like.checkpoint)
    find_encoding(url, server, like.family)
    Transport(url, server)
    server.key()
    doubts = None
    if canaries is None:
        known, doubts = make_canaries(like), Doubts(exact(like))
    else:
        known = read_canaries(canaries)
        _check_canaries(known, like, canaries)
    encoder = _SERVED[like.family].like(like, url, server, known)
    encoder.connect(doubts)
    return encoder


def _check_canaries(known: Canaries, like: PretrainedEncoder[Any], path: str | os.PathLike[str]) -> None:
    if differences := _differences(known, like):
        listed = ", ".join(f"{name}: {one!r:.60} / {other!r:.60}" for name, (one, other) in differences.items())
        raise InvalidArgumentError(
            f"canaries='{os.fspath(path)}'은(는) 다른 모델이나 설정의 것입니다(like / 파일: {listed}). 같은 모델과 "
            "설정으로 write_canaries를 다시 실행하거나 like를 맞추세요.",
            f"canaries='{os.fspath(path)}' are of another model or settings (like / file: {listed}). Run "
            "write_canaries again with the same ones, or give like those of the file.",
        )


def _differences(known: Canaries, like: PretrainedEncoder[Any]) -> dict[str, tuple[Any, Any]]:
    """Returns how the model of known vectors differs from another: by its weights, or by what is here without them."""
    saved, source = known.fingerprint, like.checkpoint.source
    if has_weights(source.folder):
        return like.fingerprint.differences(saved)
    dim = like._dim if like._dim is not None else saved.dim
    own = dataclasses.replace(
        saved,
        family=like.family,
        dim=dim,
        query_prompt=like.prompts["query"],
        document_prompt=like.prompts["document"],
        query_length=like.query_length,
        document_length=like.max_length,
        normalized=like.checkpoint.normalizes(dim),
    )
    found = own.differences(saved)
    if source.revision and saved.revision:  # of a folder, the name says nothing
        names = {"model": (like.model_name, saved.model), "revision": (source.revision, saved.revision)}
        found |= {name: pair for name, pair in names.items() if pair[0] != pair[1]}
    files = digest_files(source.folder)
    for name in files.keys() & known.files.keys():
        if files[name] != known.files[name]:
            found[name] = (files[name][:8], known.files[name][:8])
    return found
