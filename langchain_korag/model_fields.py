"""The fields that the dense and the sparse embeddings class share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, WithJsonSchema, field_validator

from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from langchain_korag.checked_model import MODEL_NAME, CheckedModel
from langchain_korag.field_types import Flag
from langchain_korag.huggingface import hide_tokens, without_tokens

MODEL_SCHEMA = WithJsonSchema({"type": "string", "title": "Model"})
"""JSON schema of `model`, whose type has none: a loaded encoder is not JSON."""


def model_field(default: str) -> Any:
    """Returns the pydantic field of `model`."""
    return Field(default=default, exclude=True, repr=False, frozen=True)


class EncoderModel(CheckedModel):
    """A pydantic model around one encoder; subclasses narrow `model` to their family and set its default."""

    _family: ClassVar[Family]
    _takes_encoder: ClassVar[str | None] = "model"
    _other_names = MODEL_NAME

    model: Encoder[Any] | str | os.PathLike[str]
    model_kwargs: dict[str, Any] = Field(default_factory=dict, frozen=True)
    cache_folder: str | None = Field(default=None, frozen=True)
    show_progress: Flag = False

    @field_validator("model", mode="before")
    @classmethod
    def _check_family(cls, model: Any) -> Any:
        return as_encoder(model, family=cls._family) if isinstance(model, Encoder) else model

    @field_validator("model_kwargs")
    @classmethod
    def _hide_token(cls, given: dict[str, Any]) -> dict[str, Any]:
        return hide_tokens(given)

    def _resolve_model(self, loading: Mapping[str, Any]) -> None:
        """Puts the encoder in place of its name; its weights are loaded at first use."""
        encoder = as_encoder(self.model, family=self._family, cache_folder=self.cache_folder, **loading)
        vars(self)["model"] = encoder  # bypasses `frozen`, which is for callers

    @property
    def model_name(self) -> str:
        """The name or path the model was loaded by."""
        assert isinstance(self.model, Encoder)  # noqa: S101 (for the type checker)
        return self.model.model_name

    def __getstate__(self) -> dict[Any, Any]:
        return without_tokens(super().__getstate__())
