"""The contract of a reader: a file in, texts with their places out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class MissingText:
    """A row of a table with values, but without text where it is looked for.

    Attributes:
        row: Its number, from 1.
        wanted: The columns in which text is looked for, the last of them that of the text.
        others: Its other columns with values, except the id; those whose names are usual for texts first.
    """

    row: int
    wanted: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A text of a file.

    Attributes:
        name: Tells it from the others of its file, for example a row's id; empty for the only one.
        text: The text.
        metadata: Its place, such as ``page``, and other columns of a row. JSON values.
        missing: What is said of a row whose text is missing; None for any other.
    """

    name: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    missing: MissingText | None = None


@dataclass(frozen=True)
class ReadOptions:
    """Settings of a user's about files.

    Attributes:
        text_columns: Columns of tables whose values are the text, joined by line ends; empty for those with a usual
            name.
        id_column: The column that names a row; None for ``_id`` or ``id``, or the row's number.
    """

    text_columns: tuple[str, ...] = ()
    id_column: str | None = None


class Reader(Protocol):
    """Reads one format.

    Attributes:
        suffixes: Ends of file names, lower case.
        packages: Top-level packages it needs.
        extra: The extra of KoRAG that installs them; None if there are none.
    """

    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    extra: str | None

    def read(self, path: Path, options: ReadOptions) -> Iterable[Part]:
        """Returns the texts of a file. They can be gone through again, and may be read only then.

        Raises:
            UnreadableFileError: If it is damaged, protected, or not of this format.
            MissingDependencyError: If a package is missing.
            AccessError: If it may not be read.
        """
        ...
