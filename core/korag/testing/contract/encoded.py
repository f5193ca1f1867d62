"""Documents whose vectors were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from korag.collection.base import Collection
from korag.errors import FingerprintError, InvalidArgumentError, KoragError
from korag.testing.contract.fixtures import ContractFixtures, Encoders, Make
from korag.testing.contract.samples import BAD_METADATA, DOCUMENTS, IDS, LEGS, METADATA, ids_of
from korag.testing.encoders import FakeDenseEncoder

ROWS = list(zip(IDS, DOCUMENTS, METADATA, strict=True))
Changed = Callable[[dict[str, Any]], dict[str, Any]]


def encoded(encoders: Encoders, texts: list[str]) -> dict[str, Any]:
    """The arguments that another machine sends along with the documents."""
    return {
        "vectors": {name: encoder.encode_documents(texts) for name, encoder in encoders.items()},
        "fingerprints": {name: encoder.fingerprint for name, encoder in encoders.items()},
    }


class EncodedTests(ContractFixtures):
    """`add_encoded`."""

    def test_vectors_from_elsewhere_are_found_as_if_made_here(
        self, make: Make, encoders: Encoders, filled: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = make(encoders=list(encoders.values()), bm25=True)
        arguments = encoded(encoders, DOCUMENTS)
        with monkeypatch.context() as patch:
            for encoder in encoders.values():
                patch.setattr(type(encoder), "encode_documents", lambda *_, **__: pytest.fail("encoded a document"))
            assert collection.add_encoded((row for row in ROWS), **arguments) == IDS
        assert collection.get() == filled.get()
        for using in (*LEGS, "hybrid"):
            found = collection.search_many(DOCUMENTS, using=using)
            for hits, expected in zip(found, filled.search_many(DOCUMENTS, using=using), strict=True):
                assert ids_of(hits) == ids_of(expected)
                assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], rel=1e-5)

    def test_fingerprints_travel_as_json(self, small: Collection, encoders: Encoders) -> None:
        dense = encoders["dense"]
        vectors = {"dense": dense.encode_documents(DOCUMENTS[:2]).tolist()}
        given = list(zip(IDS, DOCUMENTS[:2], strict=False))
        small.add_encoded(given, vectors, fingerprints={"dense": dense.fingerprint.to_dict()})
        assert [(document.id, document.metadata) for document in small.get()] == [(id_, {}) for id_ in IDS[:2]]
        (query,) = dense.encode_queries([DOCUMENTS[1]])
        (hit,) = small.search(DOCUMENTS[1], using="dense", k=1)
        expected = float(np.dot(np.asarray(query, np.float64), vectors["dense"][1]))
        assert hit.id == IDS[1]
        assert hit.score == pytest.approx(expected, abs=0.01)  # rounded, perhaps

    def test_an_interrupted_job_adds_the_same_again(self, make: Make) -> None:
        encoder = FakeDenseEncoder()
        collection = make(encoders=[encoder], bm25=True)
        encoders: Encoders = {"dense": encoder}
        collection.add(DOCUMENTS[:3], ids=IDS[:3], metadata=METADATA[:3])
        before = collection.get()
        for _ in range(2):
            assert collection.add_encoded(ROWS, **encoded(encoders, DOCUMENTS)) == IDS
            assert collection.get()[:3] == before
            assert collection.ids() == IDS
        count = encoder.documents_encoded
        assert collection.add(DOCUMENTS, ids=IDS, metadata=METADATA) == IDS
        assert encoder.documents_encoded == count
        changed = [(IDS[2], "새로운 환불 규정")]
        collection.add_encoded(changed, **encoded(encoders, ["새로운 환불 규정"]))
        assert collection.ids() == [*IDS[:2], *IDS[3:], IDS[2]]
        assert collection.search("새로운 환불 규정", using="dense", k=1)[0].id == IDS[2]

    def test_vectors_of_empty_texts_are_ignored(self, small: Collection, encoders: Encoders) -> None:
        texts = ["", DOCUMENTS[0], "\u200b"]
        arguments = encoded({"dense": encoders["dense"]}, ["가", DOCUMENTS[0], "나"])
        arguments["vectors"]["dense"][[0, 2]] = np.nan
        small.add_encoded(list(zip("abc", texts, strict=True)), **arguments)
        assert [document.text for document in small.get()] == texts
        assert ids_of(small.search(DOCUMENTS[0], using="dense")) == ["b"]
        assert small.add_encoded([], {"dense": []}, fingerprints=arguments["fingerprints"]) == []

    def test_a_collection_without_models_takes_texts_alone(self, make: Make) -> None:
        collection = make(encoders=[], bm25=True)
        collection.add_encoded([("가", DOCUMENTS[0])], {}, fingerprints={})
        assert ids_of(collection.search(DOCUMENTS[0])) == ["가"]

    def test_vectors_of_another_model_are_refused(self, small: Collection, encoders: Encoders) -> None:
        small.add(["있던 것"], ids=["a"])
        dense = encoders["dense"]
        other = FakeDenseEncoder(dim=dense.dim, document_prompt="문서: ", seed=3)
        arguments = encoded({"dense": other}, ["글"])
        for made in (other.fingerprint, other.fingerprint.to_dict()):
            arguments["fingerprints"] = {"dense": made}
            with pytest.raises(FingerprintError, match="document_prompt"):
                small.add_encoded([("a", "글")], **arguments)
        assert [document.text for document in small.get()] == ["있던 것"]

    @pytest.mark.parametrize(
        ("vectors", "named"),
        [
            (lambda own: {}, "dense"),
            (lambda own: None, "vectors=None"),
            (lambda own: own | {"bm25": own["dense"]}, "bm25"),
            (lambda own: own | {"colbert": [own["dense"]] * 3}, "colbert"),
            (lambda own: {"dense": own["dense"][:2]}, "shape|\\(3, "),
            (lambda own: {"dense": own["dense"][:, :5]}, "\\(3, "),
            (lambda own: {"dense": own["dense"][0]}, "\\(3, "),
            (lambda own: {"dense": own["dense"].astype(str)}, "dense"),
            (lambda own: {"dense": [[1.0], [1.0, 2.0], [3.0]]}, "dense"),
            (lambda own: {"dense": np.where([[False], [True], [False]], np.nan, own["dense"])}, "nan"),
            (lambda own: {"dense": np.where([[False], [False], [True]], np.inf, own["dense"])}, "inf"),
            (lambda own: {"dense": 5}, "dense"),
            (lambda own: {"dense": None}, "dense"),
        ],
    )
    def test_bad_vectors_change_nothing(
        self, small: Collection, encoders: Encoders, vectors: Changed, named: str
    ) -> None:
        small.add(["있던 것"], ids=["a"])
        arguments = encoded({"dense": encoders["dense"]}, ["하나", "둘", "셋"])
        arguments["vectors"] = vectors(arguments["vectors"])
        with pytest.raises(InvalidArgumentError, match=named):
            small.add_encoded([("a", "하나"), ("b", "둘"), ("c", "셋")], **arguments)
        assert [document.text for document in small.get()] == ["있던 것"]

    @pytest.mark.parametrize(
        "documents",
        [
            ["글"], [("a",)], [("a", "글", {}, 1)], [(1, "글")], [("a", None)], [("a", "글", 5)], [("", "글")],
            [("a", "글"), ("a", "글")], [("a", "글"), ("b", "글")], "ab", None, 5,
            *([("a", "글", fields)] for fields in BAD_METADATA.values() if fields is not None),
        ],
    )  # fmt: skip
    def test_bad_encoded_documents_change_nothing(self, small: Collection, encoders: Encoders, documents: Any) -> None:
        with pytest.raises(KoragError):
            small.add_encoded(documents, **encoded({"dense": encoders["dense"]}, ["글"]))
        assert len(small) == 0

    @pytest.mark.parametrize("given", [None, {}, {"dense": None}, {"dense": {}}, {"dense": "abc"}, [1]])
    def test_vectors_need_a_fingerprint(self, small: Collection, encoders: Encoders, given: Any) -> None:
        vectors = encoded({"dense": encoders["dense"]}, ["글"])["vectors"]
        with pytest.raises(InvalidArgumentError, match="fingerprints"):
            small.add_encoded([("a", "글")], vectors, fingerprints=given)
        assert len(small) == 0

    def test_wrong_sparse_and_token_vectors_change_nothing(self, make: Make, encoders: Encoders) -> None:
        collection = make(encoders=[encoders["colbert"], encoders["sparse"]], bm25=False)
        good = encoded({name: encoders[name] for name in ("colbert", "sparse")}, ["첫째 글", "둘째 글"])
        own = good["vectors"]
        short = np.zeros((0, encoders["colbert"].dim), np.float32)
        dim = encoders["sparse"].dim
        outside = [
            sp.csr_array((np.ones(2, np.float32), terms, [0, 1, 2]), shape=(2, dim))  # scipy takes them
            for terms in ([0, dim], [0, dim + 5_000_000], [-1, 0])
        ]
        for changed in (
            {"sparse": own["sparse"].toarray()}, {"sparse": own["sparse"][:1]}, {"sparse": own["sparse"] * np.nan},
            {"colbert": own["colbert"][:1]}, {"colbert": [own["colbert"][0], own["colbert"][1][:, :3]]},
            {"colbert": [own["colbert"][0], short]}, {"colbert": [own["colbert"][0], None]},
            {"colbert": [own["colbert"][0], own["colbert"][1] * np.float32(1e9)]}, {"colbert": 5},
            *({"sparse": rows} for rows in outside),
        ):  # fmt: skip
            with pytest.raises(InvalidArgumentError):
                collection.add_encoded([("a", "첫째 글"), ("b", "둘째 글")], **{**good, "vectors": {**own, **changed}})
            assert len(collection) == 0
        collection.add_encoded([("a", "첫째 글"), ("b", "둘째 글")], **good)
        assert collection.search("둘째 글", k=1)[0].id == "b"
