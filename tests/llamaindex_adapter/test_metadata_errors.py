"""Metadata that cannot be stored, in LlamaIndex's nodes: the error names the node, the key and the cause."""

from __future__ import annotations

import datetime
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import TextNode

from korag.errors import InvalidArgumentError
from llamaindex_korag import KoBM25Retriever


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
def test_one_bad_field_names_node_key_and_cause(value: Any, advice: str) -> None:
    good = TextNode(text="도서관 휴관 안내", id_="안내", metadata={"쪽": np.int64(3)})
    bad = TextNode(text="보증금", id_="보고서/3", metadata={"출처": value})
    retriever = KoBM25Retriever.from_defaults(nodes=[good])
    with pytest.raises(InvalidArgumentError, match=r"metadata\[1\]\['출처'\] of the document '보고서/3'") as caught:
        retriever.add_nodes([good, bad])
    assert advice in str(caught.value)
    assert len(retriever.collection) == 1
    assert retriever.retrieve("도서관")[0].node.metadata == {"쪽": 3}
