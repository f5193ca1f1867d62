"""Kinds of modules in loaded models, told by the names of their classes: importing these would take seconds."""

from __future__ import annotations

from typing import Any

_PACKAGES = ("sentence_transformers.", "korag.encoders.light.")


def is_kind(module: Any, *names: str) -> bool:
    """Returns True if a module is of a class of sentence-transformers, or of the light one that stands for it.

    Args:
        module: Any object.
        names: Names of classes; subclasses count.
    """
    return any(_is_class(kind, names) for kind in type(module).__mro__)


def is_exactly(module: Any, name: str) -> bool:
    """As `is_kind`, but not for a subclass, which a checkpoint may bring along."""
    return _is_class(type(module), (name,))


def _is_class(kind: type, names: tuple[str, ...]) -> bool:
    return kind.__name__ in names and kind.__module__.startswith(_PACKAGES)
