"""Of the postings of the lexical legs a search verifies those that it reads: others do not keep it from answering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from korag import Collection
from korag.errors import SegmentError
from korag.testing import FakeSparseEncoder

DOCUMENTS, WORDS = 3_000, 200


class Numbered(FakeSparseEncoder):
    """Weighs the numbers in a text alike."""

    def _encode(self, texts: list[str]) -> sp.csr_array:
        rows = [sorted({int(word) for word in text.split()}) for text in texts]
        starts = np.cumsum([0, *map(len, rows)])
        columns = np.concatenate([np.zeros(0, np.int64), *rows])
        return sp.csr_array((np.ones(len(columns), np.float32), columns, starts), shape=(len(rows), self.dim))


def by_spaces(text: str) -> list[str]:
    return text.split()


def flip_last(path: Path, name: str) -> None:
    """Changes the last byte of an array in a segment file."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + json.loads(content[8:start])[name]["data_offsets"][1] - 1] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(("leg", "array"), [("bm25", "rows"), ("sparse", "weights")])
def test_only_queries_that_read_a_damaged_block_fail(tmp_path: Path, leg: str, array: str) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(map(str, rng.permutation(WORDS)[:100].tolist())) for _ in range(DOCUMENTS)]
    legs: dict[str, Any] = {"encoders": [Numbered()]} if leg == "sparse" else {"bm25": by_spaces}
    with Collection.open(tmp_path, **legs) as collection:
        collection.add(texts)
        collection.compact()
        expected = {word: [hit.id for hit in collection.search(word, k=3)] for word in map(str, range(0, WORDS, 4))}
    (segment,) = (tmp_path / "segments").iterdir()
    flip_last(segment, f"{leg}.{array}")
    failed = {}
    with Collection.open(tmp_path, **legs) as collection:
        for word, best in expected.items():
            try:
                found = [hit.id for hit in collection.search(word, k=3)]
            except SegmentError as error:
                failed[word] = str(error)
            else:
                assert found == best
    assert 0 < len(failed) < len(expected)
    assert all(f"{array}: the checksum of block" in message for message in failed.values())
    assert not Collection.verify(tmp_path).ok
