"""The run with a teacher: every number that affects its weights, in addition to `training.minis.config`."""

from __future__ import annotations

from typing import Any

from training.minis.config import Phase

TEACHER_TEMPERATURE = 0.02
"""Twice the one that the teacher was trained with: its second choices count for more."""
TEACHER_TOKENS = 256
"""The teacher's length: 512 tokens take four times as long, and nine documents in ten are shorter."""
UNEXPANDED_SCALE = 2.0
"""Of MaxSim scores of queries without mask tokens, which have about half as many vectors."""
TAUGHT_SHARES = {
    "tydiqa_ko": 0.8,
    "strategyqa_ko_facts": 0.8,
    "question_pair_dup": 0.6,
    "msdocs_ko_title_section": 0.4,
    "prec_issue_holding": 0.5,
    "statute_title_number": 0.4,
    "prec_issue_statute": 0.4,
}
"""Part of the teacher's distribution in each loss, by source; the labels have the rest. The teacher is no better than
BM25 at headings of documentation and titles of articles."""
DOCUMENT_TOKENS = 509
"""Tokens kept per document, without special tokens."""
QUERY_TOKENS = 64
FEWEST_DOCUMENTS = 5
"""A term of fewer training documents has an embedding of noise, and SPLADE does not use it."""
LESSON_SHARES = {
    "tydiqa_ko": 0.28,
    "strategyqa_ko_facts": 0.16,
    "question_pair_dup": 0.04,
    "msdocs_ko_title_section": 0.24,
    "prec_issue_holding": 0.10,
    "statute_title_number": 0.12,
    "prec_issue_statute": 0.06,
}
"""Fraction of the batches per source."""


def _phase(name: str, start: str, rates: tuple[float, float], **more: Any) -> Phase:
    rate, last = rates
    return Phase(
        name=name, start=start, learning_rate=rate, final_rate=last / rate, warm_up=10, hard_share=0.0, candidates=1,
        augmented=0.35, query_tokens=QUERY_TOKENS, expanded=False, **more,
    )  # fmt: skip


_DENSE, _SPLADE, _COLBERT = (frozenset({name}) for name in ("dense", "splade", "colbert"))
_SHORT, _LONG = {"batch_size": 64, "document_tokens": 128}, {"batch_size": 32, "document_tokens": 512}
_MANY = _SHORT | {"batch_size": 96}
TAUGHT_PHASES = {
    "mini-dense": (
        _phase("lesson-dense", "mini-dense", (1e-3, 2e-4), objectives=_DENSE, steps=400, **_MANY),
        _phase("lesson-dense-2", "lesson-dense", (1.2e-3, 1e-4), objectives=_DENSE, steps=1_200, **_MANY),
        _phase("lesson-dense-2-long", "lesson-dense-2", (2e-4, 1e-5), objectives=_DENSE, steps=100, **_LONG),
    ),
    "mini-splade": (
        _phase("lesson-splade", "mini-splade", (1e-3, 2e-4), objectives=_SPLADE, steps=750, **_SHORT),
        _phase("lesson-splade-long", "lesson-splade", (2e-4, 1e-5), objectives=_SPLADE, steps=80, **_LONG),
    ),
    "mini-colbert": (
        _phase("lesson-colbert", "mini-colbert", (8e-4, 2e-4), objectives=_COLBERT, steps=650, **_SHORT),
        _phase("lesson-colbert-2", "lesson-colbert", (6e-4, 1e-4), objectives=_COLBERT, steps=1_000, **_SHORT),
        _phase("lesson-colbert-2-long", "lesson-colbert-2", (2e-4, 1e-5), objectives=_COLBERT, steps=200, **_LONG),
    ),
}
"""The phases of each model, in order; the last has documents of up to 512 tokens."""
LAST_SHARES = {"mini-dense": 0.75, "mini-splade": 0.5, "mini-colbert": 0.75}
"""Share of the last phase's weights in those that are exported; the rest are those that the first starts from. Such a
mean is better than both (Wortsman et al. 2021, https://arxiv.org/abs/2109.01903)."""
