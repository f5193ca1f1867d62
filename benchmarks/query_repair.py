"""Queries as they are really typed: nDCG@10 as written, misspelt without repair, and with it.

    python benchmarks/query_repair.py path/to/tydiqa-goldp-ko path/to/statute-title --legs bm25 hybrid

Every query of a data set is spoilt in each of the ways of `VARIANTS`, with a seed of its own. The legs are BM25 alone
and a hybrid of the three mini models and BM25. Reads what `korag.evaluation.load_dataset` reads. Needs ``korag[eval]``.
`--collections` names a folder with a collection of each data set under its name, made before with these legs. The
queries of `tests/clean_queries.json` are put to each collection too: none of them may be rewritten.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from korag import Collection
from korag.analysis.repair.jamo import FINALS, INITIALS, VOWELS, parts, syllable, typed_jamo
from korag.analysis.repair.keyboard import to_hangul, to_keys
from korag.evaluation import Dataset, load_dataset, score_rankings

CLEAN = Path(__file__).parents[1] / "tests" / "clean_queries.json"
MODELS = ["mini-colbert", "mini-splade", "mini-dense"]
_SYLLABLE = re.compile("[가-힣]")
_WORD = re.compile("[가-힣]+")
_LATIN = re.compile("[A-Za-z]{2,}")
_PARTICLE = re.compile(
    "(?<=[가-힣]{2})(?:에서는|에서|에게|부터|까지|으로|은|는|이|가|을|를|의|에|로|와|과|도)(?=\\s|$)"
)
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code).isalnum()}


def caps_lock(query: str, chance: random.Random) -> str:
    """The keys of the whole query with Caps Lock on."""
    return _WORD.sub(lambda word: to_keys(word[0]).swapcase(), query)


def one_word(query: str, chance: random.Random) -> str:
    """The keys of one Korean word of at least two syllables."""
    words = [word for word in _WORD.finditer(query) if len(word[0]) > 1]
    if not words:
        return query
    word = chance.choice(words)
    return query[: word.start()] + to_keys(word[0]) + query[word.end() :]


def reversed_layout(query: str, chance: random.Random) -> str:
    """Latin words typed with the Korean layout."""
    return _LATIN.sub(lambda word: to_hangul(word[0].lower()), query)


def random_spaces(query: str, chance: random.Random) -> str:
    """Half of the spaces lost, and one put between every fifth pair of syllables."""
    kept = "".join(c for c in query if c != " " or chance.random() < 0.5)
    return re.sub("(?<=[가-힣])(?=[가-힣])", lambda _: " " if chance.random() < 0.2 else "", kept)


def wrong_jamo(query: str, chance: random.Random) -> str:
    """One jamo of one syllable of a word of at least two is another one."""
    places = [at for word in _WORD.finditer(query) if len(word[0]) > 1 for at in range(*word.span())]
    if not places:
        return query
    at = chance.choice(places)
    places_of = list(parts(query[at]))
    which = chance.choice([0, 1, 2] if places_of[2] else [0, 1])
    choices = (len(INITIALS), len(VOWELS), len(FINALS))[which]
    places_of[which] = chance.choice([other for other in range(choices) if other != places_of[which]])
    return query[:at] + syllable(*places_of) + query[at + 1 :]


VARIANTS: dict[str, Callable[[str, random.Random], str]] = {
    "English keyboard": lambda query, _: _WORD.sub(lambda word: to_keys(word[0]), query),
    "English keyboard, Caps Lock": caps_lock,
    "English keyboard, one word": one_word,
    "Korean keyboard": reversed_layout,
    "loose jamo": lambda query, _: _WORD.sub(lambda word: typed_jamo(word[0]), query),
    "no spaces": lambda query, _: query.replace(" ", ""),
    "random spaces": random_spaces,
    "one wrong jamo": wrong_jamo,
    "no particles": lambda query, _: _PARTICLE.sub("", query),
    "full width": lambda query, _: query.translate(_FULL_WIDTH),
}


def main() -> None:
    """Prints a row per data set, leg and variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--legs", nargs="+", default=["bm25"], help="of the collection, or hybrid")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--collections", type=Path)
    parser.add_argument("--show", type=int, default=0, help="print this many rewritten queries of each variant")
    arguments = parser.parse_args()
    print("| data | leg | variant | queries | clean | before | after | share of clean | rewritten |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|")
    for folder in arguments.folders:
        data = load_dataset(folder)
        if arguments.collections:
            collection = Collection.open(arguments.collections / data.name, load_stored_models=True)
        else:
            collection = Collection.in_memory(encoders=MODELS if arguments.legs != ["bm25"] else None, bm25=True)
            collection.add(list(data.documents.values()), ids=list(data.documents))
        with collection:
            for leg in arguments.legs:
                _judge(collection, data, leg, arguments.variants, arguments.show)
            _clean(collection, data.name)


def _judge(collection: Collection, data: Dataset, leg: str, variants: list[str], show: int) -> None:
    def ndcg(queries: list[str], *, repair: bool) -> tuple[np.ndarray, list[str | None]]:
        found = collection.search_many(queries, k=10, using=leg, repair_query=repair)
        rankings = {id_: [hit.id for hit in hits] for id_, hits in zip(data.queries, found, strict=True)}
        rewritten = [hits[0].rewritten_query if hits else None for hits in found]
        return score_rankings(rankings, data.relevant, depth=10)["nDCG@10"], rewritten

    queries = list(data.queries.values())
    clean, _ = ndcg(queries, repair=False)
    own, rewritten = ndcg(queries, repair=True)
    changed = sum(text is not None for text in rewritten)
    print(f"| {data.name} | {leg} | as written | {len(queries)} | {clean.mean():.4f} | | {own.mean():.4f} | "
          f"{own.mean() / clean.mean():.3f} | {changed} |", flush=True)  # fmt: skip
    for query, text in [(q, t) for q, t in zip(queries, rewritten, strict=True) if t][:show]:
        print(f"    CLEAN {query} → {text}")
    for variant in variants:
        spoilt = [VARIANTS[variant](query, random.Random(query)) for query in queries]  # noqa: S311
        concerned = np.array([a != b for a, b in zip(spoilt, queries, strict=True)])
        if not concerned.any():
            continue
        before, _ = ndcg(spoilt, repair=False)
        after, rewritten = ndcg(spoilt, repair=True)
        means = [scores[concerned].mean() for scores in (clean, before, after)]
        print(f"| {data.name} | {leg} | {variant} | {concerned.sum()} | {means[0]:.4f} | {means[1]:.4f} | "
              f"{means[2]:.4f} | {means[2] / means[0]:.3f} | {sum(text is not None for text in rewritten)} |",
              flush=True)  # fmt: skip
        wrong = [
            f"    {q} | {s} → {t}"
            for q, s, t, w, ok in zip(queries, spoilt, rewritten, concerned, after < clean, strict=True)
            if w and ok
        ]
        if show and wrong:
            print("\n".join(wrong[:show]))


def _clean(collection: Collection, name: str) -> None:
    for kind, queries in json.loads(CLEAN.read_text(encoding="utf-8")).items():
        found = collection.search_many(queries, k=3)
        wrong = [hits[0].rewritten_query for hits in found if hits and hits[0].rewritten_query]
        print(f"| {name} | clean | {kind} | {len(queries)} | | | | | {len(wrong)} |", flush=True)
        if wrong:
            print(f"    rewritten: {wrong}")


if __name__ == "__main__":
    main()
