"""What KoRAG's embedding classes have in common: the fields of their encoder."""

from __future__ import annotations

import os
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr

from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder
from korag.encoders.load import encoder_with


class EncoderFields(BaseModel):
    """Everything that changes vectors, as serialised fields; how the model is run is the encoder's own."""

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
    adapter: str | None = Field(default=None, frozen=True, description="Folder or Hub id of a PEFT adapter.")
    _encoder: Encoder[Any] = PrivateAttr()

    def __getstate__(self) -> dict[str, Any]:
        # BaseComponent's would take what cannot be pickled out of the living object, and its __setstate__ would
        # lose the encoder's device. Callbacks, limiters and caches stay behind, as in `to_dict`.
        left = ("callback_manager", "rate_limiter", "embeddings_cache")
        fields = {name: value for name, value in self.__dict__.items() if name not in left}
        return {"fields": fields, "encoder": self._encoder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**{**state["fields"], "model_name": state["encoder"]})  # type: ignore[misc]


def find_encoder(
    model: Encoder[Any] | str | os.PathLike[str], family: Family, settings: dict[str, Any]
) -> tuple[Encoder[Any], dict[str, Any]]:
    """Finds an encoder, and the fields that make the same one again.

    Args:
        model: An encoder, a name, or a path.
        family: Of which family it must be.
        settings: Settings that change vectors; None where not given.

    Returns:
        (the encoder, fields with its own settings in place of None).

    Raises:
        WrongFamilyError: If it is of another family.
        InvalidArgumentError: If a loaded encoder was loaded with another value of a setting.
    """
    encoder = encoder_with(model, family=family, **settings)
    # All that makes the same encoder again is a field; had one no field of its own, this would fail loudly.
    fields = {**encoder.load_arguments, "model_name": encoder.load_arguments["model"]}
    del fields["model"], fields["family"]
    return encoder, fields
