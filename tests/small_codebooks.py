"""Codebooks that are learned from few tokens, so that small collections have one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from korag.legs.multi_vector import codebook, packed


@contextmanager
def learned_from(tokens: int, *, centroids: int = 8) -> Iterator[None]:
    """Learns a codebook of few centroids as soon as a collection has so many tokens."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (codebook, packed):
            patch.setattr(module, "LEARNED_FROM", tokens)
        patch.setattr(codebook, "CENTROIDS", centroids)
        yield
