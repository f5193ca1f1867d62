"""`finetune`: trains a model on pairs and evaluates it before and after."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from korag.checkpoints.checkpoint import check_trainable
from korag.encoders.load import load_encoder
from korag.encoders.pretrained import PretrainedEncoder
from korag.errors import InvalidArgumentError
from korag.keywords import checks_call
from korag.logs import logger
from korag.paths import check_new_folder
from korag.storage import atomic_folder, storage_errors
from korag.text import check_texts
from korag.training.columns import to_columns
from korag.training.evaluate import held_out_set, mean_ndcg
from korag.training.pairs import Pair
from korag.training.reading import check_pairs, read_pairs
from korag.training.recipes import Recipe, check_recipe, default_recipe, find_recipe
from korag.training.report import TrainingReport
from korag.training.run_state import RunState
from korag.training.saving import save_model
from korag.training.splits import Split, check_leaks, split_pairs
from korag.training.teachers import Teacher, TeacherLike, check_candidates, open_teacher
from korag.training.trainer import TrainResult, check_installed, load_trainable, train

PairsLike = str | os.PathLike[str] | Sequence[Pair | tuple[Any, ...]]


@checks_call
def finetune(
    model: str | os.PathLike[str],
    pairs: PairsLike,
    output: str | os.PathLike[str],
    *,
    recipe: str | Recipe | None = None,
    held_out: float | PairsLike = 0.2,
    mine: bool = False,
    distill: TeacherLike | None = None,
    corpus: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    strict: bool = True,
    seed: int = 13,
    max_steps: int | None = None,
    restart: bool = False,
    show_progress: bool | None = None,
    **options: Any,
) -> TrainingReport:
    """Fine-tunes a retrieval model on pairs and saves it for `korag.load_encoder`.

    The pairs are checked and split by document, and the model is evaluated, before training begins. Checkpoints are
    kept in ``<output>.unfinished``: after a kill, the same call resumes from the last one and ends with the same model
    as an uninterrupted run. `output` appears once it is complete; the unfinished folder is then removed.

    Args:
        model: Name or path, as for `load_encoder`. All Matryoshka heads of a late-interaction model are trained.
        pairs: The pairs, or a JSONL, CSV or parquet file of them (see `read_pairs`).
        output: Folder to create; must not exist.
        recipe: A recipe or its name (`RECIPES`); None for `default_recipe`.
        held_out: Fraction of the pairs to evaluate on, split by document; or separate pairs or a file of them; 0 for
            none.
        mine: Fill up each training pair's negatives to the recipe's number (`mine_negatives`), from the training
            documents and `corpus`.
        distill: A teacher, whose scores of each query's positive and negatives are learned too: an encoder of any
            family or a cross-encoder, by name, path or loaded; a function from a query and a list of documents to a
            score each; or ``"scores"`` for those of the pairs (`Pair.scores`). The recipe's ``distill_loss``,
            ``distill_weight`` and ``distill_temperature`` say how.
        corpus: More documents of the domain, for mining and as distractors in the evaluation.
        columns: Column names of the pairs' files, as for `read_pairs`.
        strict: Treat problems in the pairs as errors; otherwise such pairs are left out.
        seed: Seed of the split, the order, dropout and new weights.
        max_steps: Stop after this many optimizer steps; None for the recipe's epochs.
        restart: Discard ``<output>.unfinished`` and start from scratch.
        show_progress: Show progress bars; None shows them in a terminal.
        options: Keywords of `load_encoder`: ``device``, ``revision``, ``query_prompt``, ``max_length``, ``token`` …

    Returns:
        A report with nDCG@10 on the held-out pairs for BM25, for the model before and after training, and for the
        teacher if it is an encoder.

    Raises:
        PairsError: If the pairs have problems, or held-out ones leak into training.
        InvalidArgumentError: If `output` exists or an argument is invalid; or with `distill`, if no query has a
            negative, or the recipe's loss is ``"cached-multiple-negatives"``.
        WrongFamilyError: If the recipe is for another model family.
        MissingDependencyError: If the extra ``train`` is not installed.
        IndexStateError: If ``<output>.unfinished`` belongs to a different run.
        StorageFullError: If there is not enough space. What was trained up to the last checkpoint is kept, and the
            same call resumes it.
        ReadOnlyError: If `output` may not be written.
    """
    started = time.monotonic()
    target = check_new_folder("output", output)
    chosen = None if recipe is None else find_recipe(recipe)
    encoder: PretrainedEncoder[Any] = load_encoder(model, family=chosen.family if chosen else None, **options)
    check_trainable(encoder.checkpoint)
    chosen = default_recipe(encoder.model_name, encoder.family) if chosen is None else chosen
    check_installed(chosen)
    teacher = None if distill is None else _open_teacher(distill, chosen, options)
    documents = check_texts(corpus, "corpus")
    split = _split(pairs, held_out, columns, seed, strict=strict)
    if distill is not None:
        check_candidates(distill, split.train, chosen.negatives, mine=mine)
    warnings = check_recipe(chosen, pairs=len(split.train), similarity=encoder.similarity)
    for warning in warnings:
        logger.warning("%s", warning)
    state = RunState.open(
        target, encoder, chosen, split, documents, seed, max_steps, restart=restart, mine=mine,
        teacher=teacher,
    )  # fmt: skip
    try:
        trained_on = state.training_pairs(split, encoder, chosen, documents, mine=mine, show_progress=show_progress)
        test = held_out_set(split.held_out, trained_on, corpus=documents)
        taught_by = None if teacher is None else teacher.encoder
        ndcg = state.baselines(test, encoder, taught_by, show_progress=show_progress)
        with storage_errors(state.folder, writing=True):
            finished, result = _train(encoder, teacher, trained_on, chosen, state, seed, max_steps, show_progress)
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
                steps=result.steps,
                seconds=round(time.monotonic() - started, 1),
                ndcg={name: round(value, 4) for name, value in ndcg.items()},
                warnings=tuple(warnings),
                resumed_from=result.resumed_from,
                teacher=None if teacher is None else teacher.name,
            )
            report.write(unfinished)
    except BaseException:
        state.keep_or_remove()
        raise
    state.remove()
    return report


def _split(
    pairs: PairsLike, held_out: float | PairsLike, columns: Mapping[str, str] | None, seed: int, *, strict: bool
) -> Split:
    checked = _load(pairs, columns, strict=strict)
    if isinstance(held_out, int | float):
        return split_pairs(checked, held_out=held_out, seed=seed)
    evaluated = _load(held_out, columns, strict=strict)
    check_leaks(checked, evaluated)
    return Split(tuple(checked), tuple(evaluated))


def _load(pairs: PairsLike, columns: Mapping[str, str] | None, *, strict: bool) -> list[Pair]:
    if isinstance(pairs, str | os.PathLike):
        return read_pairs(pairs, columns=columns, strict=strict)
    return check_pairs(pairs, strict=strict)


def _open_teacher(distill: TeacherLike, recipe: Recipe, options: Mapping[str, Any]) -> Teacher:
    if recipe.loss == "cached-multiple-negatives":
        raise InvalidArgumentError(
            f"레시피 '{recipe.name}'의 loss='cached-multiple-negatives'로는 증류할 수 없습니다. "
            "loss='multiple-negatives'로 바꾸세요.",
            f"The recipe '{recipe.name}' cannot distill with loss='cached-multiple-negatives'; use "
            "loss='multiple-negatives'.",
        )
    return open_teacher(distill, **{name: options[name] for name in ("device", "token") if name in options})


def _train(
    encoder: PretrainedEncoder[Any],
    teacher: Teacher | None,
    pairs: Sequence[Pair],
    recipe: Recipe,
    state: RunState,
    seed: int,
    max_steps: int | None,
    show_progress: bool | None,  # noqa: FBT001 (private)
) -> tuple[Any, TrainResult]:
    from transformers import set_seed

    from korag.training.losses import make_loss

    columns = to_columns(pairs, recipe.negatives, seed)
    taught = temperature = None
    if teacher is not None:
        taught = state.taught_scores(teacher, pairs, columns)
        temperature = teacher.temperature if recipe.distill_temperature is None else recipe.distill_temperature
    set_seed(seed)
    model = load_trainable(encoder, recipe)
    result = train(
        model,
        make_loss(model, recipe, similarity=encoder.similarity, teacher_temperature=temperature),
        columns,
        recipe,
        folder=state.folder / "checkpoints",
        prompts={"query": encoder.prompts["query"], "document": encoder.prompts["document"]},
        seed=seed,
        device=str(model.device),
        taught=taught,
        max_steps=max_steps,
        show_progress=show_progress,
    )
    return model.eval(), result
