"""The manifest of a folder from elsewhere: it does not decide how a model is loaded, nor load one from outside."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from assertions import assert_bilingual

import langchain_korag as langchain
import llamaindex_korag as llamaindex
from korag import Collection, load_encoder
from korag.checkpoints.bundled import shipped_models
from korag.collection.local import stored_models
from korag.errors import IndexStateError, KoragError, MissingBaseError
from korag.testing import FakeDenseEncoder

TEXT = "보증금은 이사하는 날 돌려받는다."
HUB = "dragonkue/BGE-m3-ko"


def edit(folder: Path, leg: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Edits how the encoder of a leg is loaded, as somebody who made the folder could."""
    database = sqlite3.connect(folder / "korag.sqlite3")
    legs = json.loads(database.execute("SELECT value FROM settings WHERE name = 'legs'").fetchone()[0])
    change(legs[leg]["load"])
    with database:
        database.execute("UPDATE settings SET value = ? WHERE name = 'legs'", (json.dumps(legs),))
    database.close()


@pytest.fixture
def unloadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_models, "load_encoder", lambda **_: pytest.fail("loaded"))


@pytest.mark.parametrize(
    "entry",
    [
        {"trust_remote_code": True}, {"token": "hf_x"}, {"backend": "onnx"}, {"cache_folder": "/"},
        {"local_files_only": False}, {"device": "meta"}, {"query_prompt": 7}, {"document_prompt": ["가"]},
        {"max_length": -1}, {"max_length": "512"}, {"max_length": 1e9}, {"dim": True}, {"family": "bm25"},
        {"revision": {}}, {"adapter": 1}, {"model": None}, {"model": ""},
    ],
)  # fmt: skip
def test_a_manifest_cannot_set_how_a_model_is_loaded(tmp_path: Path, entry: dict[str, Any], unloadable: None) -> None:
    encoder = FakeDenseEncoder()
    with Collection.open(tmp_path / "색인", encoders=[encoder]) as collection:
        collection.add([TEXT])
    edit(tmp_path / "색인", "dense", lambda load: load.update(entry))
    for options in ({}, {"load_stored_models": True}):
        with pytest.raises(IndexStateError, match=f"not allowed: {next(iter(entry))}"):
            Collection.open(tmp_path / "색인", **options)  # type: ignore[arg-type]
    with Collection.open(tmp_path / "색인", encoders=[encoder]) as collection:  # the caller says what to load
        assert len(collection.search("보증금")) == 1


@pytest.mark.parametrize("load", [None, [], {}, "mini-dense"])
def test_a_manifest_without_a_model_is_an_error(tmp_path: Path, load: object) -> None:
    with pytest.raises(IndexStateError, match="not allowed: model"):
        stored_models.StoredModels("'색인'", tmp_path).load("dense", {"load": load})


def test_a_bundled_model_is_loaded(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "색인", encoders=["mini-dense"]) as collection:
        collection.add([TEXT])
    with Collection.open(tmp_path / "색인") as collection:
        assert len(collection.search("보증금")) == 1


def test_a_model_inside_the_folder_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "색인"
    with Collection.open(folder, encoders=["mini-dense"]) as collection:
        collection.add([TEXT])
    shutil.copytree(shipped_models()["mini-dense"], folder / "model")
    edit(folder, "dense", lambda load: load.update(model=str(folder / "model")))
    with Collection.open(folder) as collection:
        assert len(collection.search("보증금")) == 1


def _moved(folder: Path) -> str:
    """The bundled model at a path outside the collection."""
    shutil.copytree(shipped_models()["mini-dense"], folder / "밖")
    return str(folder / "밖")


def _linked(folder: Path) -> str:
    _moved(folder)
    (folder / "색인" / "model").symlink_to(folder / "밖")
    return str(folder / "색인" / "model")


def _based(folder: Path) -> str:
    """An adapter inside the collection whose base is outside."""
    adapter = folder / "색인" / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": HUB}), encoding="utf-8")
    return str(adapter)


@pytest.mark.parametrize(
    "place", [lambda _: HUB, lambda _: "/없는/모델", _moved, _linked, _based, lambda folder: str(folder / "색인/../밖")]
)
def test_a_model_outside_the_folder_is_not_loaded_unless_the_caller_says_so(
    tmp_path: Path, place: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "색인"
    with Collection.open(folder, encoders=["mini-dense"]) as collection:
        collection.add([TEXT])
    name = place(tmp_path)
    edit(folder, "dense", lambda load: load.update(model=name))
    asked: list[dict[str, Any]] = []
    real = stored_models.load_encoder

    def watched(**arguments: Any) -> Any:
        asked.append(arguments)
        return real(**arguments)

    monkeypatch.setattr(stored_models, "load_encoder", watched)
    with pytest.raises(IndexStateError) as caught:
        Collection.open(folder)
    korean, english = caught.value.args
    shown = HUB if place is _based else name
    for message in (korean, english):
        assert shown in message
        assert f"encoders=['{shown}']" in message
        assert "load_stored_models=True" in message
    assert not asked
    monkeypatch.setattr(stored_models, "load_encoder", lambda **arguments: load_encoder("mini-dense"))
    with Collection.open(folder, load_stored_models=True) as collection:
        assert len(collection.search("보증금")) == 1
    with Collection.open(folder, encoders=["mini-dense"]) as collection:  # the caller names the model
        assert len(pickle.loads(pickle.dumps(collection)).search("보증금")) == 1  # noqa: S301 (our own bytes)


DOORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "KoVectorStore": ("dense", langchain.KoVectorStore.load_local),
    "KoVectorStore(path)": ("dense", lambda path, **more: langchain.KoVectorStore(path=path, **more)),
    "KoColBERTRetriever": ("colbert", langchain.KoColBERTRetriever.load_local),
    "KoSpladeRetriever": ("sparse", langchain.KoSpladeRetriever.load_local),
    "KoBM25Retriever": ("dense", langchain.KoBM25Retriever.load_local),
    "KoBM25Retriever.from_documents": (
        "dense", lambda path, **more: langchain.KoBM25Retriever.from_documents([], path=path, **more)
    ),
    "KoHybridRetriever": ("dense", langchain.KoHybridRetriever.load_local),
    "KoHybridRetriever.from_documents": (
        "dense",
        lambda path, **more: langchain.KoHybridRetriever.from_documents(
            [], models=["mini-colbert"], path=path, **more
        ),
    ),
    "LlamaIndex KoColBERTIndex": ("colbert", llamaindex.KoColBERTIndex.load_from_disk),
    "LlamaIndex KoColBERTIndex.from_persist_dir": ("colbert", llamaindex.KoColBERTIndex.from_persist_dir),
    "LlamaIndex KoColBERTRetriever": ("colbert", llamaindex.KoColBERTRetriever.from_persist_dir),
    "LlamaIndex KoSpladeRetriever": ("sparse", llamaindex.KoSpladeRetriever.from_persist_dir),
    "LlamaIndex KoBM25Retriever": ("dense", llamaindex.KoBM25Retriever.from_persist_dir),
    "LlamaIndex KoHybridRetriever": ("dense", llamaindex.KoHybridRetriever.from_persist_dir),
    "LlamaIndex KoHybridRetriever.from_defaults": (
        "dense",
        lambda path, **more: llamaindex.KoHybridRetriever.from_defaults(
            [], models=["mini-colbert"], path=path, **more
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_every_door_asks_before_a_model_from_outside_is_loaded(tmp_path: Path, door: str) -> None:
    leg, opening = DOORS[door]
    bundled = ["mini-dense", "mini-colbert", "mini-splade"]
    with Collection.open(tmp_path / "색인", encoders=bundled, bm25=True):
        pass
    edit(tmp_path / "색인", leg, lambda load: load.update(model="/없는/모델"))
    with pytest.raises(KoragError, match="load_stored_models=True"):
        opening(tmp_path / "색인")
    with pytest.raises(KoragError, match=r"'/없는/모델' .* cannot be loaded"):
        opening(tmp_path / "색인", load_stored_models=True)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/model", "a/" * 3_000, "a" * 5_000])
@pytest.mark.parametrize("options", [{}, {"load_stored_models": True}])
def test_a_model_that_no_path_can_name(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    folder = tmp_path / "index"
    with Collection.open(folder, encoders=["mini-dense"]) as collection:
        collection.add([TEXT])
    edit(folder, "dense", lambda load: load.update(model=name))
    with pytest.raises(IndexStateError) as caught:
        Collection.open(folder, **options)
    assert_bilingual(caught.value, "encoders=[")


@pytest.mark.parametrize("base", ["a\0b", "a/" * 3_000, "a" * 5_000])
def test_a_base_that_no_path_can_name(tmp_path: Path, base: str) -> None:
    folder = tmp_path / "index"
    with Collection.open(folder, encoders=["mini-dense"]) as collection:
        collection.add([TEXT])
    adapter = folder / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": base}
    (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    edit(folder, "dense", lambda load: load.update(model=str(adapter)))
    with pytest.raises(IndexStateError):
        Collection.open(folder)
    with pytest.raises(MissingBaseError) as caught:
        load_encoder(adapter)
    assert_bilingual(caught.value, "adapter=")
