"""Checkpoints that survive a kill: the newest whole one, and what is left of the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

_CHECKPOINT_FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt")


def last_checkpoint(folder: Path) -> Path | None:
    """Returns the newest checkpoint that was written whole; removes those that were not."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    for path in found:
        if _is_whole(path):
            return path
        shutil.rmtree(path)
    return None


def last_checkpoint_step(folder: Path) -> int:
    """Returns the step of the newest whole checkpoint, 0 if there is none; changes nothing."""
    return max((step_of(path) for path in folder.glob("checkpoint-*") if _is_whole(path)), default=0)


def step_of(checkpoint: Path) -> int:
    """The step a checkpoint was taken at."""
    return int(checkpoint.name.rpartition("-")[2])


def is_finished(checkpoint: Path) -> bool:
    """Whether it was taken at the last step: the process was killed between training and saving the model."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def _is_whole(checkpoint: Path) -> bool:
    """The trainer's state is written last, so a checkpoint that has it in full has everything."""
    if not all((checkpoint / name).exists() for name in _CHECKPOINT_FILES):
        return False
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
