"""The base of the pydantic models here: every error is one of KoRAG's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from llama_index.core.callbacks import CallbackManager

from korag.checks import reject_unknown
from korag.field_errors import field_error
from korag.html.objects import object_html
from llamaindex_korag.given import wrong_kind

CHECKED = ConfigDict(
    extra="forbid",
    arbitrary_types_allowed=True,
    validate_assignment=True,
    hide_input_in_errors=True,  # the input may contain a token
    protected_namespaces=("pydantic_model_",),  # older pydantic claims every name that begins with model_
)


_NEVER_SHOWN = ("callback_manager", "embeddings_cache", "rate_limiter", "id_func")


class CheckedFields(BaseModel):
    """A pydantic model that raises KoRAG's errors where pydantic would raise a ``ValidationError``.

    Subclasses repeat ``model_config = CHECKED``: of several bases, the last one's counts.
    """

    model_config = CHECKED

    def __init__(self, **fields: Any) -> None:
        with korag_errors(type(self)):
            super().__init__(**fields)

    @field_validator("callback_manager", mode="before", check_fields=False)
    @classmethod
    def _default_callbacks(cls, manager: object) -> CallbackManager:
        if not isinstance(manager, CallbackManager | None):
            raise wrong_kind("callback_manager", manager, "CallbackManager")
        return manager or CallbackManager()

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """The model, and the fields that differ from their defaults; no callbacks, caches or keys."""
        return [
            (name, value)
            for name, field in type(self).model_fields.items()
            if field.repr and name not in _NEVER_SHOWN
            if (value := getattr(self, name, None)) != field.get_default(call_default_factory=True)
            or name == "model_name"
        ]

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return object_html(type(self).__name__, self.__repr_args__())

    @classmethod
    def _check_fields(cls, fields: Mapping[str, Any]) -> None:
        """Checks fields that do not depend on the model, so that a wrong one costs no download.

        Args:
            fields: Some that are not frozen.

        Raises:
            InvalidArgumentError: If one breaks its rule.
        """
        draft = cls.model_construct()
        with korag_errors(cls):
            for name, value in fields.items():
                cls.__pydantic_validator__.validate_assignment(draft, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            reject_unknown(self, [name], list(type(self).model_fields))
        with korag_errors(type(self)):
            super().__setattr__(name, value)


@contextmanager
def korag_errors(owner: type) -> Iterator[None]:
    """Raises KoRAG's error in place of a ``ValidationError``.

    Args:
        owner: The model that is created or changed, for the message.
    """
    try:
        yield
    except ValidationError as error:
        raised = field_error(owner, error.errors(include_url=False))
    else:
        return
    raise raised from None
