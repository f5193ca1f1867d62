"""Errors of the libraries that load and run a checkpoint, as errors of the checkpoint."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from korag.errors import CheckpointError, KoragError

_LONGEST_REPLACEMENT = 1_000
_LONGEST_TEMPLATE = 16_384
"""Bytes; published ones have about one thousand."""


@contextlib.contextmanager
def explained(explain: Callable[[str], CheckpointError]) -> Iterator[None]:
    """Turns whatever the libraries raise inside the block into an error of the checkpoint.

    Args:
        explain: Makes the error from the reason.
    """
    try:
        yield
    except KoragError:
        raise
    except BaseException as error:
        # tokenizers panics, for example where a pattern takes too long; that is no subclass of Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise  # smaller batches help
        raise explain(" ".join(f"{type(error).__name__}: {error}".split())[:500]) from error


def find_growth(tokenizer: Any) -> str | None:
    """Describes rules of a tokenizer that make texts longer without bound; None if it has none.

    Sixty rules that each double a letter, one after the other, would fill all memory with a single word.

    Args:
        tokenizer: Of a loaded model.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    growth = 1
    for rule in _flat(_state(getattr(backend, "normalizer", None))):
        growth *= max(1, len(str(rule.get("content", ""))), len(str(rule.get("prepend", ""))))
    if growth > _LONGEST_REPLACEMENT:
        return f"its tokenizer's normalizer makes texts up to {growth:,} times as long"
    template = len(json.dumps(_state(getattr(backend, "post_processor", None))))
    if template > _LONGEST_TEMPLATE:
        return f"its tokenizer's template has {template:,} bytes; the limit is {_LONGEST_TEMPLATE:,}"
    return None


def _state(part: Any) -> dict[str, Any]:
    """Returns a part of a tokenizer as it is stored in ``tokenizer.json``."""
    return {} if part is None else dict(json.loads(part.__getstate__()))


def _flat(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield rule
    for inner in rule.get("normalizers", ()):
        yield from _flat(inner)
