"""Types of pydantic fields with KoRAG's checks: pydantic's own would turn "3" and True into numbers."""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

from pydantic import BeforeValidator, Field, ValidationInfo

from korag.checks import check_choice, check_count, check_flag, check_fraction
from korag.collection.options import EXPANSIONS, Expansion
from korag.field_errors import showable
from langchain_korag.results import check_key


def _count(value: object, info: ValidationInfo) -> int:
    return check_count(str(info.field_name), showable(value))


def _flag(value: object, info: ValidationInfo) -> bool:
    return check_flag(str(info.field_name), showable(value))


def _fraction(value: object, info: ValidationInfo) -> float:
    return check_fraction(str(info.field_name), showable(value))


def _expansion(value: object, info: ValidationInfo) -> Expansion:
    return check_choice(str(info.field_name), cast("Expansion", showable(value)), EXPANSIONS)


def _key(value: object, info: ValidationInfo) -> str | None:
    return check_key(str(info.field_name), showable(value))


Count: TypeAlias = Annotated[int, Field(ge=0), BeforeValidator(_count)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(_flag)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1), BeforeValidator(_fraction)]
Expand: TypeAlias = Annotated[Expansion, BeforeValidator(_expansion)]
Key: TypeAlias = Annotated[str, BeforeValidator(_key)]
