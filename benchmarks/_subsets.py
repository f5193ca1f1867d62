"""Parts of data sets, where a whole one takes too long."""

from __future__ import annotations

from korag.evaluation import Dataset


def cut(data: Dataset, queries: int, documents: int) -> Dataset:
    """Returns some queries, evenly spread, with their judged documents and others, evenly spread too.

    Args:
        data: The data set; returned as it is if it has no more than that.
        queries: How many at most.
        documents: How many at most, unless more are judged.
    """
    if len(data.queries) <= queries and len(data.documents) <= documents:
        return data
    chosen = sorted(query for query, grades in data.relevant.items() if any(grade > 0 for grade in grades.values()))
    chosen = chosen[:: -(-len(chosen) // queries)]
    relevant = {query: data.relevant[query] for query in chosen}
    filled = [id_ for id_, text in data.documents.items() if text.strip()]
    others = sorted(set(filled).difference(*relevant.values()))
    kept = {id_ for grades in relevant.values() for id_ in grades}
    kept.update(others[:: max(1, -(-len(others) // max(1, documents - len(kept))))])
    return Dataset.build(
        data.name,
        documents={id_: data.documents[id_] for id_ in filled if id_ in kept},
        queries={query: data.queries[query] for query in chosen},
        relevant=relevant,
    )
