"""Legs and codecs are registered in one place, and from outside the package by two functions."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_codec
import toy_leg

from korag import Collection
from korag.collection.local.database import Database
from korag.errors import FingerprintError, FormatVersionError, IndexStateError, InvalidArgumentError
from korag.legs.base import Arrays, Codec
from korag.legs.dense import DenseLeg, Float32Codec
from korag.legs.registry import (
    leg_of_family,
    leg_type,
    leg_types,
    register_codec,
    register_leg,
    temporary_registrations,
)
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder

TEXTS = ["법 제3조 환불", "환불은 환불 규정에 따른다. 환불!", "도서관은 쉰다", "REFUND refund"]
IDS = ["a", "b", "c", "d"]


def found(collection: Collection, query: str, **settings: Any) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in collection.search(query, **settings)]


# -- the registry -----------------------------------------------------------------------------------------


def test_built_in_legs() -> None:
    names = ["dense", "colbert", "sparse", "bm25", "bm25_bigram", "bm25_kiwi", "bm25_custom"]
    assert [row.name for row in leg_types()] == names
    assert [leg_of_family(family).name for family in ("dense", "late_interaction", "sparse")] == [
        "dense", "colbert", "sparse",
    ]  # fmt: skip
    orders = [row.comparison_order for row in leg_types()]
    assert orders == sorted(set(orders))
    for row in leg_types():
        assert len({codec.name for codec in row.codecs}) == len(row.codecs) > 0


def test_registrations_can_be_undone() -> None:
    with temporary_registrations():
        toy_leg.register()
        toy_codec.register()
        assert leg_type("phrase").codecs[0].name == "utf8"
        assert [codec.name for codec in leg_type("dense").codecs] == ["float32", "int8", "halves"]
    assert [codec.name for codec in leg_type("dense").codecs] == ["float32", "int8"]
    with pytest.raises(InvalidArgumentError, match="dense, colbert, sparse, bm25"):
        leg_type("phrase")


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("dense", {}, "a leg named 'dense' already"),
        ("hybrid", {}, "invalid as a leg's name"),
        ("keys", {}, "invalid as a leg's name"),
        ("a.b", {}, "invalid as a leg's name"),
        ("", {}, "invalid as a leg's name"),
        (None, {}, "invalid as a leg's name"),
        ("new", {"family": "dense", "factory": DenseLeg}, "already has the leg 'dense'"),
        ("new", {"factory": DenseLeg}, "derived from ModelFreeLeg"),
        ("new", {"family": "graph"}, "derived from EncoderLeg"),
        ("new", {"factory": toy_leg.PhraseLeg(toy_leg.TextCodec())}, "derived from ModelFreeLeg"),
        ("new", {"codecs": []}, "at least one codec"),
        ("new", {"codecs": [toy_leg.TextCodec(), toy_leg.TextCodec()]}, "a codec named 'utf8' already"),
        ("new", {"codecs": [toy_leg.TextCodec]}, "instance of Codec"),
        ("new", {"codecs": ["utf8"]}, "instance of Codec"),
    ],
)
def test_bad_legs_are_not_registered(name: Any, arguments: dict[str, Any], reason: str) -> None:
    before = leg_types()
    with pytest.raises(InvalidArgumentError, match=reason) as caught:
        register_leg(name, **({"factory": toy_leg.PhraseLeg, "codecs": [toy_leg.TextCodec()]} | arguments))
    assert len(caught.value.args) == 2
    assert leg_types() == before


def test_bad_codecs_are_not_registered() -> None:
    toy_codec.register()
    before = leg_types()
    with pytest.raises(InvalidArgumentError, match="a codec named 'halves' already"):
        toy_codec.register()
    with pytest.raises(InvalidArgumentError, match=r"leg='densee'.*dense, colbert"):
        register_codec("densee", codec=toy_codec.HalvesCodec())
    with pytest.raises(InvalidArgumentError, match="instance of Codec"):
        register_codec("dense", codec=toy_codec.HalvesCodec)  # type: ignore[arg-type]
    assert leg_types() == before


# -- a leg from outside -----------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "disk"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    toy_leg.register()
    toy_codec.register()
    return Collection.in_memory if request.param == "memory" else lambda **given: Collection.open(tmp_path, **given)


def test_a_leg_from_outside_is_searched_filtered_and_fused(new: Any) -> None:
    collection = new(encoders=[FakeDenseEncoder()], bm25=True, legs=["phrase"])
    assert collection.legs == ("dense", "phrase", "bm25")
    assert collection.encoders.keys() == {"dense"}
    collection.add(TEXTS[:2], ids=IDS[:2], metadata=[{"n": 0}, {"n": 1}])
    collection.add(TEXTS[2:], ids=IDS[2:], metadata=[{"n": 2}, {"n": 3}])
    assert found(collection, "환불", using="phrase") == [("b", 3.0), ("a", 1.0)]
    assert found(collection, "환불", using="phrase", where={"n": {"$lt": 1}}) == [("a", 1.0)]
    assert found(collection, "refund", using="phrase") == [("d", 2.0)]
    assert collection.search("환불", using="phrase")[0].relevance == pytest.approx(0.3)
    assert set(collection.search("환불", k=1)[0].legs) <= {"dense", "phrase", "bm25"}
    collection.delete(["a"])
    collection.add(["환불 " * 5], ids=["b"])
    for _ in range(2):
        assert found(collection, "환불", using="phrase") == [("b", 5.0)]
        collection.compact()
    hits = collection.search("환불", using="phrase")
    assert collection.diversify(hits, using="phrase") == hits


def test_a_leg_from_outside_is_copied_and_pickled(new: Any) -> None:
    collection = new(legs={"phrase": {"fold_case": False}})
    collection.add(TEXTS, ids=IDS)
    for twin in (copy.deepcopy(collection), pickle.loads(pickle.dumps(collection))):  # noqa: S301
        assert found(twin, "refund") == [("d", 1.0)]


def test_settings_are_recorded_and_compared(tmp_path: Path) -> None:
    toy_leg.register()
    with Collection.open(tmp_path / "x", legs={"phrase": {"fold_case": False}}) as collection:
        collection.add(TEXTS, ids=IDS)
    for given in (None, ["phrase"], {"phrase": {}}, {"phrase": None}, {"phrase": {"fold_case": False}}):
        with Collection.open(tmp_path / "x", legs=given) as collection:
            assert found(collection, "refund") == [("d", 1.0)]
    with pytest.raises(FingerprintError, match="fold_case=False, not True"):
        Collection.open(tmp_path / "x", legs={"phrase": {"fold_case": True}})
    with pytest.raises(FingerprintError, match=r"legs names 'bm25'.*has: phrase"):
        Collection.open(tmp_path / "x", legs=["bm25"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"legs": ["phrasee"]}, r"legs='phrasee'.*dense, colbert, sparse, bm25, .*, phrase"),
        ({"legs": ["dense"]}, r"needs a model; pass a dense model in encoders="),
        ({"legs": "phrase"}, r"must be a list of names"),
        ({"legs": 5}, r"must be a list of names"),
        ({"legs": [["phrase"]]}, r"must be a list of names"),
        ({"legs": {"phrase": {"case": 1}}}, r"this leg has no setting 'case'. Its settings: fold_case"),
        ({"legs": {"phrase": "x"}}, r"settings must be a dict"),
        ({"legs": {"bm25": {"tokenizer": "bigram"}}, "tokenizer": "bigram"}, r"Both tokenizer= and"),
        ({"legs": ["bm25"], "bm25": False}, r"bm25=False is given"),
        ({"bm25": True, "codecs": {"bm26": "x"}}, r"codecs='bm26'.*dense, colbert"),
        ({"bm25": True, "codecs": {"bm25": "x"}}, r"no such codec. Codecs for 'bm25': postings"),
        ({"bm25": True, "codecs": {"dense": "float32"}}, r"codecs names 'dense', but the legs .* bm25"),
        ({"bm25": True, "codecs": ["dense"]}, r"must be a dict from legs to codecs"),
        ({"bm25": "mecab"}, r"bm25='mecab' is invalid; it must be True, False, 'bigram'"),
        ({"bm25": []}, r"bm25=\[\] is invalid"),
        ({"bm25": 1}, r"bm25=1 is invalid"),
        ({"bm25": ["bigram", None]}, r"bm25=\['bigram', None\] is invalid"),
        ({"bm25": ["bigram", "bigram"]}, r"names the tokenizer 'bigram' twice"),
        ({"bm25": "bigram", "tokenizer": "bigram"}, r"Both tokenizer='bigram' and bm25='bigram' give a tokenizer"),
        ({"bm25": "bigram", "legs": {"bm25": {"tokenizer": "bigram"}}}, r"Both bm25= and the settings of 'bm25'"),
        ({}, r"needs something to search by"),
    ],
)
def test_unknown_names_and_settings_leave_no_folder(tmp_path: Path, arguments: dict[str, Any], reason: str) -> None:
    toy_leg.register()
    with pytest.raises(InvalidArgumentError, match=reason) as caught:
        Collection.open(tmp_path / "x", **arguments)
    assert len(caught.value.args) == 2
    assert not (tmp_path / "x").exists()
    with pytest.raises(InvalidArgumentError, match=reason):
        Collection.in_memory(**arguments)


def test_bm25_true_is_short_for_a_leg(tmp_path: Path) -> None:
    with Collection.open(tmp_path, legs={"bm25": {"tokenizer": str.split}}) as collection:
        collection.add(TEXTS, ids=IDS)
        expected = found(collection, "환불")
    for given in ({"bm25": True}, {"legs": ["bm25"]}, {}):
        with pytest.raises(FingerprintError, match="custom tokenizer"):
            Collection.open(tmp_path, **given)
    for given in ({"bm25": True}, {"legs": ["bm25"]}, {}):
        with Collection.open(tmp_path, tokenizer=str.split, **given) as collection:
            assert found(collection, "환불") == expected


def test_a_leg_or_codec_that_is_not_registered_here_is_named(tmp_path: Path) -> None:
    with temporary_registrations():
        toy_leg.register()
        toy_codec.register()
        Collection.open(tmp_path / "leg", legs=["phrase"]).close()
        Collection.open(tmp_path / "codec", encoders=[FakeDenseEncoder()], codecs={"dense": "halves"}).close()
    for opened in (Collection.open, Collection.upgrade):
        with pytest.raises(IndexStateError, match="'phrase' index"):
            opened(tmp_path / "leg")
        with pytest.raises(IndexStateError, match="codec 'halves', which is not registered"):
            opened(tmp_path / "codec")


# -- a codec from outside ---------------------------------------------------------------------------------


def test_a_codec_from_outside_stores_the_same(new: Any, tmp_path: Path) -> None:
    plain = Collection.in_memory(encoders=[FakeDenseEncoder()])
    collection = new(encoders=[FakeDenseEncoder()], codecs={"dense": "halves"})
    for one in (plain, collection):
        one.add(TEXTS[:2], ids=IDS[:2])
        one.add(TEXTS[2:], ids=IDS[2:])
        one.delete(["c"])
    for _ in range(2):
        assert found(collection, "환불 규정") == found(plain, "환불 규정")
        collection.compact()
    (reader,) = collection._reader.read().readers
    assert set(reader.legs["dense"].arrays) == {"upper", "lower"}
    folder = collection.save(tmp_path / "사본")
    with Collection.open(folder, encoders=[FakeDenseEncoder()]) as copied:
        assert found(copied, "환불 규정") == found(plain, "환불 규정")


def test_another_codec_is_refused_by_name(tmp_path: Path) -> None:
    toy_codec.register()
    Collection.open(tmp_path, encoders=[FakeDenseEncoder()], codecs={"dense": "halves"}).close()
    with Collection.open(tmp_path, encoders=[FakeDenseEncoder()], codecs={"dense": "halves"}) as collection:
        assert len(collection) == 0
    with pytest.raises(FingerprintError, match=r"codec='halves'"):
        Collection.open(tmp_path, encoders=[FakeDenseEncoder()], codecs={"dense": "float32"})
    with pytest.raises(FingerprintError, match=r"codecs names 'colbert'"):
        Collection.open(tmp_path, encoders=[FakeDenseEncoder()], codecs={"colbert": "float16"})


class Newer(Float32Codec):
    """Tomorrow's float32 codec, which stores the vectors under another name."""

    version = 3

    def encode(self, vectors: Any) -> dict[str, Any]:
        return {"rows": vectors}

    def decode(self, arrays: Arrays, rows: Any) -> Any:
        return arrays["rows"][rows]

    def read(self, arrays: Arrays, version: int) -> Arrays:
        return {"rows": arrays["vectors"]} if version == 2 else super().read(arrays, version)

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        super().check({"vectors": arrays["rows"]}, rows, dim=dim)

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        super().check_layout({"vectors": arrays["rows"]}, rows, dim=dim)


def use(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the dense leg's only codec, as a new release would."""
    from dataclasses import replace

    from korag.legs import registry

    monkeypatch.setitem(registry._legs, "dense", replace(leg_type("dense"), codecs=(codec,)))


def test_a_new_version_of_a_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old segments stay readable, new ones are written beside them, and the older release refuses both."""
    arguments: dict[str, Any] = {"encoders": [FakeDenseEncoder(), FakeMultiVectorEncoder(dim=8)], "bm25": True}
    with Collection.open(tmp_path, **arguments) as collection:
        collection.add(TEXTS[:2], ids=IDS[:2])
        still_open = Collection.open(tmp_path, **arguments)
        with monkeypatch.context() as patch:
            use(Newer(), patch)
            with Collection.open(tmp_path, **arguments) as newer:
                assert found(newer, "환불", using="dense") == found(collection, "환불", using="dense")
                before = Database(tmp_path / "korag.sqlite3").read_settings()
                assert before[1]["legs"]["dense"]["codec"] == {"name": "float32", "version": 2}
                newer.add(TEXTS[2:], ids=IDS[2:])
                expected = found(newer, "환불 규정", using="dense")
                assert {id_ for id_, _ in expected} == set(IDS)
            assert Collection.upgrade(tmp_path) == 1
            assert Collection.upgrade(tmp_path) == 0
            with Collection.open(tmp_path, **arguments) as newer:
                assert found(newer, "환불 규정", using="dense") == expected
        with pytest.raises(FormatVersionError, match="version 3 of the codec 'float32'"):
            still_open.search("환불")
        with pytest.raises(FormatVersionError, match="version 3 of the codec 'float32'"):
            still_open.delete(IDS[:1])  # nor may the older release write its manifest over the newer one
        assert len(still_open) == len(IDS)
        still_open.close()
    for opened in (lambda: Collection.open(tmp_path, **arguments), lambda: Collection.upgrade(tmp_path)):
        with pytest.raises(FormatVersionError, match="version 3 of the codec 'float32'"):
            opened()


def test_a_pickle_made_before_a_new_version_of_a_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving it writes the new layout, so the older release must refuse it when it is opened."""
    collection = Collection.in_memory(encoders=[FakeDenseEncoder()])
    collection.add(TEXTS, ids=IDS)
    pickled = pickle.dumps(collection)
    with monkeypatch.context() as patch:
        use(Newer(), patch)
        unpickled = pickle.loads(pickled)  # noqa: S301
        assert found(unpickled, "환불") == found(collection, "환불")
        unpickled.save(tmp_path / "사본")
    with pytest.raises(FormatVersionError, match="version 3 of the codec 'float32'"):
        Collection.open(tmp_path / "사본", encoders=[FakeDenseEncoder()])


def test_the_default_scoring_of_a_codec_is_that_of_decoded_vectors() -> None:
    """Codecs need only encode and decode: what they inherit finds what the built-in ones find."""
    from korag.legs import bm25_codecs, sparse
    from korag.legs.multi_vector import codecs

    class SlowDense(Float32Codec):
        scores = Float32Codec.__mro__[1].scores  # type: ignore[attr-defined]

    class SlowSparse(sparse.PostingsCodec):
        scores = sparse.SparseCodec.scores

    class SlowBM25(bm25_codecs.PostingsCodec):
        scores = bm25_codecs.BM25Codec.scores
        best_scores = bm25_codecs.BM25Codec.best_scores
        statistics = bm25_codecs.BM25Codec.statistics

    class SlowColbert(codecs.Float16Codec):
        search = codecs.MultiVectorCodec.search

    arguments: dict[str, Any] = {"encoders": [FakeDenseEncoder(), FakeMultiVectorEncoder(dim=8)], "bm25": True}
    fast = Collection.in_memory(**arguments)
    for leg, codec in (
        ("dense", SlowDense()),
        ("colbert", SlowColbert()),
        ("bm25", SlowBM25()),
        ("sparse", SlowSparse()),
    ):
        codec.__class__.name = "slow"
        register_codec(leg, codec=codec)
    slow = Collection.in_memory(**arguments, codecs={"dense": "slow", "colbert": "slow", "bm25": "slow"})
    for one in (fast, slow):
        one.add(TEXTS * 5)
        one.delete([one.get()[3].id])
    for using in ("dense", "colbert", "bm25"):
        expected = [hit.score for hit in fast.search("환불 규정 도서관", using=using)]
        assert [hit.score for hit in slow.search("환불 규정 도서관", using=using)] == expected
    import scipy.sparse as sp

    vectors = sp.random_array((9, 20), density=0.3, rng=np.random.default_rng(1), dtype=np.float32, format="csr")
    postings = sparse.PostingsCodec()
    arrays, rows = postings.encode(vectors), np.array([0, 3, 8])
    assert (
        SlowSparse().scores(arrays, vectors[:1], rows).tolist() == postings.scores(arrays, vectors[:1], rows).tolist()
    )
