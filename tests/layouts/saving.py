"""Small models of the reference libraries, for cases to save."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from checkpoints import backbone


@contextmanager
def transformer(
    kind: str = "xlm-roberta", *, extra: tuple[str, ...] = (), config: dict[str, Any] | None = None, **settings: Any
) -> Iterator[Any]:
    """A Transformer module of sentence-transformers on a small random backbone.

    Args:
        kind: ``model_type`` of transformers.
        extra: Tokens to add to the tokenizer.
        config: Settings of the backbone.
        settings: Keywords of the module.
    """
    from sentence_transformers.base.modules import Transformer

    with plain(kind, extra=extra, **(config or {})) as folder:
        yield Transformer(str(folder), **settings)


@contextmanager
def plain(kind: str = "xlm-roberta", **settings: Any) -> Iterator[Path]:
    """A folder with nothing but a small random backbone and a tokenizer."""
    with tempfile.TemporaryDirectory() as place:
        backbone(Path(place), kind, **settings)
        yield Path(place)


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    """The same normal numbers every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def save(model: Any, folder: Path) -> None:
    model.save_pretrained(str(folder), create_model_card=False)
