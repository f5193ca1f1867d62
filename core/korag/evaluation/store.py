"""Finished runs in a folder, so that an evaluation that was stopped goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
from pathlib import Path

from korag.evaluation.dataset import Dataset
from korag.evaluation.systems import Outcome, System

logger = logging.getLogger("korag")

_FORMAT = 1


class OutcomeStore:
    """One JSON file a finished run, named by what it depends on: data set, system, depth.

    Args:
        folder: Where; made at the first save. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, system: System, dataset: Dataset, k: int) -> Outcome | None:
        """Returns the saved run of an equal system on equal data; None if there is none."""
        path = self._path(system, dataset, k)
        if path is None or not path.is_file():
            return None
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            rankings = {
                query: [(str(id_), float(score)) for id_, score in ranking]
                for query, ranking in fields.pop("rankings").items()
            }
            return Outcome(rankings=rankings, **fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("'%s'이(가) 손상되어 다시 평가합니다(%s). / It is damaged and evaluated again.", path, error)
            return None

    def save(self, outcome: Outcome, system: System, dataset: Dataset, k: int) -> None:
        """Keeps a run; written whole, then renamed, so that a kill leaves no half file."""
        path = self._path(system, dataset, k)
        if path is not None:
            write_whole(path, json.dumps(dataclasses.asdict(outcome), ensure_ascii=False))

    def _path(self, system: System, dataset: Dataset, k: int) -> Path | None:
        if self._folder is None or (identity := system.identity) is None:
            return None
        content = json.dumps([_FORMAT, dataset.fingerprint, identity, k])
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        slug = re.sub(r"[^\w.-]+", "-", system.name).strip("-")[:60]
        return self._folder / "runs" / f"{slug}.{digest}.json"


def write_whole(path: Path, text: str) -> None:
    """Writes a UTF-8 file by renaming a finished one into its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
