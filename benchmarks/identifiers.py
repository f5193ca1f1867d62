"""Articles of statutes asked for by their number: how often the article itself ranks first.

    python benchmarks/identifiers.py path/to/statute_articles.parquet --output build/identifiers

Ten statutes, a document per article that begins as printed: ``민법 제44조(재단법인의 정관의 보충) …``. Many articles
mention others, so the article asked for competes with those that refer to it. The second table searches one statute
alone, without its name in the documents. Reads columns ``law``, ``art``, ``title`` and ``text``. The collections stay
in the output folder and are used again.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from korag import Collection
from korag.collection.base import SearchOptions

STATUTES = (
    "민법", "상법", "형법", "근로기준법", "주택임대차보호법", "도로교통법", "국세기본법", "개인정보 보호법",
    "행정절차법", "저작권법",
)  # fmt: skip
ALONE = "형법"
ENCODERS = ("mini-colbert", "mini-splade", "mini-dense")
HYBRIDS = {
    "bm25 + dense": {"sparse": 0.0, "colbert": 0.0},
    "bm25 + dense + sparse": {"colbert": 0.0},
    "all four": {},
}
"""Weights of the legs left out of a hybrid of the collection's four."""

Questions = dict[str, list[tuple[str, str]]]
"""(query, id of its article) by form."""


def documents(path: Path) -> dict[str, tuple[str, str]]:
    """(law, text from the heading on) of every article, by id."""
    found = {}
    for row in pq.read_table(path, filters=[("law", "in", STATUTES)]).to_pylist():
        title = f"({row['title']})" if row["title"] else ""
        found[f"{row['law']} {row['art']}"] = (row["law"], f"{row['art']}{title} {row['text']}")
    return found


def questions(articles: Mapping[str, tuple[str, str]], *, per_form: int) -> Questions:
    """Draws articles for each form of query."""
    draw = random.Random(1)  # noqa: S311 (a sample, not a secret)
    plain = [id_ for id_ in articles if re.search(r"조$", id_)]
    branches = [id_ for id_ in articles if re.search(r"조의\d+$", id_)]
    with_branch = [id_ for id_ in plain if f"{id_}의2" in articles]
    paragraphs = [id_ for id_ in articles if "②" in articles[id_][1]]

    def some(ids: Sequence[str], template: str) -> list[tuple[str, str]]:
        drawn = draw.sample(ids, min(per_form, len(ids)))
        return [(template.format(id=id_), id_) for id_ in drawn]

    return {
        "민법 제44조": some(plain, "{id}"),
        "민법 44조": [(query.replace(" 제", " "), id_) for query, id_ in some(plain, "{id}")],
        "민법 제44조의 내용은 무엇인가?": some(plain, "{id}의 내용은 무엇인가?"),
        "형법 제6조의2": some(branches, "{id}"),
        "형법 제6조, where 제6조의2 exists": some(with_branch, "{id}"),
        "민법 제15조제2항": some(paragraphs, "{id}제2항"),
        "민법 제15조 제2항에 대해 알려줘": some(paragraphs, "{id} 제2항에 대해 알려줘"),
    }


def open_filled(folder: Path, texts: Mapping[str, str]) -> Collection:
    """Opens a collection with four legs, and indexes the documents if it is new."""
    collection = Collection.open(folder, encoders=ENCODERS, bm25=True)
    if len(collection) != len(texts):
        collection.add(list(texts.values()), ids=list(texts))
    return collection


def table(title: str, collection: Collection, forms: Questions) -> str:
    """A row per system, a column per form of query: the fraction of articles that are the first hit."""
    systems = {leg: SearchOptions(k=1, using=leg) for leg in collection.legs}
    systems |= {f"hybrid, {name}": SearchOptions(k=1, weights=weights) for name, weights in HYBRIDS.items()}
    lines = [f"| {title} | " + " | ".join(forms) + " | all |", "|---|" + "--:|" * (len(forms) + 1)]
    for name, options in systems.items():
        right = {
            form: [
                hits[0].id == id_
                for hits, (_, id_) in zip(
                    collection.search_many([query for query, _ in asked], options=options), asked, strict=True
                )
            ]
            for form, asked in forms.items()
        }
        right["all"] = [one for own in right.values() for one in own]
        lines.append(f"| {name} | " + " | ".join(f"{sum(own) / len(own):.3f}" for own in right.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("articles", type=Path, metavar="PARQUET")
    parser.add_argument("--output", type=Path, required=True, help="folder for the collections")
    parser.add_argument("--per-form", type=int, default=50, help="queries of each form")
    arguments = parser.parse_args()
    articles = documents(arguments.articles)
    arguments.output.mkdir(parents=True, exist_ok=True)
    named = {id_: f"{law} {text}" for id_, (law, text) in articles.items()}
    alone = {id_: article for id_, article in articles.items() if article[0] == ALONE}
    for title, texts, own in (
        (f"ten statutes, {len(named):,} articles", named, articles),
        (f"{ALONE} alone, without its name", {id_: text for id_, (_, text) in alone.items()}, alone),
    ):
        with open_filled(arguments.output / f"{len(texts)}", texts) as collection:
            print(table(title, collection, questions(own, per_form=arguments.per_form)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
