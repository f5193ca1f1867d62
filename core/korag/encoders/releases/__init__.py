"""Differences between releases of sentence-transformers. Every other module of this package takes its classes here.

`newest` has those of 6.2 and later. `pylate` has those of 5.3, which PyLate 1.6 requires, with what 6.2 added and
encoding needs. Releases in between lack some of what `newest` names, so pyproject.toml leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from korag.errors import CheckpointError, MissingDependencyError

if TYPE_CHECKING:
    from korag.encoders.releases.newest import (
        CrossEncoder,
        Dense,
        MultiVectorEncoder,
        Normalize,
        Pooling,
        SentenceTransformer,
        SparseEncoder,
        StaticEmbedding,
        adapter_backbone,
        embedding_dimension,
        is_backbone,
        load_late_interaction,
        load_table,
        normalize_tokens,
        project_tokens,
        replace_backbone,
    )

__all__ = [
    "CrossEncoder", "Dense", "MultiVectorEncoder", "Normalize", "Pooling", "SentenceTransformer", "SparseEncoder",
    "StaticEmbedding", "adapter_backbone", "embedding_dimension", "is_backbone", "load_late_interaction", "load_table",
    "normalize_tokens", "project_tokens", "replace_backbone",
]  # fmt: skip

_PYLATES = "5.3."
_READABLE = ("sentence_transformers.models.", "sentence_transformers.sparse_encoder.models.")
"""Where 5.3 has its modules; 5.4 moved and changed them."""


@cache
def is_pylates() -> bool:
    """Returns True in an environment of PyLate. Imports nothing."""
    return version("sentence-transformers").startswith(_PYLATES)


def check_newest(korean: str, english: str) -> None:
    """Checks that something can be done here that takes the newest releases.

    Args:
        korean: What it is: "…에는".
        english: The same in English: "… needs".

    Raises:
        MissingDependencyError: If it cannot, since this is an environment of PyLate.
    """
    if is_pylates():
        found = version("sentence-transformers")
        raise MissingDependencyError(
            f"{korean} sentence-transformers 6.2 이상이 필요한데 이 환경에는 PyLate에 맞는 {found}이(가) 있습니다. "
            "PyLate가 없는 환경에서 하세요: pip install -U 'sentence-transformers>=6.2'",
            f"{english} sentence-transformers 6.2 or later, and this environment has {found}, which PyLate requires. "
            "Use an environment without PyLate: pip install -U 'sentence-transformers>=6.2'",
        )


def check_layout(name: str, types: Iterable[str]) -> None:
    """Checks that a model's modules can be loaded here.

    Args:
        name: The model's name or path.
        types: Dotted names of its modules' classes.

    Raises:
        CheckpointError: If a newer release has saved it, and this is an environment of PyLate.
    """
    newer = [each for each in types if each.startswith("sentence_transformers.") and not each.startswith(_READABLE)]
    if newer and is_pylates():
        found = version("sentence-transformers")
        raise CheckpointError(
            f"'{name}' 모델은 sentence-transformers 5.4 이상으로 저장한 것이어서({newer[0]}) PyLate에 맞는 이 환경의 "
            f"{found}에서는 읽을 수 없습니다. PyLate가 없는 환경에서 sentence-transformers 6.2 이상으로 불러오세요.",
            f"The model '{name}' was saved with sentence-transformers 5.4 or later ({newer[0]}), which {found}, the "
            "release in this environment that PyLate requires, cannot read. Load it in an environment without PyLate, "
            "with sentence-transformers 6.2 or later.",
        )


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f"{__name__}.{'pylate' if is_pylates() else 'newest'}"), name)
    return found
