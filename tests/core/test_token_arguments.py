"""``codec=``, ``keep_vectors=`` and ``pool_factor=``: how a collection stores token vectors."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_token_codec
from assertions import assert_bilingual

from korag import Collection, load_encoder
from korag.collection.local.segment_stores import SegmentFolder
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError, SegmentError
from korag.legs.multi_vector.pooling import pool
from korag.legs.registry import leg_type, temporary_registrations
from korag.scoring import maxsim
from korag.testing import FakeMultiVectorEncoder

TEXTS = [
    "임대차 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 한다. 늦으면 이자를 더해 준다.",
    "시립 도서관은 매주 월요일과 공휴일에 문을 닫고, 화요일부터 일요일까지는 아침 아홉 시에 연다.",
    "분실한 교통카드는 고객 센터에서 잔액을 환불받을 수 있으나 카드값은 돌려주지 않는다.",
    "",
    "빵",
]
QUERY = "보증금은 언제 돌려받나요?"
DEFAULT = leg_type("colbert").codecs[0].name


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with temporary_registrations():
        toy_token_codec.register()
        yield


def fake() -> Any:
    return FakeMultiVectorEncoder()


def scores(collection: Collection) -> dict[str, float]:
    return {hit.id: hit.score for hit in collection.search(QUERY, k=10, using="colbert")}


def filled(collection: Collection) -> Collection:
    collection.add(TEXTS, ids=list("abcde"))
    return collection


def codec_of(collection: Collection) -> str:
    manifest = json.loads(_legs(collection))
    return str(manifest["colbert"]["codec"]["name"])


def _legs(collection: Any) -> str:
    row: tuple[str] = collection._database._connection.execute(
        "SELECT value FROM settings WHERE name = 'legs'"
    ).fetchone()
    return row[0]


# -- pooling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_documents_have_fewer_vectors_and_queries_all(factor: int) -> None:
    encoder = fake()
    (query,) = encoder.encode_queries([QUERY])
    pooled = [pool(tokens, factor) for tokens in encoder.encode_documents(TEXTS)]
    with Collection.in_memory(encoders=[encoder], pool_factor=factor, window=None) as collection:
        found = scores(filled(collection))
        plain = Collection.in_memory(encoders=[encoder], window=None)
        assert collection.index_bytes < filled(plain).index_bytes
    expected = maxsim(query, [np.float16(tokens) for tokens in pooled])
    assert found.keys() == set("abce")
    for id_, score in found.items():
        assert score == pytest.approx(float(expected["abcde".index(id_)]), abs=1e-5)


def test_windows_are_pooled_one_by_one() -> None:
    text = " ".join(TEXTS[:3])
    with Collection.in_memory(encoders=[fake()], pool_factor=2, window=16) as split:
        split.add([text])
        (hit,) = split.search(QUERY)
        assert hit.span
        with Collection.in_memory(encoders=[fake()], pool_factor=2, window=None) as alone:
            alone.add([hit.passage])
            assert alone.search(QUERY)[0].score == hit.score


def test_equal_documents_have_equal_vectors() -> None:
    with Collection.in_memory(encoders=["mini-colbert"], pool_factor=3) as collection:
        collection.add([*TEXTS[:3], TEXTS[1], TEXTS[1]], ids=list("abcde"))
        found = scores(collection)
        assert found["b"] == found["d"] == found["e"]
        assert len({found["a"], found["b"], found["c"]}) == 3


def test_one_merges_nothing() -> None:
    with Collection.in_memory(encoders=[fake()], pool_factor=1) as one, Collection.in_memory(encoders=[fake()]) as none:
        assert scores(filled(one)) == scores(filled(none))
        assert json.loads(_legs(one)) == json.loads(_legs(none))


def test_the_pool_factor_is_kept(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "a", encoders=[fake()], bm25=True, pool_factor=2) as collection:
        before = scores(filled(collection))
        assert scores(filled(collection.empty())) == before  # type: ignore[attr-defined]
        collection.save(tmp_path / "b")
    for folder in ("a", "b"):
        with Collection.open(tmp_path / folder, encoders=[fake()], pool_factor=2) as again:
            assert scores(again) == before
            again.add([TEXTS[0]], ids=["또"])
            assert scores(again)["또"] == before["a"]
            again.compact()
            assert scores(again)["또"] == before["a"]
            with pickle.loads(pickle.dumps(again)) as copied:  # noqa: S301 (our own)
                copied.add([TEXTS[1]], ids=["더"])
                assert scores(copied)["더"] == before["b"]
        assert Collection.verify(tmp_path / folder).ok
    memory = filled(Collection.in_memory(encoders=[fake()], pool_factor=2))
    with pickle.loads(pickle.dumps(memory)) as copied:  # noqa: S301 (our own)
        copied.add([TEXTS[0]], ids=["또"])
        assert scores(copied)["또"] == before["a"]


@pytest.mark.parametrize(("made", "opened"), [({"pool_factor": 2}, 1), ({"pool_factor": 2}, 3), ({}, 2)])
def test_another_pool_factor_is_another_collection(tmp_path: Path, made: dict[str, Any], opened: int) -> None:
    with Collection.open(tmp_path, encoders=[fake()], **made) as collection:
        before = scores(filled(collection))
    stored = made.get("pool_factor", 1)
    with pytest.raises(FingerprintError, match=f"pool_factor={stored}, not {opened}") as caught:
        Collection.open(tmp_path, encoders=[fake()], pool_factor=opened)
    assert_bilingual(caught.value, "pool_factor")
    with Collection.open(tmp_path, encoders=[fake()]) as again:
        assert scores(again) == before


@pytest.mark.parametrize("value", [0, -1, "2", 2.0, True, [2], None])
def test_a_manifest_with_a_strange_pool_factor_is_not_opened(tmp_path: Path, value: object) -> None:
    with Collection.open(tmp_path, encoders=[fake()], pool_factor=2) as collection:
        filled(collection)
    database = sqlite3.connect(tmp_path / "korag.sqlite3")
    legs = json.loads(database.execute("SELECT value FROM settings WHERE name = 'legs'").fetchone()[0])
    legs["colbert"]["pool_factor"] = value
    with database:
        database.execute("UPDATE settings SET value = ? WHERE name = 'legs'", (json.dumps(legs),))
    database.close()
    with pytest.raises(IndexStateError, match="pool_factor") as caught:
        Collection.open(tmp_path, encoders=[fake()])
    assert_bilingual(caught.value)


# -- codecs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"codec": "signs"}, "signs"),
        ({"codec": "signs", "keep_vectors": False}, "signs"),
        ({"codec": "signs", "keep_vectors": True}, "signs+vectors"),
        ({"codec": "signs+vectors"}, "signs+vectors"),
        ({"codec": "signs+vectors", "keep_vectors": True}, "signs+vectors"),
    ],
)
@pytest.mark.parametrize("window", [16, None])
def test_a_codec_is_chosen_recorded_and_found_again(
    tmp_path: Path, arguments: dict[str, Any], name: str, window: Any
) -> None:
    recorded = name if window is None else name + "+windows"
    with Collection.open(tmp_path, encoders=[fake()], bm25=True, window=window, **arguments) as collection:
        before = scores(filled(collection))
        assert codec_of(collection) == recorded
        assert scores(filled(collection.empty())) == before  # type: ignore[attr-defined]
    for again in ({}, arguments, {"codec": name}, {"codecs": {"colbert": name}}, {"keep_vectors": "+" in name}):
        with Collection.open(tmp_path, encoders=[fake()], **again) as collection:
            assert scores(collection) == before
    with Collection.in_memory(encoders=[fake()], codecs={"colbert": name}) as same:
        assert scores(filled(same)) == before


def test_what_does_not_say_whether_vectors_are_kept_opens_both(tmp_path: Path) -> None:
    Collection.open(tmp_path, encoders=[fake()], codec="signs", keep_vectors=True).close()
    Collection.open(tmp_path, encoders=[fake()], codec="signs").close()


def test_vectors_are_always_kept_by_the_default(tmp_path: Path) -> None:
    Collection.open(tmp_path, encoders=[fake()], keep_vectors=True).close()
    Collection.open(tmp_path, encoders=[fake()], keep_vectors=True).close()
    with pytest.raises(FingerprintError, match="keep_vectors=True, not False"):
        Collection.open(tmp_path, encoders=[fake()], keep_vectors=False)


@pytest.mark.parametrize(
    ("made", "opened", "message"),
    [
        ({}, {"codec": "signs"}, "not 'signs'"),
        ({}, {"codec": "signs", "keep_vectors": True}, "not 'signs\\+vectors'"),
        ({"codec": "signs"}, {"codec": "signs", "keep_vectors": True}, "codec='signs', not 'signs\\+vectors'"),
        ({"codec": "signs+vectors"}, {"codec": "signs", "keep_vectors": False}, "codec='signs\\+vectors', not 'signs'"),
        ({"codec": "signs"}, {"keep_vectors": True}, "keep_vectors=False, not True"),
        ({"codec": "signs+vectors"}, {"keep_vectors": False}, "keep_vectors=True, not False"),
    ],
)
def test_another_codec_is_another_collection(
    tmp_path: Path, made: dict[str, Any], opened: dict[str, Any], message: str
) -> None:
    with Collection.open(tmp_path, encoders=[fake()], **made) as collection:
        filled(collection)
    with pytest.raises(FingerprintError, match=message) as caught:
        Collection.open(tmp_path, encoders=[fake()], **opened)
    assert_bilingual(caught.value)
    assert ("upgrade" in str(caught.value)) == (made != {"codec": "signs"})  # which has lost its vectors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ({"codec": codec}, "there is no such codec; it must be one of .*'signs'")
            for codec in ("1-bit", "int4", "fp16", "1", 1, True, 16, "", ["1bit"], {"colbert": "1bit"}, b"1bit")
        ),
        ({"keep_vectors": "yes"}, "keep_vectors='yes' is invalid"),
        ({"codec": "signs", "keep_vectors": 1}, "keep_vectors=1 is invalid"),
        ({"keep_vectors": False}, "keep_vectors=False: .* stores the vectors themselves"),
        ({"codec": "signs+vectors", "keep_vectors": False}, "keep_vectors=False: codec='signs\\+vectors' stores"),
        *(({"pool_factor": factor}, "pool_factor=.* is invalid") for factor in (0, -2, 2.0, "2", True, [2])),
        ({"codec": "signs", "codecs": {"colbert": "signs"}}, "Both codec='signs' and codecs="),
        ({"keep_vectors": True, "codecs": {"colbert": "signs"}}, "Both keep_vectors=True and codecs="),
        ({"encoders": ["mini-dense"], "codec": "signs"}, "codec='signs' is for ColBERT models"),
        ({"encoders": ["mini-dense"], "keep_vectors": True}, "keep_vectors=True is for ColBERT models"),
        ({"encoders": ["mini-dense"], "pool_factor": 2}, "pool_factor=2 is for ColBERT models"),
        ({"encoders": None, "bm25": True, "pool_factor": 2}, "pool_factor=2 is for ColBERT models"),
    ],
)
def test_wrong_arguments_are_errors_before_anything_is_made(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    for make in (Collection.in_memory, lambda **given: Collection.open(tmp_path / "new", **given)):
        with pytest.raises(InvalidArgumentError, match=message) as caught:
            make(**{"encoders": [fake()], **arguments})
        assert_bilingual(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_collection_without_token_vectors_takes_none_of_them(tmp_path: Path) -> None:
    Collection.open(tmp_path, bm25=True).close()
    for arguments in ({"codec": "signs"}, {"keep_vectors": True}, {"pool_factor": 2}):
        with pytest.raises(InvalidArgumentError, match="is for ColBERT models"):
            Collection.open(tmp_path, **arguments)  # type: ignore[arg-type]


def test_other_stores_names_for_the_arguments_are_understood() -> None:
    for given, meant in (("quantization", "codec"), ("nbits", "codec"), ("token_pool_factor", "pool_factor")):
        with pytest.raises(InvalidArgumentError, match=f"Did you mean {meant}"):
            Collection.in_memory(encoders=[fake()], **{given: 2})  # type: ignore[arg-type]


def test_a_real_model_finds_the_same_document_with_half_the_vectors() -> None:
    encoder = load_encoder("mini-colbert")
    with Collection.in_memory(encoders=[encoder], pool_factor=2) as collection:
        assert filled(collection).search(QUERY)[0].id == "a"


# -- another codec ----------------------------------------------------------------------------------------


def stored(folder: Path) -> tuple[str, bool]:
    """The codec that an existing collection has, and the number of its segment files that are named."""
    with Collection.open(folder, encoders=[fake()]) as collection:
        named = {info.name for info in collection._database.segments()}  # type: ignore[attr-defined]
        files = {path.name for path in (folder / "segments").iterdir()}
        return codec_of(collection).removesuffix("+windows"), named == files


@pytest.mark.parametrize("window", [16, None])
@pytest.mark.parametrize(
    ("made", "changed", "name"),
    [
        ({}, {"codec": "signs"}, "signs"),
        ({}, {"codec": "signs", "keep_vectors": True}, "signs+vectors"),
        ({"codec": "signs+vectors"}, {"codec": "signs"}, "signs"),
        ({"codec": "signs+vectors"}, {"keep_vectors": False}, "signs"),
        ({"codec": "signs", "keep_vectors": True}, {"codec": DEFAULT}, DEFAULT),
    ],
)
def test_a_codec_is_changed_without_encoding_a_text(
    tmp_path: Path, window: Any, made: dict[str, Any], changed: dict[str, Any], name: str
) -> None:
    folder, encoder = tmp_path / "색인", fake()
    with Collection.open(folder, encoders=[encoder], bm25=True, window=window, pool_factor=2, **made) as collection:
        filled(collection)
        collection.add([TEXTS[2] + " 우산도 빌려준다.", TEXTS[0]], ids=["c", "f"])
        collection.delete(["f"])
        words = collection.search(QUERY, using="bm25")
    assert Collection.upgrade(folder, **changed) == 2
    assert stored(folder) == (name, True)
    assert Collection.upgrade(folder, **changed) == 0
    assert Collection.upgrade(folder) == 0
    assert Collection.verify(folder).ok
    with Collection.in_memory(encoders=[encoder], window=window, pool_factor=2, codecs={"colbert": name}) as new:
        filled(new).add([TEXTS[2] + " 우산도 빌려준다."], ids=["c"])
        expected = scores(new)
    with Collection.open(folder, encoders=[encoder], **changed, pool_factor=2) as collection:
        assert scores(collection) == expected
        assert collection.search(QUERY, using="bm25") == words
        collection.add([TEXTS[0]], ids=["또"])
        collection.compact()
        assert scores(collection) == {**expected, "또": expected["a"]}


@pytest.mark.parametrize("window", [16, None])
@pytest.mark.parametrize("codec", [row.name for row in leg_type("colbert").codecs[1:]])
def test_each_codec_can_take_the_place_of_the_default(tmp_path: Path, codec: str, window: Any) -> None:
    with Collection.open(tmp_path, encoders=[fake()], window=window) as collection:
        filled(collection)
    assert Collection.upgrade(tmp_path, codec=codec) == 1
    assert stored(tmp_path) == (codec, True)
    assert Collection.verify(tmp_path).ok
    with Collection.open(tmp_path, encoders=[fake()], codec=codec) as collection:
        assert scores(collection).keys() == set("abce")


def test_a_copy_in_memory_is_scored_as_the_changed_collection(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "a", encoders=["mini-colbert"]) as collection:
        filled(collection).save(tmp_path / "b")
    assert Collection.upgrade(tmp_path / "b", codec="signs", keep_vectors=True) == 1
    assert Collection.upgrade(tmp_path / "b", codec=DEFAULT) == 1
    with Collection.open(tmp_path / "a") as one, Collection.open(tmp_path / "b") as other:
        assert scores(one) == scores(other)


@pytest.mark.parametrize("changed", [{"codec": DEFAULT}, {"keep_vectors": True}, {"codec": "signs+vectors"}])
def test_vectors_that_were_not_kept_cannot_be_changed(tmp_path: Path, changed: dict[str, Any]) -> None:
    with Collection.open(tmp_path, encoders=[fake()], codec="signs") as collection:
        before = scores(filled(collection))
    files = {path: path.read_bytes() for path in (tmp_path / "segments").iterdir()}
    with pytest.raises(IndexStateError, match="has not kept the vectors") as caught:
        Collection.upgrade(tmp_path, **changed)
    assert_bilingual(caught.value, "codec='signs'", "keep_vectors=True")
    assert {path: path.read_bytes() for path in (tmp_path / "segments").iterdir()} == files
    assert Collection.upgrade(tmp_path, codec="signs") == 0
    with Collection.open(tmp_path, encoders=[fake()]) as collection:
        assert scores(collection) == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"codec": "1-bit"}, "there is no such codec; it must be one of"),
        ({"keep_vectors": "no"}, "keep_vectors='no' is invalid"),
        ({"keep_vectors": False}, "keep_vectors=False: .* stores the vectors themselves"),
        ({"quantization": "signs"}, "Did you mean codec"),
    ],
)
def test_a_wrong_change_is_an_error_and_changes_nothing(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with Collection.open(tmp_path, encoders=[fake()]) as collection:
        filled(collection)
    before = stored(tmp_path)
    with pytest.raises(InvalidArgumentError, match=message):
        Collection.upgrade(tmp_path, **changed)
    assert stored(tmp_path) == before


def test_without_token_vectors_there_is_nothing_to_change(tmp_path: Path) -> None:
    Collection.open(tmp_path, bm25=True).close()
    with pytest.raises(InvalidArgumentError, match="is for ColBERT models"):
        Collection.upgrade(tmp_path, codec="signs")


def test_an_empty_collection_is_changed_too(tmp_path: Path) -> None:
    Collection.open(tmp_path, encoders=[fake()]).close()
    assert Collection.upgrade(tmp_path, codec="signs") == 0
    with Collection.open(tmp_path, encoders=[fake()], codec="signs") as collection:
        assert len(scores(filled(collection))) == 4


def test_a_collection_that_is_open_meanwhile_says_so_and_writes_nothing(tmp_path: Path) -> None:
    with Collection.open(tmp_path, encoders=[fake()]) as read, Collection.open(tmp_path, encoders=[fake()]) as written:
        filled(written)
        scores(read)
        Collection.upgrade(tmp_path, codec="signs")
        for call in (
            lambda: scores(read),
            lambda: written.add(["새 글"]),
            lambda: written.delete(["a"]),
            lambda: written.compact(),  # type: ignore[attr-defined]
            lambda: written.update_metadata(["a"], {"새": 1}),
        ):
            with pytest.raises(IndexStateError, match="to 'signs' since it was opened") as caught:
                call()
            assert_bilingual(caught.value, "'signs'")
    with Collection.open(tmp_path, encoders=[fake()]) as collection:
        assert sorted(collection.ids()) == list("abcde")
        assert len(scores(collection)) == 4


def test_a_change_that_fails_leaves_the_old_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collection.open(tmp_path, encoders=[fake()]) as collection:
        filled(collection).add(["또 다른 글"], ids=["z"])
        before = scores(collection)
    written = 0
    write = SegmentFolder.write

    def fails_at_the_second(self: SegmentFolder, segment: Any) -> Any:
        nonlocal written
        written += 1
        if written == 2:
            raise OSError(28, "No space left on device")
        return write(self, segment)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentFolder, "write", fails_at_the_second)
        with pytest.raises(OSError, match="No space"):
            Collection.upgrade(tmp_path, codec="signs")
    with Collection.open(tmp_path, encoders=[fake()]) as collection:
        assert scores(collection) == before
    assert Collection.upgrade(tmp_path, codec="signs") == 2
    assert stored(tmp_path)[1]


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is forked")
def test_a_change_killed_at_any_step_leaves_the_old_codec_or_the_new_one(tmp_path: Path) -> None:
    """SIGKILL before and after every SQL statement, flush, rename and removal."""
    expected = {}
    for name in ("old", "new"):
        with Collection.open(tmp_path / name, encoders=[fake()], bm25=True, window=16) as collection:
            filled(collection).add(["열쇠는 화분 밑에 있다."], ids=["z"])
            collection.add(["우산은 현관에 있다."], ids=["y"])
    assert Collection.upgrade(tmp_path / "new", codec="signs") == 3
    for name, codec in (("old", DEFAULT), ("new", "signs")):
        with Collection.open(tmp_path / name, encoders=[fake()]) as collection:
            expected[codec] = scores(collection)
    (places := tmp_path / "killed").mkdir()
    command = [sys.executable, Path(__file__).parents[1] / "kill_writer.py", "--folder", places]
    command += ["--upgrade", tmp_path / "old", "--codec", "signs"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = json.loads(done.stdout)["kills"]
    left = []
    for folder in sorted(places.iterdir(), key=lambda path: int(path.name)):
        assert Collection.verify(folder).ok
        with Collection.open(folder, encoders=[fake()]) as collection:
            left.append(codec_of(collection).removesuffix("+windows"))
            assert scores(collection) == expected[left[-1]]
            collection.add(["뒤에 온 글"], ids=["뒤"])  # it can be written to, and clears up
        assert stored(folder) == (left[-1], True)
    assert len(left) == kills + 1
    assert left == sorted(left, key="signs".__eq__)
    assert 30 < left.count(DEFAULT) < len(left)


def test_a_damaged_segment_is_not_changed(tmp_path: Path) -> None:
    with Collection.open(tmp_path, encoders=[fake()]) as collection:
        filled(collection)
    (file,) = (tmp_path / "segments").iterdir()
    content = bytearray(file.read_bytes())
    content[-len(content) // 3] ^= 1
    file.write_bytes(content)
    with pytest.raises(SegmentError):
        Collection.upgrade(tmp_path, codec="signs")
    assert file.read_bytes() == content
