"""Batches of the frameworks: dicts of columns, pandas DataFrames, pyarrow Tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from korag.errors import InvalidArgumentError


def column_of(batch: Any, name: str) -> list[Any]:
    """Returns a column of a batch.

    Args:
        batch: A dict of columns, a pandas DataFrame or a pyarrow Table.
        name: Of the column.

    Raises:
        InvalidArgumentError: If there is none.
    """
    names = list(batch.column_names if hasattr(batch, "column_names") else batch.keys())
    if name not in names:
        raise InvalidArgumentError(
            f"'{name}' 열이 없습니다. 있는 열: {', '.join(map(str, names))}.",
            f"There is no column '{name}'; there are: {', '.join(map(str, names))}.",
        )
    column = batch[name]
    for method in ("to_pylist", "tolist"):
        if hasattr(column, method):
            listed: list[Any] = getattr(column, method)()
            return listed
    return list(column)


@dataclass(frozen=True)
class Column:
    """A column to add.

    Attributes:
        values: One for each row.
        kind: Of what they are; pyarrow cannot see it where there are none.
    """

    values: Any
    kind: Literal["string", "binary", "int32", "int32[]", "float32[]"]


def with_columns(batch: Any, columns: Mapping[str, Column]) -> Any:
    """Returns a batch of the same kind with more columns; one that is there already is replaced."""
    if hasattr(batch, "append_column"):  # a Table of pyarrow
        for name, column in columns.items():
            names = batch.column_names
            array = _arrow(column)
            there = name in names
            batch = batch.set_column(names.index(name), name, array) if there else batch.append_column(name, array)
        return batch
    if hasattr(batch, "assign"):  # a DataFrame of pandas
        return batch.assign(**{name: list(column.values) for name, column in columns.items()})
    return {**batch, **{name: column.values for name, column in columns.items()}}


def _arrow(column: Column) -> Any:
    import pyarrow as pa

    kind = column.kind.removesuffix("[]")
    type_ = getattr(pa, kind)()
    values = [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in column.values]
    return pa.array(values, type_ if kind == column.kind else pa.list_(type_))
