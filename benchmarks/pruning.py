"""Answers kept against characters removed, of `korag.pruning` and of simpler ways to choose sentences.

    python benchmarks/pruning.py ../shared/data/eval/tydiqa-goldp-ko

Takes questions that people asked for TyDi QA without having seen an answer, and the passages of Wikipedia that answer
them. `pruning_answers.json` has where the answer is in each, in characters: marked for this command by reading every
question and passage, because the data set as it is stored has no answers. Passages of one sentence, and those that do
not answer their question, are left out. A context is the five best passages of a search by BM25 and the model, for the
questions whose passage is among them; or that passage alone. An answer is kept if all sentences of one of its places
are. A threshold is chosen on every second question and measured on the others. Vectors are kept in ``build/pruning``:
the next run takes a minute. Needs ``korag[eval]``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from _common import markdown_table

from korag import Collection, LateInteractionEncoder, load_encoder
from korag.encoders.base import Task
from korag.encoders.placed import PlacedTokens
from korag.pruning.pruner import DEFAULT_THRESHOLD, Pruner

_PASSAGES = 5
_KEPT = Path("build/pruning")
"""Vectors of earlier runs."""
Sentences = list[tuple[int, int, float]]
"""Beginning, end and score of each sentence of a passage."""
Score = Callable[[str, Sequence[str], Sequence[Sentences]], list[Sentences]]


@dataclass(frozen=True)
class Context:
    """A question with the passages that would go to an LLM.

    Attributes:
        question: The question.
        texts: The passages.
        answered: The passage that answers it.
        places: Where in it.
    """

    question: str
    texts: list[str]
    answered: int
    places: list[list[int]]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@contextmanager
def remembering(encoder: LateInteractionEncoder) -> Iterator[None]:
    """Inside the ``with`` block, token vectors that an earlier run has made are read, and new ones are kept."""
    file = _KEPT / f"tokens-{_digest(str(encoder.fingerprint))}.npz"
    known = dict(np.load(file)) if file.exists() else {}
    before, encode = len(known), encoder.encode_placed

    def encode_placed(texts: Sequence[str], task: Task = "document") -> list[PlacedTokens]:
        names = [_digest(task, text) for text in texts]
        new = {name: text for name, text in zip(names, texts, strict=True) if f"{name}-places" not in known}
        for name, found in zip(new, encode(list(new.values()), task), strict=True):
            known[f"{name}-places"] = found.places.astype(np.int32)
            known[f"{name}-vectors"] = found.vectors.astype(np.float16)
        return [
            PlacedTokens(known[f"{name}-places"].astype(np.int64), known[f"{name}-vectors"].astype(np.float32))
            for name in names
        ]

    encoder.encode_placed = encode_placed  # type: ignore[method-assign]
    try:
        yield
    finally:
        if len(known) > before:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, **known)


def contexts(folder: Path, encoder: LateInteractionEncoder, questions: int) -> tuple[list[Context], list[Context]]:
    """Returns the contexts of found passages, and those of the answering passage alone."""
    texts = {row["_id"]: row["text"] for row in pq.read_table(folder / "corpus.parquet").to_pylist()}
    asked = {row["_id"]: row["text"] for row in pq.read_table(folder / "queries.parquet").to_pylist()}
    marked = json.loads(Path(__file__).with_name("pruning_answers.json").read_text(encoding="utf-8"))[:questions]
    index = _KEPT / f"index-{_digest(str(encoder.fingerprint), *texts.values())}"
    with Collection.open(index, encoders=[encoder], bm25="bigram") as collection:
        if len(collection) < len(texts):
            collection.add(list(texts.values()), ids=list(texts))
        hits = collection.search_many([asked[one["query"]] for one in marked], k=_PASSAGES)
    found, alone = [], []
    for one, own in zip(marked, hits, strict=True):
        question, ids = asked[one["query"]], [hit.id for hit in own]
        alone.append(Context(question, [texts[one["document"]]], 0, one["answers"]))
        if one["document"] in ids:
            found.append(Context(question, [texts[id_] for id_ in ids], ids.index(one["document"]), one["answers"]))
    return found, alone


# -- ways to score sentences --------------------------------------------------------------------------------------


def by_chance(_: str, texts: Sequence[str], sentences: Sequence[Sentences]) -> list[Sentences]:
    """Random scores."""
    chance = random.Random("".join(texts)[:100])  # noqa: S311 (a fixed choice)
    return [[(begin, end, chance.random()) for begin, end, _ in own] for own in sentences]


def by_order(_: str, __: Sequence[str], sentences: Sequence[Sentences]) -> list[Sentences]:
    """The first sentences of every passage."""
    return [[(begin, end, 1 / (1 + place)) for place, (begin, end, _) in enumerate(own)] for own in sentences]


def by_words(question: str, texts: Sequence[str], sentences: Sequence[Sentences]) -> list[Sentences]:
    """The share of the question's character bigrams in a sentence, as a share of the best sentence's."""
    wanted = _bigrams(question)
    shares = [
        [len(wanted & _bigrams(text[begin:end])) for begin, end, _ in own]
        for text, own in zip(texts, sentences, strict=True)
    ]
    best = max(1, *(share for own in shares for share in own))
    return [
        [(begin, end, share / best) for (begin, end, _), share in zip(own, counted, strict=True)]
        for own, counted in zip(sentences, shares, strict=True)
    ]


def _bigrams(text: str) -> set[str]:
    return {word[place : place + 2] for word in re.findall(r"\w+", text) for place in range(len(word) - 1)}


# -- the curve ----------------------------------------------------------------------------------------------------


def measure(given: Sequence[Context], scored: Sequence[Sequence[Sentences]], threshold: float) -> tuple[float, float]:
    """Returns the share of answers kept and the share of characters removed."""
    kept = removed = characters = 0
    for context, passages in zip(given, scored, strict=True):
        for own in passages:
            characters += sum(end - begin for begin, end, _ in own)
            removed += sum(end - begin for begin, end, score in own if score < threshold)
        answering = passages[context.answered]
        kept += any(
            all(score >= threshold for start, end, score in answering if start < last and end > first)
            for first, last in context.places
        )
    return kept / len(given), removed / characters


def curve(given: Sequence[Context], scored: Sequence[Sequence[Sentences]]) -> dict[str, float]:
    """Returns the most characters removed with so many answers kept, and the most answers kept with half removed."""
    scores = sorted({score for passages in scored for own in passages for _, _, score in own})
    steps = scores[:: max(1, len(scores) // 200)]
    points = [measure(given, scored, threshold) for threshold in steps]
    return {
        **{
            f"removed, {share:.0%} of answers kept": max((gone for kept, gone in points if kept >= share), default=0.0)
            for share in (0.98, 0.95, 0.9)
        },
        "answers kept, half removed": max((kept for kept, gone in points if gone >= 0.5), default=0.0),
    }


def calibrated(given: Sequence[Context], scored: Sequence[Sequence[Sentences]], share: float) -> dict[str, str | float]:
    """Returns what the highest threshold that keeps so many answers of one half keeps and removes of the other."""
    halves = [(given[half::2], scored[half::2]) for half in (0, 1)]
    kept, removed, chosen = [], [], []
    for half, other in (halves, halves[::-1]):
        steps = sorted({score for passages in half[1] for own in passages for _, _, score in own})
        low, high = 0, len(steps) - 1  # the higher the threshold, the fewer answers are kept
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if measure(*half, steps[middle])[0] >= share else (low, middle - 1)
        found = measure(*other, steps[low])
        chosen.append(f"{steps[low]:.2f}")
        kept.append(found[0])
        removed.append(found[1])
    return {
        "answers to keep": f"{share:.0%}",
        "thresholds": " · ".join(chosen),
        "kept of the other half": sum(kept) / 2,
        "removed from it": sum(removed) / 2,
    }


def main() -> None:
    """Prints a table for each kind of context, one of thresholds, and one of thresholds chosen on other questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default="mini-colbert")
    parser.add_argument("--questions", type=int, default=1_000)
    arguments = parser.parse_args()
    encoder = load_encoder(arguments.model)
    if not isinstance(encoder, LateInteractionEncoder):
        raise SystemExit("--model needs a ColBERT model")
    pruner = Pruner(encoder)
    others: dict[str, Score] = {
        "sentences by chance": by_chance, "first sentences": by_order, "words of the question": by_words,
    }  # fmt: skip
    found, alone = contexts(arguments.folder, encoder, arguments.questions)
    for title, given in ((f"{_PASSAGES} passages found", found), ("the passage alone", alone)):
        with remembering(encoder):
            ours = [pruner.score(context.question, context.texts) for context in given]
        rows = [{"sentences kept by": f"Pruner, {arguments.model}"} | curve(given, ours)]
        for name, score in others.items():
            theirs = [score(one.question, one.texts, own) for one, own in zip(given, ours, strict=True)]
            rows.append({"sentences kept by": name} | curve(given, theirs))
        print(f"**{title}**: {len(given)} questions\n\n{markdown_table(rows)}\n")
        steps = sorted({0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, DEFAULT_THRESHOLD})
        halves = [(given[half::2], ours[half::2]) for half in (0, 1)]
        print(
            markdown_table(
                {
                    "threshold": f"{step:.2f}",
                    **dict(zip(("answers kept", "removed"), measure(given, ours, step), strict=True)),
                    "kept, each half of the questions": " · ".join(f"{measure(*half, step)[0]:.3f}" for half in halves),
                }
                for step in steps
            ),
            end="\n\n",
        )
        print(markdown_table([calibrated(given, ours, share) for share in (0.98, 0.95, 0.9)]), end="\n\n")


if __name__ == "__main__":
    main()
