"""The splitters, by name. Apart from them, since ``korag --help`` names them without loading any."""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["statutes", "markdown", "html", "table", "code", "prose"]
"""A splitter."""
KINDS: tuple[Kind, ...] = ("statutes", "markdown", "html", "table", "code", "prose")
