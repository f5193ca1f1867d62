"""Held-out pairs, split by document so that training and evaluation do not overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from korag.errors import InvalidArgumentError, PairsError
from korag.logs import logger
from korag.training.pairs import Pair, Problem, key, pairs_error


@dataclass(frozen=True)
class Split:
    """Pairs to train on and pairs to evaluate on, with no query or positive in common.

    Attributes:
        train: Pairs to train on.
        held_out: Pairs to evaluate on.
        dropped_negatives: Number of negatives removed from `train` because they are held-out positives.
    """

    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    dropped_negatives: int = 0


def split_pairs(pairs: Sequence[Pair], *, held_out: float = 0.2, seed: int = 13) -> Split:
    """Splits by document: all pairs of a document, and all documents of a query, are on the same side.

    The side depends only on the texts and the seed, not on their order. Held-out positives are also removed from the
    negatives of training pairs.

    Args:
        pairs: The pairs.
        held_out: Approximate fraction of the pairs to hold out.
        seed: Seed of the split.

    Raises:
        InvalidArgumentError: If `held_out` is not in [0, 1), or the pairs cannot be split because shared queries and
            documents connect all of them.
    """
    if not 0 <= held_out < 1:
        raise InvalidArgumentError(
            f"held_out={held_out!r}은(는) 쓸 수 없습니다. 0 이상 1 미만이어야 합니다.",
            f"held_out={held_out!r} is invalid; it must be at least 0 and below 1.",
        )
    if held_out == 0 or not pairs:
        return Split(tuple(pairs), ())
    groups = _groups(pairs)
    if len(groups) < 2:
        raise InvalidArgumentError(
            f"{len(pairs)}쌍이 모두 공통된 질문이나 문서로 연결되어 있어 나눌 수 없습니다. "
            "문서가 다른 쌍을 추가하거나 held_out=0을 지정하세요.",
            f"The {len(pairs)} pairs are all connected by shared queries and documents and cannot be split; add pairs "
            "of other documents, or pass held_out=0.",
        )
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
    wanted = max(1, round(held_out * len(pairs)))
    chosen: set[int] = set()
    for group in order[:-1]:  # leaves at least one to train on
        if len(chosen) < wanted and len(chosen) + len(groups[group]) <= max(2 * wanted, 1):
            chosen |= set(groups[group])  # oversized groups are for training
    if not chosen:
        chosen = set(groups[min(order, key=lambda group: len(groups[group]))])
    train = [pair for index, pair in enumerate(pairs) if index not in chosen]
    evaluated = tuple(pair for index, pair in enumerate(pairs) if index in chosen)
    gold = {key(pair.positive) for pair in evaluated}
    clean = [_without(pair, gold) for pair in train]
    dropped = sum(len(old.negatives) - len(new.negatives) for old, new in zip(train, clean, strict=True))
    if dropped:
        logger.info(
            "평가용 정답 문서와 겹치는 오답 %d개를 학습 쌍에서 뺐습니다. / "
            "%d negatives that are held-out positives were removed from the training pairs.",
            dropped, dropped,
        )  # fmt: skip
    return Split(tuple(clean), evaluated, dropped)


def _without(pair: Pair, texts: set[str]) -> Pair:
    """Returns the pair without the negatives whose keys are among `texts`, and without their scores."""
    kept = [index for index, negative in enumerate(pair.negatives) if key(negative) not in texts]
    scores = (pair.scores[0], *(pair.scores[1 + index] for index in kept)) if pair.scores else ()
    return replace(pair, negatives=tuple(pair.negatives[index] for index in kept), scores=scores)


def check_leaks(train: Iterable[Pair], held_out: Iterable[Pair]) -> None:
    """Checks that no held-out query or positive occurs in the training pairs.

    Raises:
        PairsError: If one does; the message has both lines.
    """
    queries: dict[str, int | None] = {}
    documents: dict[str, int | None] = {}
    for pair in train:
        queries.setdefault(key(pair.query), pair.line)
        for text in (pair.positive, *pair.negatives):
            documents.setdefault(key(text), pair.line)
    problems: list[Problem] = []
    for pair in held_out:
        if key(pair.query) in queries:
            line = queries[key(pair.query)]
            problems.append((
                pair.line, f"질문이 학습 쌍 {line}행에도 있습니다: {pair.query:.40}",
                f"the query is also in the training pairs, line {line}: {pair.query:.40}",
            ))  # fmt: skip
        if key(pair.positive) in documents:
            line = documents[key(pair.positive)]
            problems.append((
                pair.line, f"정답 문서가 학습 쌍 {line}행에도 있습니다: {pair.positive:.40}",
                f"the positive is also in the training pairs, line {line}: {pair.positive:.40}",
            ))  # fmt: skip
    if problems:
        raise leak_error(problems)


def leak_error(problems: list[Problem]) -> PairsError:
    """Makes the error for held-out pairs that leaked into training."""
    return pairs_error("held_out", problems)


def _groups(pairs: Sequence[Pair]) -> dict[str, list[int]]:
    """Groups the indices of pairs connected by queries or positives; keys are the smallest text of each group."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for pair in pairs:
        query, document = "q" + key(pair.query), "d" + key(pair.positive)
        parent.setdefault(query, query)
        parent.setdefault(document, document)
        one, other = sorted((root(query), root(document)))
        parent[other] = one
    groups: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        groups.setdefault(root("q" + key(pair.query)), []).append(index)
    return groups
