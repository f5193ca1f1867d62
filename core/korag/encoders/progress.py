"""Progress bars."""

from __future__ import annotations

import sys
from typing import Any

_SHOW_FROM = 1_000
"""Number of texts above which a bar is shown in a terminal."""


def progress_bar(description: str, total: int | None, *, show: bool | None) -> Any:
    """Returns a tqdm bar.

    Args:
        description: Label.
        total: Number of texts; None if unknown.
        show: Whether to show it; None shows it in a terminal for more than 1,000 texts or an unknown number.
    """
    from tqdm.auto import tqdm

    if show is None:
        show = (total is None or total > _SHOW_FROM) and sys.stderr.isatty()
    return tqdm(total=total, desc=description, disable=not show)
