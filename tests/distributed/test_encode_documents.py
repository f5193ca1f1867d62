"""`EncodeDocuments` in one process: batches of every kind, files that resume by content, and what is refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from korag import Collection, load_encoder
from korag.distributed import EncodeDocuments, EncodedTexts, add_encoded_texts
from korag.encoders.pretrained import PretrainedEncoder
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError, InvalidTextError
from korag.splitting import split

MODELS = ["mini-dense", "mini-splade", "mini-colbert"]
TEXTS = [
    "전세 계약이 끝나면 보증금을 돌려받습니다.",
    "도서관은 매주 월요일에 쉽니다.",
    "자전거는 차도의 오른쪽 가장자리로 다닙니다.",
    "김치는 소금에 절인 배추로 담급니다.",
    "버스가 끊긴 뒤에는 심야 버스를 탈 수 있습니다.",
]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that a model was asked for."""
    seen: list[str] = []
    original = PretrainedEncoder.encode_documents

    def watched(self: Any, texts: Any, **more: Any) -> Any:
        seen.extend(texts)
        return original(self, texts, **more)

    monkeypatch.setattr(PretrainedEncoder, "encode_documents", watched)
    return seen


def _batches() -> list[Any]:
    columns = {"id": np.array(["a", "b", "c"], object), "text": np.array(TEXTS[:3], object)}
    frame = pd.DataFrame({name: list(values) for name, values in columns.items()})
    return [columns, frame, pa.table({name: list(values) for name, values in columns.items()})]


@pytest.mark.parametrize("kind", range(3))
def test_batches_of_every_kind_come_back_with_vectors(kind: int) -> None:
    batch = _batches()[kind]
    encode = EncodeDocuments(MODELS)
    found = pickle.loads(pickle.dumps(encode))(batch)  # noqa: S301
    assert type(found) is type(batch)
    assert list(found["id"].to_pylist() if kind == 2 else found["id"]) == ["a", "b", "c"]
    vectors = encode.vectors_of(found)
    assert np.array_equal(vectors["dense"], load_encoder("mini-dense").encode_documents(TEXTS[:3]))
    sparse = load_encoder("mini-splade").encode_documents(TEXTS[:3])
    assert np.array_equal(vectors["sparse"].toarray(), sparse.toarray())
    tokens = load_encoder("mini-colbert").encode_documents(TEXTS[:3])
    assert all(np.array_equal(one, two.astype(np.float16)) for one, two in zip(vectors["colbert"], tokens, strict=True))
    with Collection.in_memory(encoders=MODELS, bm25=True) as collection:
        collection.add_encoded(list(zip("abc", TEXTS, strict=False)), vectors, fingerprints=encode.fingerprints)
        assert collection.search("책 빌리는 곳", k=3) == _local(TEXTS[:3], "책 빌리는 곳")


def _local(texts: list[str], query: str) -> Any:
    with Collection.in_memory(encoders=MODELS, bm25=True) as collection:
        collection.add(texts, ids=list("abcdefg")[: len(texts)])
        return collection.search(query, k=3)


def test_partitions_are_encoded_one_after_the_other() -> None:
    frames = [pd.DataFrame({"body": TEXTS[:2]}), pd.DataFrame({"body": TEXTS[2:]})]
    found = list(EncodeDocuments(["mini-dense"], text_column="body").partitions(iter(frames)))
    assert [len(frame) for frame in found] == [2, 3]
    assert [len(row) for row in found[1]["dense"]] == [192] * 3


def test_pickles_are_small_and_a_process_loads_a_model_once() -> None:
    encode = EncodeDocuments(MODELS)
    encode({"text": TEXTS[:1]})
    data = pickle.dumps(encode)
    assert len(data) < 10_000
    copies = [pickle.loads(data) for _ in range(3)]  # noqa: S301
    for copy in copies:
        copy({"text": TEXTS[:1]})
    from korag.distributed import encoding

    assert {encoder.model_name for encoder in encoding._of_process.values()} >= set(MODELS)
    loaded = [copy for copy in copies if any(encoder._model is not None for encoder in copy._encoders.values())]
    assert not loaded  # the first of all keeps the weights


def test_texts_in_the_folder_are_not_encoded_again(tmp_path: Path, encoded: list[str]) -> None:
    folder = tmp_path / "vectors"
    encode = EncodeDocuments(["mini-dense"], folder=folder)
    assert encode.missing([*TEXTS, TEXTS[0]]) == TEXTS
    first = encode({"text": TEXTS[:3]})
    assert set(first) == {"text", "korag_key"}
    assert encoded == TEXTS[:3]
    again = pickle.loads(pickle.dumps(encode))  # noqa: S301
    assert again({"text": TEXTS})["korag_key"][:3] == first["korag_key"]  # in another batch
    assert encoded == TEXTS
    again({"text": TEXTS[::-1]})
    assert encoded == TEXTS
    assert again.missing(TEXTS) == []
    assert len(EncodedTexts(folder)) == 5
    assert len(list(folder.iterdir())) == 2


def test_equal_texts_are_encoded_once(tmp_path: Path, encoded: list[str]) -> None:
    EncodeDocuments(["mini-dense"], folder=tmp_path / "v")({"text": ["가", "가", "나"]})
    assert encoded == ["가", "나"]


def test_a_folder_makes_the_collection_that_adding_the_texts_makes(tmp_path: Path, encoded: list[str]) -> None:
    encode = EncodeDocuments(MODELS, folder=tmp_path / "vectors")
    for start in range(0, 5, 2):
        encode({"text": TEXTS[start : start + 2]})
    count = len(encoded)
    with Collection.open(tmp_path / "index", encoders=MODELS, bm25=True) as collection:
        documents = [(id_, text, {"n": place}) for place, (id_, text) in enumerate(zip("abcde", TEXTS, strict=True))]
        assert add_encoded_texts(collection, iter(documents), tmp_path / "vectors", block=2) == 5
        assert add_encoded_texts(collection, documents, tmp_path / "vectors") == 5
        assert len(encoded) == count
        found = collection.search("책 빌리는 곳", k=3)
        assert [hit.metadata["n"] for hit in found] == ["abcde".index(hit.id) for hit in found]
    own = _local(TEXTS, "책 빌리는 곳")
    assert [hit.id for hit in found] == [hit.id for hit in own]
    for one, other in zip(found, own, strict=True):  # batches of other sizes round differently
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert {name: rank for name, (rank, _) in one.legs.items()} == {n: rank for n, (rank, _) in other.legs.items()}


def test_many_threads_write_to_one_folder(tmp_path: Path) -> None:
    encode = EncodeDocuments(["mini-dense"], folder=tmp_path / "vectors")
    batches = [[f"{number % 50}번 문장", f"{(number * 7) % 50}번 문장"] for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda texts: pickle.loads(pickle.dumps(encode))({"text": texts}), batches))  # noqa: S301
    texts = [f"{number}번 문장" for number in range(50)]
    vectors = EncodedTexts(tmp_path / "vectors").vectors(texts)
    assert np.allclose(vectors["dense"], load_encoder("mini-dense").encode_documents(texts), atol=1e-6)
    assert not [path for path in (tmp_path / "vectors").iterdir() if path.suffix != ".safetensors"]


def test_a_text_without_vectors_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    EncodeDocuments(["mini-dense"], folder=tmp_path / "v")({"text": TEXTS[:2]})
    with Collection.in_memory(encoders=["mini-dense"]) as collection:
        with pytest.raises(IndexStateError, match="no vectors of 3 texts") as error:
            add_encoded_texts(collection, list(zip("abcde", TEXTS, strict=True)), tmp_path / "v")
        assert len(collection) == 0
    assert "다시 실행" in str(error.value)
    with Collection.in_memory(encoders=["mini-dense"]) as collection, pytest.raises(IndexStateError, match="no files"):
        add_encoded_texts(collection, [("a", "글")], tmp_path / "nothing")


def test_a_deleted_file_is_made_again_by_the_same_object(tmp_path: Path, encoded: list[str]) -> None:
    encode = EncodeDocuments(["mini-dense"], folder=tmp_path / "v")
    encode({"text": TEXTS[:2]})
    (gone,) = (tmp_path / "v").glob("*.safetensors")
    encode({"text": TEXTS[2:]})
    gone.unlink()
    assert encode.missing(TEXTS) == TEXTS[:2]
    encode({"text": TEXTS})
    assert encoded == TEXTS + TEXTS[:2]
    with Collection.in_memory(encoders=["mini-dense"]) as collection:
        assert add_encoded_texts(collection, list(zip("abcde", TEXTS, strict=True)), tmp_path / "v") == 5


def test_what_a_killed_worker_left_is_removed_a_day_later(tmp_path: Path) -> None:
    encode = EncodeDocuments(["mini-dense"], folder=tmp_path)
    old, new = tmp_path / ".korag-0123.tmp", tmp_path / ".korag-4567.tmp"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    encode({"text": TEXTS[:1]})
    assert not old.exists()
    assert new.exists()


def test_parts_of_documents_have_the_vectors_that_adding_them_makes(tmp_path: Path) -> None:
    text = "# 임대차 계약\n\n## 반환\n\n임대인은 보증금을 돌려준다.\n\n## 수선\n\n임차인이 알린다.\n"
    chunk = split(text, encoder=load_encoder("mini-dense"), filename="계약.md", max_tokens=16)[-1]
    assert chunk.searched != chunk.text
    document = ("조", chunk.text, chunk.to_metadata())
    EncodeDocuments(MODELS, folder=tmp_path / "v")({"text": [chunk.searched]})
    with Collection.in_memory(encoders=MODELS) as collection, Collection.in_memory(encoders=MODELS) as usual:
        add_encoded_texts(collection, [document, ("빈", " ")], tmp_path / "v")
        usual.add([chunk.text, " "], ids=["조", "빈"], metadata=[chunk.to_metadata(), {}])
        for leg in usual.legs:
            found, wanted = (each.search("임대차 계약의 보증금", using=leg) for each in (collection, usual))
            assert [(hit.id, round(hit.score, 4)) for hit in found] == [(hit.id, round(hit.score, 4)) for hit in wanted]


@pytest.mark.parametrize("wrong", [("x",), {"id": "x"}, None, "xy", (1, "글"), ("x", None), ("x", "글", [])])
def test_wrong_documents_are_errors_with_their_place(wrong: Any, tmp_path: Path) -> None:
    EncodeDocuments(["mini-dense"], folder=tmp_path)({"text": ["글"]})
    with Collection.in_memory(encoders=["mini-dense"]) as collection:
        with pytest.raises((InvalidArgumentError, InvalidTextError), match=r"documents\[1\]|metadata\[1\]"):
            add_encoded_texts(collection, [("a", "글"), wrong], tmp_path)
        assert len(collection) == 0


def test_empty_batches_have_the_types_of_others() -> None:
    encode = EncodeDocuments(MODELS)
    some, none = encode(pa.table({"text": TEXTS[:1]})), encode(pa.table({"text": pa.array([], pa.string())}))
    assert some.schema == none.schema
    assert some.schema.field("dense").type == pa.list_(pa.float32())
    assert encode(some).schema == some.schema  # once more
    assert encode.vectors_of(encode(some))["dense"].shape == (1, load_encoder("mini-dense").dim)


def test_vectors_of_other_models_are_refused(tmp_path: Path) -> None:
    EncodeDocuments(["mini-dense"], folder=tmp_path / "v")({"text": TEXTS})
    with pytest.raises(FingerprintError, match="a folder for each"):
        EncodeDocuments([{"model": "mini-dense", "query_prompt": "Q: "}], folder=tmp_path / "v")
    other = load_encoder("mini-dense", dim=64)
    with Collection.in_memory(encoders=[other]) as collection, pytest.raises(FingerprintError):
        add_encoded_texts(collection, [("a", TEXTS[0])], tmp_path / "v")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other"])
def test_damaged_files_are_errors(damage: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    EncodeDocuments(MODELS, folder=tmp_path / "v")({"text": TEXTS})
    (path,) = (tmp_path / "v").iterdir()
    data = path.read_bytes()
    if damage == "other":
        save_file({"keys": np.zeros((1, 16), np.uint8)}, path)
    else:
        path.write_bytes({"cut": data[:-100], "empty": b"", "text": b"x" * 500}[damage])
    with pytest.raises(IndexStateError, match="Delete it and run again"):
        EncodedTexts(tmp_path / "v")
    path.unlink()
    assert EncodeDocuments(MODELS, folder=tmp_path / "v").missing(TEXTS) == TEXTS


def test_arrays_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load, save

    EncodeDocuments(MODELS, folder=tmp_path / "v")({"text": TEXTS})
    (path,) = (tmp_path / "v").iterdir()
    whole = load(path.read_bytes())
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert EncodedTexts(tmp_path / "v").vectors(TEXTS[1:2])["dense"].shape == (1, whole["dense"].shape[1])
    del metadata["sha256"]
    changes = {
        "dense": whole["dense"][:, :5].copy(),
        "colbert": whole["colbert"][1:].copy(),
        "colbert.ends": whole["colbert.ends"][::-1].copy(),
        "sparse.indices": whole["sparse.indices"][1:].copy(),
        "keys": whole["keys"][1:].copy(),
    }
    beyond = {
        "dense": np.full_like(whole["dense"], np.nan),
        "colbert": np.full_like(whole["colbert"], np.inf),
        "sparse": np.full_like(whole["sparse"], np.nan),
        "sparse.indices": np.full_like(whole["sparse.indices"], 1 << 30),
    }
    for name, value in [*changes.items(), *beyond.items()]:
        content = save({**whole, name: value}, metadata=metadata)
        digest = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
        path.write_bytes(save({**whole, name: value}, metadata={**metadata, "sha256": digest}))
        with pytest.raises(IndexStateError, match="damaged"):
            EncodedTexts(tmp_path / "v").vectors(TEXTS[1:2])


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    EncodeDocuments(["mini-dense"], folder=tmp_path / "v")({"text": TEXTS})
    (path,) = (tmp_path / "v").iterdir()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(IndexStateError, match="digest"):
        EncodedTexts(tmp_path / "v").vectors(TEXTS[:1])


@pytest.mark.parametrize(
    ("models", "batch", "error", "message"),
    [
        ([], {}, InvalidArgumentError, "models is empty"),
        ("mini-dense", {}, InvalidArgumentError, "models"),
        (["mini-dense", {"model": "mini-dense", "dim": 64}], {}, InvalidArgumentError, "two dense models"),
        (["mini-dense"], {"body": ["글"]}, InvalidArgumentError, "There is no column 'text'; there are: body"),
        (["mini-dense"], {"text": ["글", None]}, InvalidTextError, r"\[1\]"),
        (["mini-dense"], pd.DataFrame({"text": ["글", float("nan")]}), InvalidTextError, r"\[1\]"),
    ],
)
def test_bad_input_is_an_error(models: Any, batch: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EncodeDocuments(models)(batch)


def test_an_empty_batch_is_none() -> None:
    found = EncodeDocuments(MODELS)({"text": np.zeros(0, object)})
    assert list(found["korag_key"]) == []
    assert len(EncodeDocuments(MODELS).vectors_of(found)["colbert"]) == 0
