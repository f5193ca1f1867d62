"""Fine-tuning on one's own (query, positive[, negatives]) pairs (``pip install 'korag[train]'``).

>>> from korag.training import finetune
>>> report = finetune("mini-colbert", "pairs.jsonl", "my-colbert")

Importing this loads no torch; names are imported when they are first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from korag.training.finetuning import finetune
    from korag.training.losses import MatryoshkaColBERTLoss
    from korag.training.negatives import mine_negatives
    from korag.training.pairs import Pair, PairsError, check_pairs, read_pairs
    from korag.training.recipes import RECIPES, LoRA, Recipe, check_recipe
    from korag.training.report import TrainingReport
    from korag.training.saving import merge_adapter
    from korag.training.splits import Split, check_leaks, split_pairs

__all__ = [
    "RECIPES",
    "LoRA",
    "MatryoshkaColBERTLoss",
    "Pair",
    "PairsError",
    "Recipe",
    "Split",
    "TrainingReport",
    "check_leaks",
    "check_pairs",
    "check_recipe",
    "finetune",
    "merge_adapter",
    "mine_negatives",
    "read_pairs",
    "split_pairs",
]

_MODULES = {
    "RECIPES": "recipes",
    "LoRA": "recipes",
    "MatryoshkaColBERTLoss": "losses",
    "Pair": "pairs",
    "PairsError": "pairs",
    "Recipe": "recipes",
    "Split": "splits",
    "TrainingReport": "report",
    "check_leaks": "splits",
    "check_pairs": "pairs",
    "check_recipe": "recipes",
    "finetune": "finetuning",
    "merge_adapter": "saving",
    "mine_negatives": "negatives",
    "read_pairs": "pairs",
    "split_pairs": "splits",
}

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
