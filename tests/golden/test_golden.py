"""Vectors equal those computed without KoRAG, to 1e-4.

Ours: ``expected.npz``, made by ``make_golden.py`` with sentence-transformers alone. PyLate's, on a byte-level BPE
tokenizer and with outer whitespace of every kind: ``pylate/``, made by ``make_pylate.py``. The reference package's
(colbert-matryoshka 0.1.5 on PyLate 1.6): if the folder ``shared`` exists next to the repository.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from korag import load_encoder
from korag.text import normalize, to_nfc

HERE = Path(__file__).parent
REFERENCE = HERE.parents[2] / "shared/golden/colbert-matryoshka"
TOLERANCE = {"atol": 1e-4, "rtol": 0}


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    return json.loads((HERE / "texts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(HERE / "expected.npz") as arrays:
        return dict(arrays)


def test_dense(dense, texts, expected):
    np.testing.assert_allclose(dense.encode_queries(texts["queries"]), expected["dense/query"], **TOLERANCE)
    np.testing.assert_allclose(dense.encode_documents(texts["documents"]), expected["dense/document"], **TOLERANCE)


def test_sparse(splade, texts, expected):
    for task, vectors in (
        ("query", splade.encode_queries(texts["queries"])),
        ("document", splade.encode_documents(texts["documents"])),
    ):
        rows = np.zeros(vectors.shape, np.float32)
        for index, row in enumerate(rows):
            row[expected[f"sparse/{task}/{index}/terms"]] = expected[f"sparse/{task}/{index}/weights"]
        assert (rows > 0).any(axis=1).all()
        np.testing.assert_allclose(vectors.toarray(), rows, **TOLERANCE)


@pytest.mark.parametrize("dim", [32, 128])
def test_colbert(colbert, texts, expected, dim):
    encoder = colbert if dim == colbert.dim else load_encoder("mini-colbert", dim=dim)
    for task, vectors in (
        ("query", encoder.encode_queries(texts["queries"])),
        ("document", encoder.encode_documents(texts["documents"])),
    ):
        for index, row in enumerate(vectors):
            np.testing.assert_allclose(row, expected[f"colbert/{dim}/{task}/{index}"], **TOLERANCE)


@pytest.mark.parametrize("prompted", [False, True], ids=["plain", "prompted"])
def test_pylate(prompted):
    given = json.loads((HERE / "pylate/texts.json").read_text(encoding="utf-8"))
    prompts = {f"{task}_prompt": f"[{task[0].upper()}] {prompt}" for task, prompt in given["prompts"].items()}
    encoder = load_encoder(HERE / "pylate/checkpoint", dtype="float32", **(prompts if prompted else {}))
    with np.load(HERE / "pylate/expected.npz") as expected:
        for task, encode in (("query", encoder.encode_queries), ("document", encoder.encode_documents)):
            for index, text in enumerate(given["texts"]):
                name = f"{'prompted' if prompted else 'plain'}/{task}/{index}"
                if normalize(text) == to_nfc(text):
                    np.testing.assert_allclose(encode([text])[0], expected[name], **TOLERANCE, err_msg=name)
                else:  # to PyLate, a zero-width space is a character and a wide space no space
                    np.testing.assert_allclose(encode([text])[0], encode([normalize(text)])[0], **TOLERANCE)


def test_the_golden_files_are_small():
    assert (HERE / "expected.npz").stat().st_size < 300_000
    assert sum(path.stat().st_size for path in (HERE / "pylate").rglob("*") if path.is_file()) < 300_000


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"needs the reference package's vectors in {REFERENCE}")
@pytest.mark.parametrize("dim", [32, 64, 96, 128])
def test_the_reference_package(dim):
    texts = json.loads((REFERENCE / "texts.json").read_text(encoding="utf-8"))
    encoder = load_encoder(REFERENCE / "checkpoint", dim=dim)
    with np.load(REFERENCE / "expected.npz") as expected:
        groups = {"q": encoder.encode_queries(texts["queries"]), "d": encoder.encode_documents(texts["documents"])}
        names = [name for name in expected if name.startswith(f"d{dim}_")]
        assert (
            len(names) >= len(texts["queries"]) + len(texts["documents"]) - 1
        )  # the longest is not there at every dim
        for name in names:
            group, index = name.partition("_")[2][:1], int(name.partition("_")[2][1:])
            np.testing.assert_allclose(groups[group][index], expected[name], **TOLERANCE)
