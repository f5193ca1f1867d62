"""The folder of a run that is not finished: what an interrupted `finetune` goes on from."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from korag.encoders.base import Encoder
from korag.errors import IndexStateError
from korag.training.evaluate import mean_ndcg
from korag.training.negatives import mine_negatives
from korag.training.pairs import Pair, key
from korag.training.recipes import Recipe
from korag.training.splits import Split

logger = logging.getLogger("korag")


class RunState:
    """The folder of a run that is not finished: what it is a run of, mined pairs, first figures, checkpoints."""

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
    ) -> Self:
        """Opens the folder beside `target`, or makes it.

        Raises:
            IndexStateError: If it is of another run.
        """
        work = cls(target.with_name(target.name + ".unfinished"))
        described = {
            "model": str(encoder.fingerprint),
            "recipe": recipe.as_dict(),
            "pairs": _digest([(pair.query, pair.positive, pair.negatives) for pair in split.train]),
            "held_out": _digest([(pair.query, pair.positive) for pair in split.held_out]),
            "corpus": _digest(corpus),
            "seed": seed,
            "max_steps": max_steps,
            "mine": mine,
        }
        if restart:
            work.remove()
        if (found := work._read("run.json")) is not None:
            described = json.loads(json.dumps(described))  # tuples are lists there
            differing = [name for name in described if found.get(name) != described[name]]
            if differing:
                raise IndexStateError(
                    f"'{work.folder}'에 다른 학습이 남아 있습니다(다른 것: {', '.join(differing)}). "
                    "그 학습을 이어 가려면 "
                    "같은 인수로 부르고, 버리려면 restart=True를 넣으세요.",
                    f"'{work.folder}' holds another unfinished run (differing: {', '.join(differing)}). Call with the "
                    "same arguments to go on with it, or pass restart=True to drop it.",
                )
        else:
            work.remove()
            work.folder.mkdir(parents=True)
            work._write("run.json", described)
        return work

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
        """The pairs to train on; mined once and kept."""
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
        return [Pair(**(row | {"negatives": tuple(row["negatives"])})) for row in stored["pairs"]]

    def before(
        self, test: tuple[Any, Any, Any], encoder: Encoder[Any], *, show_progress: bool | None
    ) -> dict[str, float]:
        """The first figures, computed once; none where nothing is held out."""
        if not test[0]:
            return {}
        stored = self._read("before.json")
        if stored is None:
            stored = {
                "bm25": mean_ndcg(*test, show_progress=show_progress),
                "before": mean_ndcg(*test, encoder=encoder, show_progress=show_progress),
            }
            self._write("before.json", stored)
        return dict(stored)

    def give_up(self) -> None:
        """After an error: keeps what a later call can go on from, and nothing else."""
        if any(self.folder.glob("checkpoints/checkpoint-*")):
            logger.warning(
                "멈춘 학습은 '%s'에 있습니다. 같은 인수로 다시 부르면 이어 갑니다. / "
                "The unfinished run is in '%s'; the same call goes on with it.",
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
        unfinished = self.folder / (name + ".tmp")
        unfinished.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        unfinished.replace(self.folder / name)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
