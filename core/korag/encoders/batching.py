"""Batches of similar length under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def token_budget_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Groups texts so that each padded batch stays within a budget.

    Longest first, so that running out of memory shows at once. A text longer than the budget is a batch of
    its own.

    Args:
        lengths: Tokens of each text.
        budget: Most tokens of a padded batch: rows × longest row.

    Yields:
        Indices into `lengths`; every index exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        rows = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows
