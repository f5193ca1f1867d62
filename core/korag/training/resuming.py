"""Training checkpoints: finding the newest complete one after a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

_CHECKPOINT_FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt")


def last_checkpoint(folder: Path) -> Path | None:
    """Returns the newest complete checkpoint, or None; removes newer incomplete ones."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    for path in found:
        if _is_complete(path):
            return path
        shutil.rmtree(path, ignore_errors=True)
    return None


def last_checkpoint_step(folder: Path) -> int:
    """Returns the step of the newest complete checkpoint, or 0; changes nothing."""
    return max((step_of(path) for path in folder.glob("checkpoint-*") if _is_complete(path)), default=0)


def step_of(checkpoint: Path) -> int:
    """Returns the step of a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def is_finished(checkpoint: Path) -> bool:
    """Returns True at the last step: the process was killed after training but before saving the model."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def _is_complete(checkpoint: Path) -> bool:
    """The trainer's state is written last: if it is readable, the checkpoint is complete."""
    if not all((checkpoint / name).exists() for name in _CHECKPOINT_FILES):
        return False
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
