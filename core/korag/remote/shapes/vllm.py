"""``/pooling`` of vLLM: a vector for every token of a ColBERT model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.remote.shapes.base import by_index, floats


class VllmTokens:
    """``{"task": "token_embed", "input": [[2, 5, 7], …]}`` → ``{"data": [{"index": 0, "data": [[0.1, …], …]}, …]}``."""

    takes_ids = True

    def body(self, inputs: Sequence[Any], *, model: str | None, normalize: bool) -> dict[str, Any]:
        """As `Shape.body`; vectors are scaled here."""
        del normalize
        named = {} if model is None else {"model": model}
        return {
            **named,
            "task": "token_embed",
            "input": list(inputs),
            "encoding_format": "float",
            "add_special_tokens": False,
        }

    def rows(self, answer: Any, count: int) -> list[NDArray[np.float32]]:
        """As `Shape.rows`."""
        return [floats(entry.get("data"), ndim=2) for entry in by_index(answer, count, key="data")]
