"""Batches of similar length under a token budget, each made ready while the one before is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Ready = TypeVar("Ready")

_PADDING = 0.05
"""Greatest share of a batch that may be padding."""

_SMALL = 512
"""Tokens of a batch whose fixed costs are not worth dividing it."""


def token_budget_batches(lengths: Sequence[int], budget: int, *, spare: int = 0) -> Iterator[list[int]]:
    """Groups texts so that each padded batch stays within a budget and little of it is padding.

    Longest first, so that running out of memory shows at once. A text longer than the budget is a batch of
    its own.

    Args:
        lengths: Tokens of each text.
        budget: Most tokens of a padded batch: rows × longest row.
        spare: Padding, in tokens, that costs less than one more batch would, so that it is allowed besides a
            twentieth of the batch.

    Yields:
        Indices into `lengths`; every index exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        end, padding = start + 1, 0
        while end < len(order) and (end + 1 - start) * longest <= budget:
            padding += longest - lengths[order[end]]
            if padding > max(spare, _PADDING * (end + 1 - start) * longest):
                break
            end += 1
        yield order[start:end]
        start = end


def even_budget(lengths: Sequence[int], budget: int, cores: int) -> int:
    """A smaller budget that gives every core about as many batches as the others, of about equal size.

    Args:
        lengths: Tokens of each text.
        budget: Most tokens of a padded batch.
        cores: How many compute a batch each at a time.
    """
    total = sum(lengths)
    rounds = -(-total // (budget * cores))
    even = max(_SMALL, -(-total // max(1, rounds * cores)))
    return min(budget, even + -(-total // max(1, len(lengths))) - 1)  # whole texts: rounded up to the next one


def prefetch(items: Sequence[T], make: Callable[[T], Ready]) -> Iterator[tuple[T, Ready]]:
    """Makes something of each item in another thread, one item ahead of whoever consumes it.

    Args:
        items: What to make it of.
        make: Makes it.

    Yields:
        Each item and what was made of it, in order.
    """
    if len(items) < 2:  # a thread would cost more than it saves
        for item in items:
            yield item, make(item)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="korag-tokenizer") as thread:
        following = thread.submit(make, items[0])
        for index, item in enumerate(items):
            ready = following.result()
            if index + 1 < len(items):
                following = thread.submit(make, items[index + 1])
            yield item, ready


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Takes any number of items, `size` at a time."""
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block
