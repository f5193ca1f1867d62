"""Questions with the ids of their documents in a collection: a user's own, a data set's, or made of the documents."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from korag.collection.base import Collection
from korag.collection.local.collection import LocalCollection
from korag.errors import DatasetError, InvalidTextError
from korag.evaluation.dataset import Dataset
from korag.evaluation.loading import load_dataset
from korag.text import check_text, is_empty, normalize, to_nfc

Judged = dict[str, dict[str, int]]
"""For each question, the grades of its documents."""

PSEUDO_DOCUMENTS = 1_000
"""Documents that pseudo-questions are searched in."""
PSEUDO_QUESTIONS = 300
_TITLES = ("title", "제목", "heading")
_SENTENCE = re.compile(r"(?<=[.?!])\s+|\n+")
_SHORTEST, _LONGEST = 6, 120
"""Characters of a pseudo-question."""


def judged_questions(collection: Collection, questions: object) -> Judged:
    """Returns a user's questions with the documents of the collection that answer them.

    Args:
        collection: Holds the documents.
        questions: Ids, or ids with grades, by question; a `Dataset`; or an argument of `load_dataset`. The documents of
            a data set are found in the collection by id and text, or by text alone.

    Raises:
        DatasetError: If there is no question, or a document is not in the collection.
        InvalidTextError: If a question or id is not a string.
    """
    if isinstance(questions, str | os.PathLike):
        questions = load_dataset(questions)
    if isinstance(questions, Dataset):
        places = _find_documents(collection, questions)
        return {
            questions.queries[query]: {places[id_]: grade for id_, grade in grades.items()}
            for query, grades in questions.relevant.items()
            if not is_empty(questions.queries[query])
        }
    if not isinstance(questions, Mapping):
        raise DatasetError(
            f"questions={questions!r:.80}: {{질문: [문서 id, …]}} 형식의 dict, Dataset, 또는 평가 데이터의 경로여야 "
            "합니다.",
            f"questions={questions!r:.80} must be a dict {{question: [document id, …]}}, a Dataset, or the path of a "
            "data set.",
        )
    judged = {_question(question): _grades(ids, question) for question, ids in questions.items()}
    needed = {id_ for grades in judged.values() for id_ in grades}
    stored = {to_nfc(document.id): document.id for document in collection.get(sorted(needed))}
    missing = {id_ for id_ in needed if to_nfc(id_) not in stored}
    if missing:
        raise _missing(collection, missing, len(needed))
    judged = {
        question: {stored[to_nfc(id_)]: grade for id_, grade in grades.items()} for question, grades in judged.items()
    }
    if not judged:
        raise DatasetError(
            "questions에 질문이 하나도 없습니다. 질문을 넣거나 None을 넣어 문서에서 질문을 만드세요.",
            "There is no question in questions; pass some, or None to make questions of the documents.",
        )
    return judged


def _question(question: object) -> str:
    checked: str = check_text(question, "questions")
    if is_empty(checked):
        raise InvalidTextError(
            f"questions에 빈 질문 {question!r}이(가) 있습니다. 빼세요.",
            f"questions has an empty question, {question!r}; remove it.",
        )
    return checked


def _grades(ids: Any, question: str) -> dict[str, int]:
    place = f"questions[{question!r:.60}]"
    grades = dict(ids) if isinstance(ids, Mapping) else None
    if grades is None:
        if isinstance(ids, str) or not isinstance(ids, list | tuple | set | frozenset):
            raise InvalidTextError(
                f"{place}={ids!r:.80}: 문서 id의 리스트여야 합니다: ['id']",
                f"{place}={ids!r:.80} must be a list of document ids: ['id'].",
            )
        grades = dict.fromkeys(ids, 1)
    for id_, grade in grades.items():
        check_text(id_, place)
        if isinstance(grade, bool) or not isinstance(grade, int) or grade < 1:
            raise DatasetError(
                f"{place}: {id_!r:.60}의 등급 {grade!r:.20}은(는) 1 이상의 정수여야 합니다.",
                f"{place}: the grade {grade!r:.20} of {id_!r:.60} must be an integer of at least 1.",
            )
    if not grades:
        raise DatasetError(f"{place}에 문서가 없습니다. 이 질문을 빼세요.", f"{place} has no document; remove it.")
    return grades


def _find_documents(collection: Collection, dataset: Dataset) -> dict[str, str]:
    """Returns the collection's id for each relevant document of a data set."""
    needed = sorted({id_ for grades in dataset.relevant.values() for id_ in grades})
    texts = {id_: _plain(dataset.documents[id_]) for id_ in needed}
    named = {to_nfc(document.id): (document.id, _plain(document.text)) for document in collection.get(needed)}
    places = {
        id_: named[form][0] for id_ in needed if (form := to_nfc(id_)) in named and _alike(named[form][1], texts[id_])
    }
    if len(places) < len(needed):
        by_text = {_plain(document.text): document.id for document in reversed(collection.get())}
        places |= {id_: by_text[texts[id_]] for id_ in needed if id_ not in places and texts[id_] in by_text}
    if missing := set(needed) - places.keys():
        raise _missing(collection, missing, len(needed))
    return places


def _plain(text: str) -> str:
    return " ".join(normalize(text).split())


def _alike(stored: str, text: str) -> bool:
    """True for the same text, with or without a title before it."""
    return stored in text or text in stored


def _missing(collection: Collection, missing: set[str], needed: int) -> DatasetError:
    return DatasetError(
        f"{collection!r}에 질문의 정답 문서 {needed}개 중 {len(missing)}개가 없습니다(예: {min(missing)!r}). 문서의 "
        "id나 내용이 컬렉션에 넣은 것과 같은지 확인하세요.",
        f"{collection!r} lacks {len(missing)} of the {needed} documents that answer the questions (such as "
        f"{min(missing)!r}); check that ids or texts are those added to the collection.",
    )


def pseudo_questions(collection: Collection, seed: int) -> tuple[Collection, Judged]:
    """Makes questions of titles, headings and first sentences, and a collection that lacks them.

    Words copied from a document would find it by BM25 alone, so each question is cut out of its document first: a
    sample of the documents without them is indexed again in memory, with the same legs. A title in the metadata
    (``title``, ``제목``, ``heading``) is taken before a text's own first line or sentence.

    Args:
        collection: The documents; read only.
        seed: Seed of the sample.

    Returns:
        The collection to search, and the questions.
    """
    documents = [document for document in collection.get() if not is_empty(document.text)]
    random = np.random.default_rng(seed)
    chosen = sorted(random.permutation(len(documents))[:PSEUDO_DOCUMENTS].tolist())
    texts: list[str] = []
    ids: list[str] = []
    judged: Judged = {}
    for index in chosen:
        document = documents[index]
        question, rest = _cut(document.text, document.metadata)
        if question is not None and question not in judged and len(judged) < PSEUDO_QUESTIONS:
            judged[question] = {document.id: 1}
        else:
            rest = document.text
        texts.append(rest)
        ids.append(document.id)
    sample = _same_legs(collection)
    sample.add(texts, ids=ids)
    return sample, judged


def _cut(text: str, metadata: Mapping[str, Any]) -> tuple[str | None, str]:
    title = next((value for name in _TITLES if isinstance(value := metadata.get(name), str)), None)
    if title is not None and _SHORTEST <= len(title.strip()) <= _LONGEST:
        rest = text.replace(title.strip(), " ")
        return (title.strip(), rest) if not is_empty(rest) else (None, text)
    first, *others = _SENTENCE.split(text.strip(), maxsplit=1)
    if not others or not _SHORTEST <= len(first) <= _LONGEST or len(others[0]) < len(first):
        return None, text
    return first, others[0]


def _same_legs(collection: Collection) -> LocalCollection:
    if isinstance(collection, LocalCollection):
        return collection.empty()
    return LocalCollection.in_memory(encoders=list(collection.encoders.values()), bm25="bm25" in collection.legs)
