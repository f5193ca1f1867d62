"""The base of all pydantic models here: names are checked, and every error is one of KoRAG's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from korag.checks import reject_unknown
from korag.errors import InvalidArgumentError
from korag.field_errors import field_error
from korag.html.objects import object_html
from korag.keywords import one_name

_OF_LANGCHAIN = ("name", "tags", "metadata")
"""Fields that every runnable or retriever has, listed last."""
_PARTS = ("model", "base_retriever", "reranker")
"""Fields that are always shown."""
_MAY_HOLD_SECRETS = ("model_kwargs", "encode_kwargs", "query_encode_kwargs")


CHECKED = ConfigDict(
    extra="forbid",
    arbitrary_types_allowed=True,
    validate_assignment=True,
    hide_input_in_errors=True,  # the input may contain a token
    protected_namespaces=(),  # older pydantic reserves every name that begins with model_
)


MODEL_NAME = {"model_name": "model"}
"""Of classes with a `model`: LlamaIndex's name for it."""


class CheckedModel(BaseModel):
    """A pydantic model that raises KoRAG's errors where pydantic would raise a `ValidationError`.

    Subclasses of LangChain's classes too repeat ``model_config = CHECKED``: of several bases, the last one's counts.
    """

    model_config = CHECKED

    _other_names: ClassVar[Mapping[str, str]] = {}
    _takes_encoder: ClassVar[str | None] = None
    """The field that takes a loaded encoder, for errors."""
    """Other names of fields that are taken too, with the fields' own."""

    def __init__(self, *values: object, **fields: Any) -> None:
        if values:
            name = next(iter(self._field_names()))
            raise InvalidArgumentError(
                f"{type(self).__name__}에는 이름을 붙여 넣으세요. 예: {name}=값. 쓸 수 있는 것: "
                f"{', '.join(self._field_names())}.",
                f"{type(self).__name__} takes keywords only, such as {name}=value. It takes: "
                f"{', '.join(self._field_names())}.",
            )
        with korag_errors(type(self)):
            super().__init__(**fields)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            reject_unknown(self, [name], self._field_names())
        with korag_errors(type(self)):
            super().__setattr__(name, value)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """The parts that it is made of, and the fields that differ from their defaults; nothing that may be secret."""
        shown: list[tuple[str | None, Any]] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name, None)
            if name == "collection":  # its legs alone: LangChain makes reprs for traces, and counting takes a request
                shown.append(("legs", list(getattr(value, "legs", ()))))
            elif name in _PARTS:
                shown.append((name, getattr(value, "model_name", value) if name == "model" else value))
            elif field.repr and name not in _MAY_HOLD_SECRETS and value != _default(field):
                shown.append((name, value))
        return shown

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        collection = getattr(self, "collection", None)
        return object_html(type(self).__name__, [("collection", collection), *self.__repr_args__()])

    @classmethod
    def _field_names(cls) -> list[str]:
        own = [name for name in cls.model_fields if name not in _OF_LANGCHAIN]
        return own + [name for name in cls.model_fields if name in _OF_LANGCHAIN]

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        if isinstance(given, dict):
            given = one_name(given, cls._other_names)
            reject_unknown(cls, given, cls._field_names(), takes=cls._takes_encoder)
        return given


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


@contextmanager
def korag_errors(owner: type) -> Iterator[None]:
    """Raises KoRAG's error in place of a `ValidationError`: a validator's own, or one with the same facts.

    Args:
        owner: The model that is created or changed, for the message.
    """
    try:
        yield
    except ValidationError as error:
        raised = field_error(owner, error.errors(include_url=False), secret=_MAY_HOLD_SECRETS)
    else:
        return
    raise raised from None
