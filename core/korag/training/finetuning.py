"""`finetune`: from pairs to a model folder, with the figures before and after."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from korag.encoders.load import load_encoder
from korag.encoders.pretrained import PretrainedEncoder
from korag.text import check_texts
from korag.training.evaluate import held_out_set, mean_ndcg
from korag.training.pairs import Pair, check_pairs, read_pairs
from korag.training.recipes import Recipe, check_recipe, default_recipe, find_recipe
from korag.training.report import TrainingReport
from korag.training.run_state import RunState
from korag.training.saving import atomic_folder, check_new, save_model
from korag.training.splits import Split, check_leaks, split_pairs
from korag.training.trainer import check_installed, load_trainable, train

logger = logging.getLogger("korag")
PairsLike = str | os.PathLike[str] | Sequence[Pair | tuple[Any, ...]]


def finetune(
    model: str | os.PathLike[str],
    pairs: PairsLike,
    output: str | os.PathLike[str],
    *,
    recipe: str | Recipe | None = None,
    held_out: float | PairsLike = 0.2,
    mine: bool = False,
    corpus: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    strict: bool = True,
    seed: int = 13,
    max_steps: int | None = None,
    restart: bool = False,
    show_progress: bool | None = None,
    **options: Any,
) -> TrainingReport:
    """Fine-tunes a retrieval model on pairs and saves it where `korag.load_encoder` reads it.

    The pairs are checked, split by document and judged with before anything is trained. Checkpoints are kept in
    ``<output>.unfinished``: after a kill, the same call goes on from the last one and ends with the model it would
    have ended with. `output` appears when it is whole; the unfinished folder is then removed.

    Args:
        model: Name or path, as for `load_encoder`. Late interaction with Matryoshka heads: all heads are trained.
        pairs: A JSONL, CSV or parquet file (see `read_pairs`), or the pairs themselves.
        output: Folder to make; must not exist.
        recipe: A recipe or its name (`RECIPES`); None for the one of `default_recipe`.
        held_out: Part of the pairs to judge by, split by document; or a file or pairs of their own; 0 for none.
        mine: Fill up each training pair's negatives to the recipe's number (`mine_negatives`), from the training
            documents and `corpus`.
        corpus: More documents of the domain: mined from, and distractors when judging.
        columns: Column names of the pairs' files, as for `read_pairs`.
        strict: Whether a problem in the pairs is an error; if not, such pairs are left out.
        seed: Of the split, the order, dropout and new weights.
        max_steps: Stop after so many optimizer steps.
        restart: Begin at the beginning whatever is in ``<output>.unfinished``.
        show_progress: Show bars; None shows them in a terminal.
        options: Of `load_encoder`: ``device``, ``revision``, ``query_prompt``, ``max_length``, ``token`` …

    Returns:
        What was done, and nDCG@10 on the held-out pairs of BM25, before and after.

    Raises:
        PairsError: If anything is wrong with the pairs, or held-out ones leak into training.
        InvalidArgumentError: If `output` exists or an argument is outside its rule.
        WrongFamilyError: If the recipe is for another family than the model's.
        MissingDependencyError: If the extra ``train`` is not installed.
        IndexStateError: If ``<output>.unfinished`` is of another run.
    """
    started = time.monotonic()
    target = check_new(output)
    chosen = None if recipe is None else find_recipe(recipe)
    encoder: PretrainedEncoder[Any] = load_encoder(model, family=chosen.family if chosen else None, **options)
    chosen = default_recipe(encoder.model_name, encoder.family) if chosen is None else chosen
    check_installed(chosen)
    documents = check_texts(corpus, "corpus")
    split = _split(pairs, held_out, columns, seed, strict=strict)
    warnings = check_recipe(chosen, pairs=len(split.train), similarity=encoder.similarity)
    for warning in warnings:
        logger.warning("%s", warning)
    work = RunState.open(target, encoder, chosen, split, documents, seed, max_steps, restart=restart, mine=mine)
    try:
        trained_on = work.training_pairs(split, encoder, chosen, documents, mine=mine, show_progress=show_progress)
        test = held_out_set(split.held_out, trained_on, corpus=documents)
        ndcg = work.before(test, encoder, show_progress=show_progress)
        finished, outcome = _train(encoder, trained_on, chosen, work.folder, seed, max_steps, show_progress)
        with atomic_folder(target) as unfinished:
            save_model(finished, unfinished, encoder)
            del finished
            if ndcg:
                after = load_encoder(unfinished, **{k: v for k, v in options.items() if k in ("device", "dtype")})
                ndcg["after"] = mean_ndcg(*test, encoder=after, show_progress=show_progress)
            report = TrainingReport(
                output=target,
                model=encoder.model_name,
                recipe=chosen,
                seed=seed,
                train_pairs=len(trained_on),
                held_out_pairs=len(split.held_out),
                documents=len(test[2]),
                steps=outcome.steps,
                seconds=round(time.monotonic() - started, 1),
                ndcg={name: round(value, 4) for name, value in ndcg.items()},
                warnings=tuple(warnings),
                resumed_from=outcome.resumed_from,
            )
            report.write(unfinished)
    except BaseException:
        work.give_up()
        raise
    work.remove()
    return report


def _split(
    pairs: PairsLike, held_out: float | PairsLike, columns: Mapping[str, str] | None, seed: int, *, strict: bool
) -> Split:
    checked = _load(pairs, columns, strict=strict)
    if isinstance(held_out, int | float):
        return split_pairs(checked, held_out=held_out, seed=seed)
    judged = _load(held_out, columns, strict=strict)
    check_leaks(checked, judged)
    return Split(tuple(checked), tuple(judged))


def _load(pairs: PairsLike, columns: Mapping[str, str] | None, *, strict: bool) -> list[Pair]:
    if isinstance(pairs, str | os.PathLike):
        return read_pairs(pairs, columns=columns, strict=strict)
    return check_pairs(pairs, strict=strict)


def _train(
    encoder: PretrainedEncoder[Any],
    pairs: Sequence[Pair],
    recipe: Recipe,
    folder: Path,
    seed: int,
    max_steps: int | None,
    show_progress: bool | None,  # noqa: FBT001 (private)
) -> tuple[Any, Any]:
    from transformers import set_seed

    from korag.training.losses import make_loss

    set_seed(seed)
    model = load_trainable(encoder, recipe)
    outcome = train(
        model,
        make_loss(model, recipe, similarity=encoder.similarity),
        pairs,
        recipe,
        folder=folder / "checkpoints",
        prompts={"query": encoder.prompts["query"], "document": encoder.prompts["document"]},
        seed=seed,
        device=str(model.device),
        max_steps=max_steps,
        show_progress=show_progress,
    )
    return model.eval(), outcome
