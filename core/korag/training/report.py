"""Report of a training run: as a table, as JSON, and as a model card."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from korag.storage import write_text
from korag.training.recipes import Recipe

REPORT = "korag_training.json"
"""File name of the report in the model's folder."""


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """A finished training run.

    Attributes:
        output: The model's folder, for `korag.load_encoder`.
        model: The model training started from.
        recipe: The recipe.
        seed: The seed.
        train_pairs: Number of training pairs.
        held_out_pairs: Number of pairs evaluated on.
        documents: Number of documents in the evaluation.
        steps: Optimizer steps.
        seconds: Duration including loading and evaluation; of a resumed run, since it resumed.
        ndcg: nDCG@10 on the held-out pairs: ``"bm25"``, ``"before"``, ``"teacher"`` if it is an encoder, ``"after"``;
            empty if nothing was held out.
        warnings: From `check_recipe`.
        resumed_from: The step the run resumed from; None if it was not interrupted.
        teacher: Name of the teacher; None without one.
    """

    output: Path
    model: str
    recipe: Recipe
    seed: int
    train_pairs: int
    held_out_pairs: int
    documents: int
    steps: int
    seconds: float
    ndcg: dict[str, float]
    warnings: tuple[str, ...] = ()
    resumed_from: int | None = None
    teacher: str | None = None

    def to_markdown(self) -> str:
        """Returns the figures as a Markdown table."""
        if not self.ndcg:
            return "(평가용으로 남긴 쌍 없음 / nothing held out)"
        names = {
            "bm25": "BM25 (character bigrams)",
            "before": f"{self.model}, before",
            "teacher": f"{self.teacher}, the teacher",
            "after": "after training",
        }
        rows = [f"| {names[name]} | {value:.3f} |" for name, value in self.ndcg.items()]
        head = f"| {self.held_out_pairs} held-out pairs, {self.documents} documents | nDCG@10 |"
        return "\n".join([head, "|---|--:|", *rows])

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return asdict(self) | {"output": str(self.output), "recipe": self.recipe.as_dict()}

    def write(self, folder: Path) -> None:
        """Writes ``korag_training.json`` and a short model card.

        Args:
            folder: The model's folder.
        """
        values = self.as_dict() | {"output": None}  # the folder may move
        write_text(folder / REPORT, json.dumps(values, ensure_ascii=False, indent=2))
        kind = {"dense": "sentence-similarity", "sparse": "sparse-encoder", "late_interaction": "colbert"}
        taught = f" with the scores of {self.teacher}" if self.teacher else ""
        write_text(
            folder / "README.md",
            f"---\nlanguage: ko\ntags: [{kind[self.recipe.family]}, korag]\n---\n"
            f"# Fine-tuned from {self.model}\n\n"
            f"Trained by `korag.training.finetune` on {self.train_pairs} pairs{taught}, recipe `{self.recipe.name}` "
            f"({self.steps} steps, seed {self.seed}); all settings are in `{REPORT}`.\n\n{self.to_markdown()}\n\n"
            "Subject to the licences of the original model and of the training data.\n",
        )
