"""What a training run did and what it was worth, in the terminal, as JSON, and as the model's card."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from korag.training.recipes import Recipe

REPORT = "korag_training.json"
"""The report's name in the model's folder."""


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """A finished training run.

    Attributes:
        output: The model's folder: pass it to `korag.load_encoder`.
        model: What it was trained from.
        recipe: How.
        seed: The seed of everything random.
        train_pairs: Pairs trained on.
        held_out_pairs: Pairs judged by.
        documents: Documents searched when judging.
        steps: Optimizer steps.
        seconds: Of this process, loading and judging included; a resumed run counts what was left.
        ndcg: nDCG@10 on the held-out pairs: ``"bm25"``, ``"before"``, ``"after"``; empty if none were held out.
        warnings: What was found wanting in the recipe.
        resumed_from: The step it was resumed from; None if it ran through.
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

    def to_markdown(self) -> str:
        """Returns the figures as a table."""
        if not self.ndcg:
            return "(따로 둔 쌍 없음 / nothing held out)"
        names = {"bm25": "BM25 (character bigrams)", "before": f"{self.model}, before", "after": "after training"}
        rows = [f"| {names[name]} | {value:.3f} |" for name, value in self.ndcg.items()]
        head = f"| {self.held_out_pairs} held-out pairs, {self.documents} documents | nDCG@10 |"
        return "\n".join([head, "|---|--:|", *rows])

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return asdict(self) | {"output": str(self.output), "recipe": self.recipe.as_dict()}

    def write(self, folder: Path) -> None:
        """Writes ``korag_training.json`` and a short model card into the model's folder."""
        values = self.as_dict() | {"output": None}  # the folder may be moved
        (folder / REPORT).write_text(json.dumps(values, ensure_ascii=False, indent=2), encoding="utf-8")
        kind = {"dense": "sentence-similarity", "sparse": "sparse-encoder", "late_interaction": "colbert"}
        (folder / "README.md").write_text(
            f"---\nlanguage: ko\ntags: [{kind[self.recipe.family]}, korag]\n---\n"
            f"# Fine-tuned from {self.model}\n\n"
            f"Trained by `korag.training.finetune` on {self.train_pairs} pairs, recipe `{self.recipe.name}` "
            f"({self.steps} steps, seed {self.seed}); all settings are in `{REPORT}`.\n\n{self.to_markdown()}\n\n"
            "The licence is that of the model it was trained from and of the training data.\n",
            encoding="utf-8",
        )
