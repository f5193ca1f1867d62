"""`korag.testing`: fake encoders, and what importing it needs."""

from __future__ import annotations

import pickle
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sentences import DOCUMENTS

from korag.encoders.load import load_encoder
from korag.errors import CheckpointNotFoundError, InvalidTextError
from korag.scoring import maxsim
from korag.testing import CollectionContract, FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

FAKES = [FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder]


def rows(vectors: Any) -> list[Any]:
    """The vectors as arrays, one per text."""
    return [np.asarray(row) for row in (vectors.toarray() if hasattr(vectors, "toarray") else vectors)]


def run(code: str) -> str:
    """Runs code in a new interpreter that finds what this one finds; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "sentence_transformers", "langchain_core", "llama_index", "pydantic")
    light = (*heavy, "numpy", "scipy", "pytest")
    assert run(f"import korag.testing\nprint([name for name in {light!r} if name in sys.modules])") == "[]"
    code = "from korag.testing import *\nFakeDenseEncoder().encode_queries(['가'])\n"
    code += f"print([name for name in {heavy!r} if name in sys.modules])"
    assert run(code) == "[]"


def test_without_pytest_only_the_contracts_are_missing() -> None:
    code = """
sys.modules["pytest"] = None
import korag.testing
from korag.errors import MissingDependencyError
korag.testing.FakeDenseEncoder()
for name in ("CollectionContract", "SavingContract"):
    try:
        getattr(korag.testing, name)
    except MissingDependencyError as error:
        print(error)
"""
    message = run(code)
    assert message.count("pip install 'korag[testing]'") == 4
    assert "설치하세요" in message


def test_failed_asserts_of_inherited_tests_show_their_values() -> None:
    with pytest.raises(AssertionError, match=r"assert \[\] == "):
        CollectionContract().test_get_by_filter(Nothing())  # type: ignore[arg-type]


class Nothing:
    """A store that has nothing."""

    def get(self, *_: object, **__: object) -> list[Any]:
        return []


@pytest.mark.parametrize("fake", FAKES)
class TestFakes:
    def test_vectors_depend_on_nothing_but_text_and_arguments(self, fake: Any) -> None:
        together = rows(fake().encode_documents(DOCUMENTS))
        for text, expected in zip(DOCUMENTS, together, strict=True):
            (alone,) = rows(fake().encode_queries([text]))
            assert np.array_equal(alone, expected)
        (composed,) = rows(fake().encode_queries([DOCUMENTS[0]]))
        (jamo,) = rows(fake().encode_queries([unicodedata.normalize("NFD", DOCUMENTS[0])]))
        assert np.array_equal(composed, jamo)
        assert not np.array_equal(rows(fake(seed=1).encode_queries(DOCUMENTS[:1]))[0], together[0])

    def test_similar_texts_have_similar_vectors(self, fake: Any) -> None:
        text, near, far = rows(fake().encode_queries(["환불 규정과 환불 절차", "환불 규정", "김치찌개 끓이기"]))

        def similarity(one: Any, other: Any) -> float:
            return maxsim(one, [other])[0] if one.ndim == 2 else float(one @ other)

        assert similarity(text, text) > similarity(text, near) > similarity(text, far) + 0.3

    @pytest.mark.parametrize("text", ["", " ", "!", "가", "\0", "👨‍👩‍👧", "a" * 10_000])
    def test_any_text_has_a_unit_vector(self, fake: Any, text: str) -> None:
        (row,) = rows(fake().encode_documents([text]))
        assert np.linalg.norm(row, axis=-1) == pytest.approx(1, abs=1e-5)
        assert row.dtype == np.float32

    def test_no_texts(self, fake: Any) -> None:
        assert rows(fake().encode_documents([])) == []

    def test_texts_are_checked(self, fake: Any) -> None:
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            fake().encode_queries(["가", None])

    def test_pickles_and_counters(self, fake: Any) -> None:
        encoder = fake(dim=32, query_prompt="query: ", seed=3)
        encoder.encode_queries(["가", "나"])
        encoder.encode_documents(["가"])
        assert (encoder.calls, encoder.queries_encoded, encoder.documents_encoded) == (2, 2, 1)
        again = pickle.loads(pickle.dumps(encoder))  # noqa: S301
        assert again.fingerprint == encoder.fingerprint
        assert repr(again) == repr(encoder)
        assert again.calls == 0
        assert np.array_equal(rows(again.encode_queries(["가"]))[0], rows(encoder.encode_queries(["가"]))[0])

    @pytest.mark.parametrize("arguments", [{"dim": 8}, {"query_prompt": "q"}, {"document_prompt": "d"}, {"seed": 1}])
    def test_every_argument_changes_the_fingerprint(self, fake: Any, arguments: dict[str, Any]) -> None:
        assert fake(**arguments).fingerprint != fake().fingerprint

    def test_it_cannot_be_loaded_by_name(self, fake: Any) -> None:
        with pytest.raises(CheckpointNotFoundError):
            load_encoder(**fake().load_arguments)

    def test_many_threads(self, fake: Any) -> None:
        encoder = fake()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(encoder.encode_queries, [["가 나", "다"]] * 40))
        assert (encoder.calls, encoder.queries_encoded) == (40, 80)
