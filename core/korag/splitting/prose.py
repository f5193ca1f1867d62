"""Prose: paragraphs together, as many as fit."""

from __future__ import annotations

from korag.splitting.dividing import prose_ways
from korag.splitting.sections import Divide, Section, Unit


def prose_sections(text: str, sentences: Divide) -> list[Section]:
    """Returns the text as one section, of paragraphs."""
    return [Section((), (Unit(0, len(text), prose_ways(sentences)),))]
