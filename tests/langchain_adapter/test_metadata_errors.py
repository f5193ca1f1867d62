"""Metadata that cannot be stored, in LangChain's documents: the error names the document, the key and the cause."""

from __future__ import annotations

import datetime
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from korag.errors import InvalidArgumentError
from langchain_korag import KoBM25Retriever

GOOD = Document(page_content="도서관 휴관 안내", metadata={"쪽": np.int64(3), "공개": np.bool_(1)})


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (datetime.date(2024, 5, 1), "isoformat"),
        (uuid.UUID(int=1), "str(value)"),
        (Path("보고서.pdf"), "is a path"),
        (float("nan"), "missing value"),
        ("법\0무", "NUL"),
        (np.zeros(2), "tolist"),
    ],
)
def test_one_bad_field_names_document_key_and_cause(value: Any, advice: str) -> None:
    bad = {"출처": {"판": value}}
    with pytest.raises(
        InvalidArgumentError, match=r"metadata\[1\]\['출처'\]\['판'\] of the document '보고서/3'"
    ) as caught:
        KoBM25Retriever.from_documents([GOOD, Document(id="보고서/3", page_content="보증금", metadata=bad)])
    assert advice in str(caught.value)
    retriever = KoBM25Retriever.from_documents([GOOD])
    with pytest.raises(InvalidArgumentError, match=r"metadata\[1\]\['출처'\]\['판'\]: ") as caught:
        retriever.add_documents([GOOD, Document(page_content="보증금", metadata=bad)])
    assert advice in str(caught.value)
    assert len(retriever.collection) == 1


def test_scalars_of_numpy_are_numbers_in_results_and_filters() -> None:
    retriever = KoBM25Retriever.from_documents([GOOD])
    (found,) = retriever.invoke("도서관", filter={"쪽": {"$gte": 3}, "공개": True})
    assert (found.metadata["쪽"], found.metadata["공개"]) == (3, True)
    assert type(found.metadata["쪽"]) is int
