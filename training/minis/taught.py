"""The run with a teacher: every number that affects its weights, in addition to `training.minis.config`."""

from __future__ import annotations

from training.minis.config import Phase

TEACHER_TEMPERATURE = 0.02
"""Twice the one that the teacher was trained with: its second choices count for more."""
TAUGHT_SHARE = 0.7
"""Part of the teacher's distribution in each loss; the labels have the rest."""
DOCUMENT_TOKENS = 509
"""Tokens kept per document, without special tokens."""
QUERY_TOKENS = 64
FEWEST_DOCUMENTS = 5
"""A term of fewer training documents has an embedding of noise, and SPLADE does not use it."""
LESSON_SHARES = {
    "tydiqa_ko": 0.28,
    "strategyqa_ko_facts": 0.16,
    "question_pair_dup": 0.04,
    "msdocs_ko_title_section": 0.18,
    "prec_issue_holding": 0.14,
    "statute_title_number": 0.14,
    "prec_issue_statute": 0.06,
}
"""Fraction of the batches per source."""
_ALL, _VECTORS = frozenset({"colbert", "dense", "splade"}), frozenset({"colbert", "dense"})
_COLBERT, _DENSE, _SPLADE = (frozenset({name}) for name in ("colbert", "dense", "splade"))


def _phase(
    name: str,
    objectives: frozenset[str],
    steps: int,
    batch_size: int,
    document_tokens: int,
    rate: float,
    final_rate: float,
    start: str | None = None,
    *,
    flops_ramp: int = 0,
    heads: int = 2,
) -> Phase:
    return Phase(
        name=name, objectives=objectives, steps=steps, batch_size=batch_size, document_tokens=document_tokens,
        learning_rate=rate, warm_up=40 if start is None else 10, final_rate=final_rate, hard_share=0.0,
        heads_per_step=heads, start=start, flops_ramp=flops_ramp, candidates=1, augmented=0.25,
        query_tokens=QUERY_TOKENS,
    )  # fmt: skip


TAUGHT_PHASES = (
    _phase("lesson-trunk", _ALL, 400, 64, 96, 1.5e-3, 1.0, flops_ramp=300, heads=1),
    _phase("lesson-vectors", _VECTORS, 1_500, 96, 128, 1.5e-3, 0.4, "lesson-trunk", heads=1),
    _phase("lesson-splade", _SPLADE, 1_500, 64, 128, 1.5e-3, 0.4, "lesson-trunk"),
    _phase("lesson-colbert", _COLBERT, 500, 64, 192, 9e-4, 0.3, "lesson-vectors"),
    _phase("lesson-colbert-long", _COLBERT, 250, 32, 512, 4e-4, 0.02, "lesson-colbert"),
    _phase("lesson-dense", _DENSE, 800, 96, 192, 1e-3, 0.3, "lesson-vectors"),
    _phase("lesson-dense-long", _DENSE, 250, 48, 512, 4e-4, 0.02, "lesson-dense"),
    _phase("lesson-splade-long", _SPLADE, 300, 32, 512, 5e-4, 0.02, "lesson-splade"),
)
"""In order; the last of each model has documents of up to 512 tokens."""
TAUGHT_MODELS = {
    "mini-colbert": "lesson-colbert-long",
    "mini-dense": "lesson-dense-long",
    "mini-splade": "lesson-splade-long",
}
"""Phase with the weights of each model."""
