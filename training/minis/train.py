"""Running a training phase: resumable, and reproducible on the same machine."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from korag.encoders.precision import cpu_has_bfloat16
from training.minis.config import HEAD_DIMS, Phase
from training.minis.data import Batch, Sampler, read_pairs
from training.minis.lessons import LessonSampler, read_lessons
from training.minis.losses import (
    EXCLUDED,
    choose_terms,
    dense_loss,
    maxsim_loss,
    maxsim_scores,
    splade_loss,
)
from training.minis.model import Mini, lay_out_documents, lay_out_queries, pool, read_weights
from training.minis.taught import UNEXPANDED_SCALE

logger = logging.getLogger(__name__)

_SAVED_EVERY, _LOGGED_EVERY = 25, 20


def train_phase(phase: Phase, work: Path, threads: int) -> None:
    """Runs a phase to its end, resuming it if it was interrupted.

    Reads ``tokenizer.json``, ``pairs.npz`` (with a teacher: the table and ``lessons.npz``), ``embeddings.npy`` and
    ``term_bias.npy`` (or the phase to start from) from `work`; writes ``<phase>.pt`` at the end, and
    ``<phase>.state.pt`` during training.

    Args:
        phase: The phase.
        work: Folder for checkpoints.
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(phase.seed)  # for the random initialisation of linear layers
    model = Mini.start(work) if phase.start is None else Mini.load(work, phase.start)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=phase.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    state = work / f"{phase.name}.state.pt"
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
        logger.info("%s: continuing at step %d", phase.name, first)
    teachers = {objective: Mini.load(work, name) for objective, name in phase.teachers}
    sampler = (
        LessonSampler(read_lessons(work), phase) if phase.candidates else Sampler(read_pairs(work / "pairs.npz"), phase)
    )
    model.reduced_precision = bool(phase.candidates) and cpu_has_bfloat16()
    model.train()
    started, cpu_started = time.perf_counter(), time.process_time()
    recent: dict[str, list[float]] = defaultdict(list)
    for step in range(first, phase.steps):
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * _rate(phase, step)
        optimizer.zero_grad(set_to_none=True)
        loss, figures = _step(model, teachers, sampler, phase, step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for name, value in figures.items():
            recent[name].append(value)
        if (step + 1) % _LOGGED_EVERY == 0:
            logger.info(
                "%s %d/%d %.0f s, %.0f CPU-s: %s",
                phase.name, step + 1, phase.steps, time.perf_counter() - started, time.process_time() - cpu_started,
                " ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in sorted(recent.items())),
            )  # fmt: skip
            recent.clear()
        if (step + 1) % _SAVED_EVERY == 0:
            _save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, state)
    _save(model.state_dict(), work / f"{phase.name}.pt")
    state.unlink(missing_ok=True)


def average_phases(work: Path, names: Sequence[str], path: Path, shares: Sequence[float] | None = None) -> None:
    """Writes the mean of the weights of several phases.

    Args:
        work: Folder with the checkpoints.
        names: The phases.
        path: The ``.pt`` to write.
        shares: The part of each in the mean, 1 together; None for equal ones.
    """
    parts = shares or [1 / len(names)] * len(names)
    weights = [read_weights(work, name) for name in names]
    mean = {
        name: torch.stack([part * each[name] for part, each in zip(parts, weights, strict=True)]).sum(0)
        for name in weights[0]
    }
    torch.save(mean, path)


def _rate(phase: Phase, step: int) -> float:
    decay = 1 - (1 - phase.final_rate) * step / phase.steps
    return min(1.0, (step + 1) / phase.warm_up) * decay


@torch.no_grad()
def _teacher_scores(
    teachers: Mapping[Literal["colbert", "splade"], Mini], batch: Batch, phase: Phase, same: Tensor
) -> Tensor:
    """Computes the mean scores of finished models. Shape: (n, n)."""
    query_tokens, query_mask = lay_out_queries(batch.queries)
    document_tokens, document_mask = lay_out_documents(batch.documents, phase.document_tokens)
    scores: list[Tensor] = []
    for objective, model in teachers.items():
        documents = model.hidden(document_tokens, document_mask)
        if objective == "colbert":
            projection = model.projection(max(HEAD_DIMS))
            counted = document_mask & ~model.skipped[document_tokens]
            queries = F.normalize(projection(model.hidden_expanded(query_tokens, query_mask)), dim=-1)
            scores.append(maxsim_scores(queries, F.normalize(projection(documents), dim=-1), counted))
        else:
            query_terms = model.terms(model.hidden(query_tokens, query_mask), query_mask)
            chosen = (query_terms > 0).any(0).nonzero().squeeze(1)
            scores.append(query_terms[:, chosen] @ model.terms(documents, document_mask, chosen).T)
    return torch.stack(scores).mean(0).masked_fill(same, EXCLUDED)


def _step(
    model: Mini,
    teachers: Mapping[Literal["colbert", "splade"], Mini],
    sampler: Sampler | LessonSampler,
    phase: Phase,
    step: int,
) -> tuple[Tensor, dict[str, float]]:
    """Returns the loss of a step and the figures to log: loss and accuracy of each objective."""
    batch = sampler.batch(step)
    rng = random.Random(f"{phase.seed} {phase.name} {step}")  # noqa: S311 (not cryptographic)
    generator = torch.Generator().manual_seed(rng.getrandbits(63))
    same = torch.from_numpy(batch.same)
    target = torch.arange(len(same))
    taught = None if batch.taught is None else torch.from_numpy(batch.taught).masked_fill(same, EXCLUDED)
    query_tokens, query_mask = lay_out_queries(batch.queries, phase.query_tokens)
    document_tokens, document_mask = lay_out_documents(batch.documents, phase.document_tokens)
    expanded = "colbert" in phase.objectives and phase.expanded
    if not expanded:
        longest = int(query_mask.sum(1).max())
        query_tokens, query_mask = query_tokens[:, :longest], query_mask[:, :longest]
    read = model.hidden_expanded if expanded else model.hidden
    queries = read(query_tokens, query_mask)
    documents = model.hidden(document_tokens, document_mask)
    losses: list[Tensor] = []
    figures: dict[str, float] = {}
    teacher: Tensor | None = None

    def record(name: str, loss: Tensor, logits: Tensor) -> None:
        figures[name] = float(loss.detach())
        figures[f"{name}-right"] = float((logits.argmax(1) == target).float().mean())

    if "colbert" in phase.objectives:
        counted = document_mask & ~model.skipped[document_tokens]
        for dim in rng.sample(HEAD_DIMS, phase.heads_per_step):  # on average the same as all four, and cheaper
            projection = model.projection(dim)
            query_vectors = F.normalize(projection(queries), dim=-1)
            if not expanded:  # a vector of zeros adds nothing; fewer terms make a flatter softmax
                query_vectors = query_vectors * query_mask.unsqueeze(-1) * UNEXPANDED_SCALE
            loss, scores = maxsim_loss(
                query_vectors, F.normalize(projection(documents), dim=-1),
                counted, same, generator, taught, batch.taught_share,
            )  # fmt: skip
            losses.append(loss / phase.heads_per_step)
            teacher = scores if teacher is None else (teacher + scores) / 2
            record("colbert", loss, scores)
    if "splade" in phase.objectives:
        query_terms = model.terms(queries, query_mask)
        chosen, counts = choose_terms(query_terms, generator)
        document_terms = model.terms(documents, document_mask, chosen)
        flops_share = min(1.0, step / phase.flops_ramp) ** 2 if phase.flops_ramp else 1.0
        loss, logits = splade_loss(
            query_terms, document_terms, chosen, counts, same, flops_share, taught, batch.taught_share
        )
        losses.append(loss)
        # the mean of two models' scores is a better teacher than each
        teacher = logits.detach() if teacher is None else (teacher + logits.detach()) / 2
        record("splade", loss, logits)
        figures["terms-query"] = float((query_terms > 0).sum(1).float().mean())
        figures["terms-document"] = float(((document_terms > 0) * counts).sum(1).mean())
    if teachers:
        teacher = _teacher_scores(teachers, batch, phase, same)
    if "dense" in phase.objectives:
        loss, logits = dense_loss(
            pool(queries, query_mask), pool(documents, document_mask), same,
            teacher if taught is None else taught, 0.5 if taught is None else batch.taught_share,
        )  # fmt: skip
        losses.append(loss)
        record("dense", loss, logits)
    total = torch.stack(losses).sum()
    if not math.isfinite(float(total.detach())):
        raise FloatingPointError(f"{phase.name}: the loss at step {step} is {float(total)}")
    return total, figures


def _save(content: dict[str, object], path: Path) -> None:
    """Writes a checkpoint atomically, so that a kill leaves the previous one."""
    unfinished = path.with_suffix(".tmp")
    torch.save(content, unfinished)
    unfinished.replace(path)
