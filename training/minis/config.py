"""Sizes of the models and lengths of the phases: every number that affects the weights."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

VOCAB_SIZE = 12_288
HIDDEN_SIZE = 192
HEAD_DIMS = (32, 64, 96, 128)
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[Q] ", "[D] ")
PAD, UNK, CLS, SEP, MASK, QUERY_MARK, DOCUMENT_MARK = range(len(SPECIAL_TOKENS))
BYTE_TOKENS = 256
FIRST_PIECE = len(SPECIAL_TOKENS) + BYTE_TOKENS
"""Tokens below this number are special or bytes."""
QUERY_LENGTH = 32
SKIPPED_WORDS = tuple(string.punctuation)
"""Document tokens that MaxSim ignores, as in PyLate."""

STORED_DOCUMENT_TOKENS, STORED_QUERY_TOKENS = 160, 64
"""Tokens kept per training text, without special tokens."""
LEFT_OUT_SOURCES = frozenset({"korsts_pos", "parakqc_paraphrase", "chatbot_qa"})
"""The first two are tiny and CC BY-SA 4.0, the third is noisy: its questions do not determine their answers."""
SOURCE_SHARES = {
    "prec_issue_holding": 0.20,
    "statute_title_number": 0.15,
    "msdocs_ko_title_section": 0.15,
    "prec_issue_statute": 0.06,
    "strategyqa_ko_facts": 0.10,
    "tydiqa_ko": 0.10,
    "question_pair_dup": 0.03,
}
"""Fraction of the batches per source; the rest are inverse-cloze batches."""
CLOZE_SHARES = {
    "tydiqa_ko": 0.35,
    "msdocs_ko_title_section": 0.25,
    "prec_issue_holding": 0.20,
    "strategyqa_ko_facts": 0.10,
    "statute_title_number": 0.10,
}
"""Fraction of the inverse-cloze batches per source of passages."""

TABLE_SHARES = {
    "tydiqa_ko": 1_607,
    "strategyqa_ko_facts": 6_806,
    "question_pair_dup": 3_751,
    "msdocs_ko_title_section": 13_000,
    "prec_issue_holding": 12_000,
    "statute_title_number": 9_000,
    "prec_issue_statute": 5_000,
}
"""Most pairs per source in the teacher's table."""
MADE_QUERIES = {
    "tydiqa_ko": 10_000,
    "strategyqa_ko_facts": 7_000,
    "msdocs_ko_title_section": 4_000,
    "prec_issue_holding": 3_000,
    "statute_title_number": 4_000,
}
"""Queries made of the passages of a source, in as many turns as needed."""
CANDIDATES = {"bm25": 2, "nearest": 3, "neighbours": 3}
"""Candidates of a query in addition to its positive: BM25's, the teacher's best ten, and its best fifty."""


@dataclass(frozen=True)
class Phase:
    """A training run.

    Attributes:
        name: Name of its files, and part of the seed.
        objectives: Losses to sum: ``"colbert"``, ``"dense"``, ``"splade"``.
        steps: Optimizer steps.
        batch_size: Pairs per step.
        document_tokens: Maximum document length, special tokens included.
        learning_rate: Peak learning rate.
        warm_up: Steps of linear warm-up.
        final_rate: Learning rate at the last step relative to the peak; the decay is linear.
        heads_per_step: Number of ColBERT projections trained per step, drawn at random.
        hard_share: Fraction of batches made of pairs that are BM25 negatives of each other.
        start: Phase whose weights to start from; None for the initial embeddings.
        flops_ramp: Steps over which the sparsity penalty increases.
        teachers: Objective and name of finished phases, whose mean scores over the batch are distilled into the dense
            model. Without any, it is trained on the scores of the other objectives of the step.
        candidates: With a teacher's table: candidates per query in addition to its positive.
        augmented: With a teacher's table: fraction of the queries that are changed as by hasty typing.
        query_tokens: Query length, special tokens included.
        expanded: ColBERT's queries are filled with mask tokens up to that length, which are matched too.
        seed: The seed.
    """

    name: str
    objectives: frozenset[str]
    steps: int
    batch_size: int
    document_tokens: int
    learning_rate: float
    warm_up: int
    final_rate: float
    hard_share: float
    heads_per_step: int = 2
    start: str | None = None
    flops_ramp: int = 0
    teachers: tuple[tuple[Literal["colbert", "splade"], str], ...] = ()
    candidates: int = 0
    augmented: float = 0.0
    query_tokens: int = QUERY_LENGTH
    expanded: bool = True
    seed: int = 20_260


@dataclass(frozen=True)
class Folders:
    """The folders.

    Attributes:
        data: Folder with ``train``, ``train_mix``, ``text`` and ``eval``.
        work: Checkpoints, caches and logs.
        out: The exported models.
    """

    data: Path
    work: Path
    out: Path


PHASES = (
    # A common backbone for all three objectives, at a constant rate.
    Phase(
        name="trunk",
        objectives=frozenset({"colbert", "dense", "splade"}),
        steps=225,
        batch_size=96,
        document_tokens=72,
        learning_rate=1.5e-3,
        warm_up=40,
        final_rate=1.0,
        hard_share=0.4,
        heads_per_step=1,
        flops_ramp=200,
    ),
    Phase(
        name="vectors",
        objectives=frozenset({"colbert", "dense"}),
        steps=875,
        batch_size=128,
        document_tokens=96,
        learning_rate=1.5e-3,
        warm_up=40,
        final_rate=0.65,
        hard_share=0.4,
        heads_per_step=1,
        start="trunk",
    ),
    Phase(
        name="vectors-more",
        objectives=frozenset({"colbert", "dense"}),
        steps=500,
        batch_size=128,
        document_tokens=96,
        learning_rate=1e-3,
        warm_up=20,
        final_rate=0.8,
        hard_share=0.4,
        heads_per_step=1,
        start="vectors",
    ),
    Phase(
        name="splade",
        objectives=frozenset({"splade"}),
        steps=1_200,
        batch_size=96,
        document_tokens=104,
        learning_rate=1.5e-3,
        warm_up=40,
        final_rate=0.4,
        hard_share=0.4,
        start="trunk",
    ),
    Phase(
        name="splade-long",
        objectives=frozenset({"splade"}),
        steps=250,
        batch_size=96,
        document_tokens=160,
        learning_rate=6e-4,
        warm_up=10,
        final_rate=0.02,
        hard_share=0.4,
        start="splade",
    ),
    Phase(
        name="colbert",
        objectives=frozenset({"colbert"}),
        steps=400,
        batch_size=128,
        document_tokens=112,
        learning_rate=9e-4,
        warm_up=10,
        final_rate=0.02,
        hard_share=0.4,
        start="vectors-more",
    ),
    Phase(
        name="dense",
        objectives=frozenset({"colbert", "dense"}),
        steps=450,
        batch_size=128,
        document_tokens=128,
        learning_rate=1e-3,
        warm_up=10,
        final_rate=0.02,
        hard_share=0.4,
        heads_per_step=1,
        start="vectors",
    ),
    Phase(
        name="colbert-first",
        objectives=frozenset({"colbert"}),
        steps=350,
        batch_size=128,
        document_tokens=112,
        learning_rate=9e-4,
        warm_up=10,
        final_rate=0.02,
        hard_share=0.4,
        start="vectors",
    ),
    Phase(
        name="dense-taught",
        objectives=frozenset({"dense"}),
        steps=220,
        batch_size=128,
        document_tokens=128,
        learning_rate=8e-4,
        warm_up=10,
        final_rate=0.02,
        hard_share=0.4,
        start="dense",
        teachers=(("colbert", "colbert-first"), ("splade", "splade-long")),
    ),
)

MEANS = {"colbert-mean": ("colbert", "colbert-first")}
"""Averages of the weights of phases with a common start: better than each, at no cost when encoding ("model soups",
Wortsman et al. 2022, https://arxiv.org/abs/2203.05482)."""

HEADS_PHASE = Phase(
    name="heads",
    objectives=frozenset({"colbert"}),
    steps=120,
    batch_size=48,
    document_tokens=112,
    learning_rate=1e-3,
    warm_up=0,
    final_rate=0.02,
    hard_share=0.4,
    start="colbert-mean",
)
"""ColBERT's middle projections, trained last; see `training.minis.heads`."""
HEAD_RATES = {64: 1e-3, 96: 1e-3}
"""Their learning rates; dim 32 keeps its weights."""
