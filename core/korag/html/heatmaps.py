"""Texts with marks where they add to a score."""

from __future__ import annotations

from collections.abc import Sequence

from korag.explanations import Heat
from korag.html.fragments import escaped

_LEVELS = 4


def heatmap(text: str, heat: Sequence[Heat], *, span: tuple[int, int] | None = None) -> str:
    """Returns a text with marks: the more a place adds, the stronger its colour and the thicker its line.

    What each adds and matches is in its ``title``.

    Args:
        text: The text.
        heat: Places in it, in order, which do not overlap.
        span: Show this part of it only.
    """
    begin, end = span or (0, len(text))
    greatest = max((place.contribution for place in heat), default=0.0)
    parts, at = ["… " if begin else ""], begin
    for place in heat:
        if place.contribution > 0 and begin <= place.begin and place.end <= end:
            parts += [escaped(text[at : place.begin]), _mark(text[place.begin : place.end], place, greatest)]
            at = place.end
    parts += [escaped(text[at:end]), " …" if end < len(text) else ""]
    return f'<p class="text">{"".join(parts)}</p>'


def _mark(text: str, place: Heat, greatest: float) -> str:
    level = max(1, min(_LEVELS, 1 + int(_LEVELS * place.contribution / greatest - 1e-9)))
    title = f"{place.contribution:.2f} ← {', '.join(place.labels)}"
    return f'<mark class="h{level}" title="{escaped(title)}">{escaped(text)}</mark>'
