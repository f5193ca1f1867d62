"""State of an unfinished `finetune`, kept in a folder so that it can resume."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from korag.encoders.base import Encoder
from korag.errors import IndexStateError
from korag.logs import logger
from korag.storage import write_text
from korag.training.evaluate import mean_ndcg
from korag.training.negatives import mine_negatives
from korag.training.pairs import Pair, key
from korag.training.recipes import Recipe
from korag.training.resuming import last_checkpoint
from korag.training.splits import Split
from korag.training.teachers import Teacher, taught_scores


class RunState:
    """Folder of an unfinished run: its arguments, mined pairs, baseline figures and checkpoints.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(
        cls,
        target: Path,
        encoder: Encoder[Any],
        recipe: Recipe,
        split: Split,
        corpus: list[str],
        seed: int,
        max_steps: int | None,
        *,
        restart: bool,
        mine: bool,
        teacher: Teacher | None = None,
    ) -> Self:
        """Opens or creates the folder ``<target>.unfinished``.

        Args:
            target: The model's folder.
            encoder: The model to train.
            recipe: The recipe.
            split: The pairs.
            corpus: Further documents.
            seed: The seed.
            max_steps: Maximum number of optimizer steps.
            restart: Discard what is in the folder.
            mine: Mine negatives.
            teacher: The teacher, if any.

        Raises:
            IndexStateError: If the folder belongs to a run with other arguments.
            StorageError: If the folder cannot be written.
        """
        state = cls(target.with_name(target.name + ".unfinished"))
        arguments = {
            "model": str(encoder.fingerprint),
            "recipe": recipe.as_dict(),
            "pairs": _digest([(pair.query, pair.positive, pair.negatives, pair.scores) for pair in split.train]),
            "held_out": _digest([(pair.query, pair.positive) for pair in split.held_out]),
            "corpus": _digest(corpus),
            "seed": seed,
            "max_steps": max_steps,
            "mine": mine,
            "distill": None if teacher is None else teacher.identity,
        }
        if restart:
            state.remove()
        if (found := state._read("run.json")) is not None:
            arguments = json.loads(json.dumps(arguments))  # turns tuples into lists, as in `found`
            differing = [name for name in arguments if found.get(name) != arguments[name]]
            if differing:
                raise IndexStateError(
                    f"'{state.folder}'에 끝나지 않은 다른 학습이 있습니다(다른 항목: {', '.join(differing)}). "
                    "이어서 하려면 같은 인수로 호출하고, 버리려면 restart=True를 지정하세요.",
                    f"'{state.folder}' holds another unfinished run (differing: {', '.join(differing)}). Call with the "
                    "same arguments to resume it, or pass restart=True to discard it.",
                )
        else:
            state.remove()
            try:
                state._write("run.json", arguments)
            except BaseException:
                state.remove()
                raise
        return state

    def training_pairs(
        self,
        split: Split,
        encoder: Encoder[Any],
        recipe: Recipe,
        corpus: list[str],
        *,
        mine: bool,
        show_progress: bool | None,
    ) -> Sequence[Pair]:
        """Returns the pairs to train on; negatives are mined once and stored."""
        if not mine or recipe.negatives == 0:
            return split.train
        stored = self._read("mined.json")
        if stored is None:
            gold = {key(pair.positive) for pair in split.held_out}
            mined = mine_negatives(
                split.train, encoder, n=recipe.negatives, corpus=[text for text in corpus if key(text) not in gold],
                show_progress=show_progress,
            )  # fmt: skip
            self._write("mined.json", {"pairs": [asdict(pair) for pair in mined]})
            return mined
        return [Pair(**(row | {name: tuple(row[name]) for name in ("negatives", "scores")})) for row in stored["pairs"]]

    def taught_scores(
        self, teacher: Teacher, pairs: Sequence[Pair], columns: Mapping[str, list[str]]
    ) -> list[list[float]]:
        """Returns the teacher's scores of every candidate; computed once and stored."""
        stored = self._read("taught.json")
        if stored is None:
            stored = {"scores": taught_scores(teacher, pairs, columns)}
            self._write("taught.json", stored)
        scores: list[list[float]] = stored["scores"]
        return scores

    def baselines(
        self,
        test: tuple[Any, Any, Any],
        encoder: Encoder[Any],
        teacher: Encoder[Any] | None = None,
        *,
        show_progress: bool | None,
    ) -> dict[str, float]:
        """Returns nDCG@10 of BM25, of the untrained model, and of the teacher if it is an encoder.

        Computed once; empty if nothing is held out.
        """
        if not test[0]:
            return {}
        stored = self._read("before.json")
        if stored is None:
            stored = {
                "bm25": mean_ndcg(*test, show_progress=show_progress),
                "before": mean_ndcg(*test, encoder=encoder, show_progress=show_progress),
            }
            if teacher is not None:
                stored["teacher"] = mean_ndcg(*test, encoder=teacher, show_progress=show_progress)
            self._write("before.json", stored)
        return dict(stored)

    def keep_or_remove(self) -> None:
        """After an error: keeps the folder if there is a checkpoint to resume from, otherwise removes it."""
        if last_checkpoint(self.folder / "checkpoints") is not None:
            logger.warning(
                "중단된 학습이 '%s'에 있습니다. 같은 인수로 다시 호출하면 이어서 학습합니다. / "
                "The unfinished run is in '%s'; the same call resumes it.",
                self.folder, self.folder,
            )  # fmt: skip
        else:
            self.remove()

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        try:
            value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return value

    def _write(self, name: str, value: dict[str, Any]) -> None:
        write_text(self.folder / name, json.dumps(value, ensure_ascii=False))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
