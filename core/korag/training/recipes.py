"""Training recipes as data. Four follow published model cards; the others are for small data sets."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from korag.checkpoints.presets import Family
from korag.errors import InvalidArgumentError

Loss = Literal["matryoshka-colbert", "splade", "multiple-negatives", "cached-multiple-negatives"]
DistillLoss = Literal["kl", "margin-mse"]
_FAMILY_OF_LOSS: dict[str, Family] = {
    "matryoshka-colbert": "late_interaction",
    "splade": "sparse",
    "multiple-negatives": "dense",
    "cached-multiple-negatives": "dense",
}
FEWEST_CANDIDATES = 8
"""Minimum number of candidate documents per query and step; with fewer, the loss is nearly uninformative
(`check_recipe`)."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """A low-rank adapter (https://arxiv.org/abs/2106.09685), trained instead of all weights.

    Attributes:
        rank: Rank of the update matrices.
        alpha: Scaling: the update is multiplied by ``alpha / rank``.
        dropout: Dropout on the adapter's input.
        targets: Names of the adapted linear layers; ``("all-linear",)`` for all.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("all-linear",)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training. Change a field with `dataclasses.replace`.

    Attributes:
        name: Name for `finetune` and the command line.
        loss: The loss; it determines the model family.
        learning_rate: Peak learning rate of AdamW; linear decay to 0.
        epochs: Passes over the pairs.
        batch_size: Pairs per step and device.
        scale: Factor of the scores before the softmax: 1 / temperature. About 20 for cosines; 1 for MaxSim and sparse
            dot products, which are sums.
        warmup: Fraction of the steps during which the learning rate rises from 0.
        negatives: Maximum number of hard negatives per query, in addition to in-batch negatives.
        precision: Precision of the forward pass on a GPU: ``"fp16"``, ``"bf16"``, ``"fp32"``, or ``"auto"`` (bf16 if
            the GPU supports it, otherwise fp16). On a CPU: bf16 if it is native, otherwise fp32.
        gradient_checkpointing: Recompute activations in the backward pass to save memory.
        weight_decay: Weight decay of AdamW.
        dims: Matryoshka dimensions (late interaction); empty for the model's own.
        dim_weights: Weight of each dimension's loss; empty for equal weights that sum to 1.
        query_regularizer: Weight of the FLOPS regularizer on queries (SPLADE).
        document_regularizer: Weight of the FLOPS regularizer on documents (SPLADE).
        mini_batch_size: Rows per forward pass of ``"cached-multiple-negatives"``, which determine its memory.
        gather_across_devices: Use the documents of other devices as candidates too (SPLADE and dense).
        lora: Train an adapter instead of all weights (dense).
        distill_loss: With a teacher (`finetune(distill=…)`): ``"kl"`` for the divergence of its distribution over a
            query's candidates, or ``"margin-mse"`` for the squared error of its margins.
        distill_weight: Weight of that loss, from 0 to 1; the recipe's own loss has the rest.
        distill_temperature: Divisor of the teacher's scores; None for 0.05 with cosines of a dense teacher, 1 for other
            scores.
        source: Origin of the values, and which are ours.
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
    distill_loss: DistillLoss = "kl"
    distill_weight: float = 0.5
    distill_temperature: float | None = None
    source: str = "own"

    @property
    def family(self) -> Family:
        """The model family it trains."""
        return _FAMILY_OF_LOSS[self.loss]

    @property
    def temperature(self) -> float:
        """``1 / scale``."""
        return 1 / self.scale

    def as_dict(self) -> dict[str, Any]:
        """Returns the recipe as JSON values."""
        return asdict(self)


_CARD = "model card on the Hub"
_MINI = "for the models bundled with KoRAG: 3.5 M parameters tolerate a learning rate that would ruin a large model"
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
        source="dragonkue/BGE-m3-ko: its card states the model (CLS, normalised, cosine, no prompts) and no training "
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
        name="mini-splade", loss="splade", learning_rate=2e-4, epochs=5, batch_size=16, scale=1.0, negatives=3,
        query_regularizer=3e-4, document_regularizer=3e-4, source=f"ours, {_MINI}",
    ),
    Recipe(
        name="mini-dense", loss="multiple-negatives", learning_rate=5e-4, epochs=10, batch_size=16, scale=20.0,
        negatives=3, source=f"ours, {_MINI}",
    ),
)  # fmt: skip

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ROWS}
"""All recipes by name."""
_SMALL: dict[Family, str] = {"late_interaction": "small-colbert", "sparse": "small-splade", "dense": "small-dense"}


def default_recipe(model: str, family: Family) -> Recipe:
    """Returns the recipe `finetune` uses if none is given.

    It is the family's recipe for small data sets, since the published ones are for hundreds of thousands of pairs; for
    a model bundled with KoRAG, the recipe of the same name.
    """
    return RECIPES[model if model in RECIPES and RECIPES[model].family == family else _SMALL[family]]


def find_recipe(recipe: str | Recipe) -> Recipe:
    """Looks a recipe up by name, if necessary, and checks its values.

    Raises:
        InvalidArgumentError: If the name is unknown, or a value is invalid.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            close = difflib.get_close_matches(recipe, RECIPES, n=1)
            raise InvalidArgumentError(
                f"recipe={recipe!r}은(는) 없는 레시피입니다. 쓸 수 있는 이름: {', '.join(RECIPES)}."
                + (f" 혹시 '{close[0]}'인가요?" if close else ""),
                f"recipe={recipe!r} does not exist; the recipes are: {', '.join(RECIPES)}."
                + (f" Did you mean '{close[0]}'?" if close else ""),
            )
        recipe = RECIPES[recipe]
    if recipe.loss not in _FAMILY_OF_LOSS:
        raise _invalid("loss", recipe.loss, f"one of {', '.join(_FAMILY_OF_LOSS)}")
    if recipe.precision not in ("auto", "bf16", "fp16", "fp32"):
        raise _invalid("precision", recipe.precision, "auto, bf16, fp16 or fp32")
    for name in ("learning_rate", "epochs", "batch_size", "scale", "mini_batch_size"):
        if not getattr(recipe, name) > 0:
            raise _invalid(name, getattr(recipe, name), "> 0")
    for name in ("negatives", "weight_decay", "query_regularizer", "document_regularizer"):
        if not getattr(recipe, name) >= 0:
            raise _invalid(name, getattr(recipe, name), "≥ 0")
    if not 0 <= recipe.warmup < 1:
        raise _invalid("warmup", recipe.warmup, "0 ≤ warmup < 1")
    if recipe.dim_weights and len(recipe.dim_weights) != len(recipe.dims):
        raise _invalid("dim_weights", recipe.dim_weights, f"one weight for each of dims={recipe.dims}")
    if recipe.distill_loss not in ("kl", "margin-mse"):
        raise _invalid("distill_loss", recipe.distill_loss, "kl or margin-mse")
    if not 0 <= recipe.distill_weight <= 1:
        raise _invalid("distill_weight", recipe.distill_weight, "0 ≤ distill_weight ≤ 1")
    if recipe.distill_temperature is not None and not recipe.distill_temperature > 0:
        raise _invalid("distill_temperature", recipe.distill_temperature, "> 0")
    if recipe.lora is not None and recipe.family != "dense":
        raise _invalid("lora", recipe.lora, "None unless the model is dense")
    return recipe


def check_recipe(recipe: Recipe, *, pairs: int | None = None, similarity: str = "cosine") -> list[str]:
    """Finds settings that raise no error but train poorly.

    Args:
        recipe: The recipe.
        pairs: Number of training pairs; None if not known yet.
        similarity: Similarity of a dense model: ``"cosine"`` or ``"dot"``.

    Returns:
        Warnings in Korean and English; empty if there are none.
    """
    warnings = []
    if recipe.family == "dense" and similarity == "cosine" and recipe.scale < 1:
        warnings.append(
            f"scale={recipe.scale:g}이면 코사인(-1~1)에 대한 softmax가 거의 균등해져 학습이 되지 않습니다. 온도를 뜻한 "
            f"값이라면 scale={1 / recipe.scale:g}입니다. / With scale={recipe.scale:g}, the softmax over cosines (−1 "
            f"to 1) is nearly uniform and little is learned; if it was meant as a temperature, use "
            f"scale={1 / recipe.scale:g}."
        )
    batch = recipe.batch_size if pairs is None else min(recipe.batch_size, pairs)
    candidates = batch * (1 + recipe.negatives)
    if candidates < FEWEST_CANDIDATES:
        warnings.append(
            f"질문마다 비교할 문서가 배치에 {candidates}개뿐이라({batch}쌍, 오답 {recipe.negatives}개씩) 손실이 거의 "
            "의미가 없습니다. batch_size나 negatives를 늘리세요. / "
            f"Each query has only {candidates} candidate documents (batch of {batch}, {recipe.negatives} negatives "
            "each), too few for a meaningful loss; raise batch_size or negatives."
        )
    return warnings


def override(recipe: Recipe, **changes: Any) -> Recipe:
    """Returns a checked recipe with the changes that are not None.

    Raises:
        InvalidArgumentError: If a field does not exist, or a value is invalid.
    """
    known = {field.name for field in fields(Recipe)}
    for name in changes:
        if name not in known:
            raise InvalidArgumentError(
                f"레시피에 '{name}' 항목이 없습니다. 쓸 수 있는 항목: {', '.join(sorted(known))}.",
                f"A recipe has no field '{name}'; the fields are: {', '.join(sorted(known))}.",
            )
    return find_recipe(replace(recipe, **{name: value for name, value in changes.items() if value is not None}))


def _invalid(name: str, value: object, rule: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"레시피의 {name}={value!r}은(는) 쓸 수 없습니다. 조건: {rule}.",
        f"The recipe's {name}={value!r} is invalid; it must be {rule}.",
    )
