"""Recipes: how a model is trained, as data. Four follow the published cards; the rest are for small data."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from korag.checkpoints.presets import Family
from korag.errors import InvalidArgumentError

Loss = Literal["matryoshka-colbert", "splade", "multiple-negatives", "cached-multiple-negatives"]
_FAMILY_OF_LOSS: dict[str, Family] = {
    "matryoshka-colbert": "late_interaction",
    "splade": "sparse",
    "multiple-negatives": "dense",
    "cached-multiple-negatives": "dense",
}
FEWEST_CANDIDATES = 8
"""Documents a query must be told from in a step; with fewer, the loss says little (`check_recipe`)."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """A low-rank adapter (https://arxiv.org/abs/2106.09685) in place of training every weight.

    Attributes:
        rank: Rank of the update matrices.
        alpha: The update is scaled by ``alpha / rank``.
        dropout: Dropout before the update.
        targets: Names of the linear layers that get one; ``("all-linear",)`` for all.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("all-linear",)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. Change a field with `dataclasses.replace`.

    Attributes:
        name: What `finetune` and the command line call it.
        loss: What is minimised; it decides the family.
        learning_rate: Peak learning rate of AdamW; linear decay to 0.
        epochs: Passes over the pairs.
        batch_size: Pairs a step, on each device.
        scale: What scores are multiplied by before the softmax: 1 / temperature. Cosines need about 20;
            MaxSim and sparse dot products are sums, and 1 suits them.
        warmup: Part of all steps during which the learning rate rises from 0.
        negatives: Hard negatives a query, at most; the rest of the candidates are the batch's.
        precision: Of the forward pass on a GPU: ``"fp16"``, ``"bf16"``, ``"fp32"``, or ``"auto"`` (bf16 where the
            device computes in it, otherwise fp16 on a GPU). On a CPU: bf16 where it is native, otherwise fp32.
        gradient_checkpointing: Compute activations twice to hold fewer.
        weight_decay: AdamW's, for matrices.
        dims: Matryoshka dimensions (late interaction); empty for those the model has.
        dim_weights: Weight of each dimension's loss; empty for equal ones that sum to 1.
        query_regularizer: Weight of FLOPS on queries (SPLADE).
        document_regularizer: Weight of FLOPS on documents (SPLADE).
        mini_batch_size: Rows of one forward pass of ``"cached-multiple-negatives"``; memory depends on it alone.
        gather_across_devices: Other devices' documents are candidates too (SPLADE and dense).
        lora: An adapter instead of all weights (dense).
        source: Where the values come from, and which are ours.
    """

    name: str
    loss: Loss
    learning_rate: float
    epochs: float
    batch_size: int
    scale: float
    warmup: float = 0.1
    negatives: int = 0
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_checkpointing: bool = False
    weight_decay: float = 0.0
    dims: tuple[int, ...] = ()
    dim_weights: tuple[float, ...] = ()
    query_regularizer: float = 0.0
    document_regularizer: float = 0.0
    mini_batch_size: int = 32
    gather_across_devices: bool = False
    lora: LoRA | None = None
    source: str = "own"

    @property
    def family(self) -> Family:
        """The family it trains."""
        return _FAMILY_OF_LOSS[self.loss]

    @property
    def temperature(self) -> float:
        """``1 / scale``."""
        return 1 / self.scale

    def as_dict(self) -> dict[str, Any]:
        """Returns the recipe as JSON values."""
        return asdict(self)


_CARD = "model card (MODELS.md)"
_MINI = "for the models that ship with KoRAG: 3.5 M parameters bear a rate that would undo a large model"
_ROWS = (
    Recipe(
        name="colbert-ko-0.1b", loss="matryoshka-colbert", learning_rate=1e-5, epochs=2, batch_size=64, scale=1.0,
        warmup=0.1, negatives=1, precision="fp16", gradient_checkpointing=True, dims=(32, 64, 96, 128),
        dim_weights=(0.25, 0.25, 0.25, 0.25),
        source=f"dragonkue/colbert-ko-0.1b, {_CARD}; all fields from the card",
    ),
    Recipe(
        name="splade-ko-v1", loss="splade", learning_rate=2e-5, epochs=2, batch_size=16, scale=1.0, warmup=0.1,
        negatives=6, precision="bf16", query_regularizer=5e-5, document_regularizer=3e-5, gather_across_devices=True,
        source=f"yjoonjang/splade-ko-v1, {_CARD}; batch size, warm-up and FLOPS weights are ours (the weights are the "
        "example values of sentence-transformers' SpladeLoss)",
    ),
    Recipe(
        name="bge-m3-ko", loss="cached-multiple-negatives", learning_rate=1e-5, epochs=1, batch_size=256, scale=50.0,
        warmup=0.1, negatives=1, precision="auto", gradient_checkpointing=False, mini_batch_size=16,
        gather_across_devices=True,
        source="dragonkue/BGE-m3-ko: MODELS.md states the model (CLS, normalised, cosine, no prompts) and no training "
        "settings; learning rate, one epoch and temperature 0.02 are those of FlagEmbedding's fine-tuning example for "
        "BGE-M3, the rest is ours",
    ),
    Recipe(
        name="legal-lora", loss="multiple-negatives", learning_rate=2e-4, epochs=1, batch_size=4, scale=20.0,
        warmup=0.1, precision="fp16", lora=LoRA(),
        source=f"legal LoRA model on jhgan/ko-sroberta-multitask, {_CARD}: the card's \"scale 0.05\" is read as a "
        "temperature, i.e. scale 20; learning rate, warm-up and adapter shape are ours. Batch 4 is the card's, and "
        "too small: raise it",
    ),
    Recipe(
        name="small-colbert", loss="matryoshka-colbert", learning_rate=2e-5, epochs=5, batch_size=16, scale=1.0,
        negatives=3, source="ours, for tens to thousands of pairs on a model of base or large size; not measured",
    ),
    Recipe(
        name="small-splade", loss="splade", learning_rate=2e-5, epochs=5, batch_size=16, scale=1.0, negatives=3,
        query_regularizer=5e-5, document_regularizer=3e-5,
        source="ours, for tens to thousands of pairs on a model of base or large size; not measured",
    ),
    Recipe(
        name="small-dense", loss="multiple-negatives", learning_rate=2e-5, epochs=5, batch_size=16, scale=20.0,
        negatives=3, source="ours, for tens to thousands of pairs on a model of base or large size; not measured",
    ),
    Recipe(
        name="mini-colbert", loss="matryoshka-colbert", learning_rate=5e-4, epochs=10, batch_size=16, scale=1.0,
        negatives=3, source=f"ours, {_MINI}",
    ),
    Recipe(
        name="mini-splade", loss="splade", learning_rate=5e-4, epochs=10, batch_size=16, scale=1.0, negatives=3,
        query_regularizer=3e-4, document_regularizer=3e-4, source=f"ours, {_MINI}",
    ),
    Recipe(
        name="mini-dense", loss="multiple-negatives", learning_rate=5e-4, epochs=10, batch_size=16, scale=20.0,
        negatives=3, source=f"ours, {_MINI}",
    ),
)  # fmt: skip

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ROWS}
"""Every recipe by name."""
_SMALL: dict[Family, str] = {"late_interaction": "small-colbert", "sparse": "small-splade", "dense": "small-dense"}


def default_recipe(model: str, family: Family) -> Recipe:
    """Returns what `finetune` takes where no recipe is named.

    The published ones are for hundreds of thousands of pairs; so it is the family's own for small data, and for a
    model that ships with KoRAG the recipe of its name.
    """
    return RECIPES[model if model in RECIPES and RECIPES[model].family == family else _SMALL[family]]


def find_recipe(recipe: str | Recipe) -> Recipe:
    """Returns the recipe an argument means, its values checked.

    Raises:
        InvalidArgumentError: If the name is unknown, or a value is outside its rule.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            close = difflib.get_close_matches(recipe, RECIPES, n=1)
            raise InvalidArgumentError(
                f"recipe={recipe!r}은(는) 없습니다. 있는 것: {', '.join(RECIPES)}."
                + (f" 혹시 '{close[0]}'인가요?" if close else ""),
                f"recipe={recipe!r} does not exist; there are: {', '.join(RECIPES)}."
                + (f" Did you mean '{close[0]}'?" if close else ""),
            )
        recipe = RECIPES[recipe]
    if recipe.loss not in _FAMILY_OF_LOSS:
        raise _wrong("loss", recipe.loss, f"one of {', '.join(_FAMILY_OF_LOSS)}")
    if recipe.precision not in ("auto", "bf16", "fp16", "fp32"):
        raise _wrong("precision", recipe.precision, "auto, bf16, fp16 or fp32")
    for name in ("learning_rate", "epochs", "batch_size", "scale", "mini_batch_size"):
        if not getattr(recipe, name) > 0:
            raise _wrong(name, getattr(recipe, name), "> 0")
    for name in ("negatives", "weight_decay", "query_regularizer", "document_regularizer"):
        if not getattr(recipe, name) >= 0:
            raise _wrong(name, getattr(recipe, name), "≥ 0")
    if not 0 <= recipe.warmup < 1:
        raise _wrong("warmup", recipe.warmup, "0 ≤ warmup < 1")
    if recipe.dim_weights and len(recipe.dim_weights) != len(recipe.dims):
        raise _wrong("dim_weights", recipe.dim_weights, f"one weight for each of dims={recipe.dims}")
    if recipe.lora is not None and recipe.family != "dense":
        raise _wrong("lora", recipe.lora, "None unless the model is dense")
    return recipe


def check_recipe(recipe: Recipe, *, pairs: int | None = None, similarity: str = "cosine") -> list[str]:
    """Finds settings that run without an error and train badly.

    Args:
        recipe: The recipe.
        pairs: Training pairs there are; None if that is not known yet.
        similarity: Of a dense model: ``"cosine"`` or ``"dot"``.

    Returns:
        One warning each, in Korean and English; none where all is well.
    """
    warnings = []
    if recipe.family == "dense" and similarity == "cosine" and recipe.scale < 1:
        warnings.append(
            f"scale={recipe.scale:g}이면 코사인 점수(-1~1)가 거의 평평해져 학습되지 않습니다. 온도를 넣으려던 것이라면 "
            f"scale={1 / recipe.scale:g}입니다. / With scale={recipe.scale:g} cosines (−1 to 1) stay nearly flat under "
            f"the softmax and little is learnt; if it was meant as a temperature, that is scale={1 / recipe.scale:g}."
        )
    batch = recipe.batch_size if pairs is None else min(recipe.batch_size, pairs)
    candidates = batch * (1 + recipe.negatives)
    if candidates < FEWEST_CANDIDATES:
        warnings.append(
            f"한 질의가 구별할 문서가 배치에 {candidates}개뿐이라({batch}쌍, 오답 {recipe.negatives}개씩) "
            "손실이 거의 의미가 없습니다. 배치나 오답 수를 늘리세요. / "
            f"A query is told from {candidates} documents only (batch of {batch}, {recipe.negatives} negatives "
            "each), too few for the loss to mean much; raise batch_size or negatives."
        )
    return warnings


def override(recipe: Recipe, **changes: Any) -> Recipe:
    """Returns the recipe with the changes that are not None, checked.

    Raises:
        InvalidArgumentError: If a field does not exist, or a value is outside its rule.
    """
    from dataclasses import replace

    known = {field.name for field in fields(Recipe)}
    for name in changes:
        if name not in known:
            raise InvalidArgumentError(
                f"레시피에 '{name}' 항목이 없습니다. 있는 것: {', '.join(sorted(known))}.",
                f"A recipe has no field '{name}'; it has: {', '.join(sorted(known))}.",
            )
    return find_recipe(replace(recipe, **{name: value for name, value in changes.items() if value is not None}))


def _wrong(name: str, value: object, rule: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"레시피의 {name}={value!r}은(는) 쓸 수 없습니다. 규칙: {rule}.",
        f"The recipe's {name}={value!r} is not possible; the rule: {rule}.",
    )
