"""Batches of the frameworks: dicts of columns, pandas DataFrames, pyarrow Tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def with_columns(batch: Any, columns: Mapping[str, Any]) -> Any:
    """Returns a batch of the same kind with more columns."""
    if hasattr(batch, "append_column"):  # a Table of pyarrow
        for name, values in columns.items():
            batch = batch.append_column(name, [_plain(values)])
        return batch
    if hasattr(batch, "assign"):  # a DataFrame of pandas
        return batch.assign(**{name: list(values) for name, values in columns.items()})
    return {**batch, **columns}


def _plain(values: Any) -> list[Any]:
    return [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in values]
