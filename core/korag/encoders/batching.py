"""Batching by token budget, and tokenizing one batch ahead of the computation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Result = TypeVar("Result")

_MAX_PADDING = 0.05
"""Maximum fraction of padding in a batch."""

_MIN_BUDGET = 512
"""Tokens below which the fixed cost of another batch outweighs the benefit of splitting."""


def token_budget_batches(lengths: Sequence[int], budget: int, *, spare: int = 0) -> Iterator[list[int]]:
    """Groups texts of similar length into batches within a token budget.

    Longest first, so that a batch that does not fit into memory fails early. A text longer than the budget gets its own
    batch.

    Args:
        lengths: Tokens per text.
        budget: Maximum tokens per padded batch: rows × longest row.
        spare: Padding tokens always allowed, because they cost less than another batch; beyond that, padding may make
            up 5 % of a batch.

    Yields:
        Indices into `lengths`, each exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        end, padding = start + 1, 0
        while end < len(order) and (end + 1 - start) * longest <= budget:
            padding += longest - lengths[order[end]]
            if padding > max(spare, _MAX_PADDING * (end + 1 - start) * longest):
                break
            end += 1
        yield order[start:end]
        start = end


def even_budget(lengths: Sequence[int], budget: int, cores: int) -> int:
    """Reduces a budget so that every core gets about the same number of batches of about the same size.

    Args:
        lengths: Tokens per text.
        budget: Maximum tokens per padded batch.
        cores: Number of batches computed side by side.
    """
    total = sum(lengths)
    rounds = -(-total // (budget * cores))
    even = max(_MIN_BUDGET, -(-total // max(1, rounds * cores)))
    return min(budget, even + -(-total // max(1, len(lengths))) - 1)  # room for one more text, as texts are not split


def prefetch(items: Sequence[T], make: Callable[[T], Result]) -> Iterator[tuple[T, Result]]:
    """Computes a function of each item in a background thread, one item ahead of the consumer.

    Args:
        items: The items.
        make: The function.

    Yields:
        Each item with its result, in order.
    """
    if len(items) < 2:  # a thread would cost more than it saves
        for item in items:
            yield item, make(item)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="korag-tokenizer") as thread:
        upcoming = thread.submit(make, items[0])
        for index, item in enumerate(items):
            result = upcoming.result()
            if index + 1 < len(items):
                upcoming = thread.submit(make, items[index + 1])
            yield item, result


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of `size` items; the last one may be shorter."""
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block
