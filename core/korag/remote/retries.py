"""When a request is tried again, and after how long."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Mapping

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another attempt may cure; vectors are the same however often they are asked for."""
LONGEST_WAIT = 60.0
"""Seconds. A server that says more is not waited for."""
_FIRST, _LONGEST = 0.5, 20.0


def pause(attempt: int) -> float:
    """Returns seconds to wait after an attempt, from 0: doubling, and shortened at random so that clients part."""
    longest = min(_LONGEST, _FIRST * float(2**attempt))
    return longest * random.uniform(0.5, 1)  # noqa: S311 (no secret)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a server says to wait, given as such or as a date; None if it does not say."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, float(date.timestamp()) - time.time())
    except ValueError:
        return None
