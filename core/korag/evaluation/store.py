"""Finished runs in a folder, so that an interrupted evaluation continues where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from korag.evaluation.dataset import Dataset
from korag.evaluation.systems import RetrievalRun, System
from korag.logs import logger
from korag.storage import storage_errors, write_text

_FORMAT = 2
"""Raised when runs hold something new; those of another format are not reused."""


class RunStore:
    """Finished runs as JSON files, named after what they depend on: data set, system, depth.

    Args:
        folder: The folder, created by the first save; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, system: System, dataset: Dataset, k: int) -> RetrievalRun | None:
        """Returns the saved run of an equal system on equal data, or None.

        Raises:
            StorageError: If the file cannot be read.
        """
        path = self._path(system, dataset, k)
        if path is None:
            return None
        with storage_errors(path, writing=False):
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
        if text is None:
            return None
        try:
            fields = json.loads(text)
            rankings = {
                query: [(str(id_), float(score)) for id_, score in ranking]
                for query, ranking in fields.pop("rankings").items()
            }
            return RetrievalRun(rankings=rankings, **fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning(
                "'%s'이(가) 손상되어 다시 평가합니다(%s). / The saved run is damaged and will be evaluated again.",
                path, error,
            )  # fmt: skip
            return None

    def save(self, run: RetrievalRun, system: System, dataset: Dataset, k: int) -> None:
        """Saves a run atomically: a kill leaves no partial file.

        Raises:
            StorageFullError: If there is not enough space.
            ReadOnlyError: If the folder may not be written.
        """
        path = self._path(system, dataset, k)
        if path is not None:
            write_text(path, json.dumps(dataclasses.asdict(run), ensure_ascii=False))

    def _path(self, system: System, dataset: Dataset, k: int) -> Path | None:
        if self._folder is None or (identity := system.identity) is None:
            return None
        content = json.dumps([_FORMAT, dataset.fingerprint, identity, k])
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        slug = re.sub(r"[^\w.-]+", "-", system.name).strip("-")[:60]
        return self._folder / "runs" / f"{slug}.{digest}.json"
