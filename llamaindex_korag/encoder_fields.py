"""The fields and the constructor that the dense and the sparse embedding class share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from llama_index.core.bridge.pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from korag.checkpoints.presets import Family
from korag.checks import check_count, reject_unknown
from korag.collection.local.arguments import EncoderLike
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.encoders.options import PoolingMode
from korag.keywords import checks_keywords
from llamaindex_korag.checked_fields import CHECKED, CheckedFields

DEFAULT_BATCH_SIZE = 128
"""Texts per LlamaIndex batch. Memory is bounded by the encoder's own batches, which are sized by tokens."""


class EncoderFields(CheckedFields):
    """Everything that changes vectors, as serialised fields; how the model is run is the encoder's business."""

    model_config = CHECKED

    _family: ClassVar[Family]

    model_name: str = Field(frozen=True, description="Name or path of the model.")
    revision: str | None = Field(default=None, frozen=True, description="Hub branch, tag or commit.")
    dim: int | None = Field(default=None, frozen=True, description="Size of a vector.")
    query_prompt: str | None = Field(
        default=None, frozen=True, description="Put before every query; None for the model's own."
    )
    document_prompt: str | None = Field(
        default=None, frozen=True, description="Put before every text; None for the model's own."
    )
    max_length: int | None = Field(
        default=None, frozen=True, description="Longest text in tokens; None for the model's own."
    )
    query_length: int | None = Field(
        default=None, frozen=True, description="Longest query in tokens; None for the model's own."
    )
    pooling: PoolingMode | None = Field(
        default=None, frozen=True, description="Pooling of a dense model whose files do not say it."
    )
    adapter: str | None = Field(default=None, frozen=True, description="Folder or Hub id of a PEFT adapter.")
    embed_batch_size: int = Field(
        default=DEFAULT_BATCH_SIZE, gt=0, le=2048, exclude=True, description="Texts embedded between two events."
    )
    num_workers: int | None = Field(default=None, exclude=True, description="Batches embedded at once in async.")
    _encoder: Encoder[Any] = PrivateAttr()

    @field_validator("embed_batch_size", "num_workers", mode="before")
    @classmethod
    def _check_count(cls, count: Any, info: ValidationInfo) -> int | None:
        name = str(info.field_name)
        return None if count is None and name == "num_workers" else check_count(name, count, at_least=1)

    @checks_keywords
    def __init__(
        self,
        model_name: str | os.PathLike[str] | Encoder[Any] | None = None,
        *,
        revision: str | None = None,
        dim: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        max_length: int | None = None,
        query_length: int | None = None,
        pooling: PoolingMode | None = None,
        adapter: str | os.PathLike[str] | None = None,
        embed_batch_size: int = DEFAULT_BATCH_SIZE,
        num_workers: int | None = None,
        **more: Any,
    ) -> None:
        """Checks the model; its weights are loaded at first use.

        Args:
            model_name: A name, a path, or a loaded encoder of the class's family; None for the class's default model.
                ``model=`` is taken too.
            revision: Hub branch, tag or commit.
            dim: Size of a vector; None for the model's. A sparse model has no choice of sizes.
            query_prompt: Put before every query; None for the model's own.
            document_prompt: Put before every text; None for the model's own.
            max_length: Longest text in tokens; None for the model's own.
            query_length: Longest query in tokens; None for the model's own, which is `max_length`.
            pooling: Pooling of a dense model whose files do not say it: ``"cls"``, ``"mean"``, ``"max"`` or
                ``"lasttoken"``.
            adapter: Folder or Hub id of a PEFT adapter; for dense models only.
            embed_batch_size: Texts embedded between two events.
            num_workers: Batches embedded at once in async, from 2 on; None leaves it to asyncio's threads.
            more: The other fields of the class; any other keyword is an error.

        Raises:
            WrongFamilyError: If the model is of another family; the message names the class to use.
            InvalidArgumentError: If a loaded encoder is given with settings it was not loaded with.
        """
        reject_unknown(self, more, list(type(self).model_fields))  # before the default model is looked for
        rest = {"embed_batch_size": embed_batch_size, "num_workers": num_workers, **more}
        self._check_fields(rest)
        encoder = as_encoder(
            type(self).model_fields["model_name"].default if model_name is None else model_name,
            family=self._family,
            revision=revision,
            dim=dim,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_length=max_length,
            query_length=query_length,
            pooling=pooling,
            adapter=os.fspath(adapter) if isinstance(adapter, os.PathLike) else adapter,
        )
        # Every load argument must be a field, so that the fields load the same encoder again; one without a field
        # fails loudly here, as an unknown keyword.
        loaded = {**encoder.load_arguments, "model_name": encoder.load_arguments["model"]}
        del loaded["model"], loaded["family"]
        super().__init__(**loaded, **rest)
        self._encoder = encoder

    def __getstate__(self) -> dict[str, Any]:
        # BaseComponent's would drop what cannot be pickled from the live object, and its __setstate__ would lose the
        # encoder's device. Callbacks, limiters and caches are left out, as in `to_dict`.
        left_out = ("callback_manager", "rate_limiter", "embeddings_cache")
        fields = {name: value for name, value in self.__dict__.items() if name not in left_out}
        return {"fields": fields, "encoder": self._encoder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**{**state["fields"], "model_name": state["encoder"]})  # type: ignore[misc]


def encoders_of(encoders: Sequence[EncoderLike | EncoderFields] | None) -> Sequence[EncoderLike] | None:
    """Returns encoders, with embedding objects replaced by the models in them, all their settings included."""
    if not isinstance(encoders, list | tuple):
        return encoders  # type: ignore[return-value]  # None, or what the collection refuses
    return [one._encoder if isinstance(one, EncoderFields) else one for one in encoders]
