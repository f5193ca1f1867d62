"""One model, one copy: whatever loads the same files with the same settings shares the weights."""

import copy
import gc
import os
import pickle
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import BUILDERS, lora_base
from fork_cases import fork, result
from langchain_core.documents import Document
from layouts.bge_m3 import HIDDEN, TOKEN_DIM, bge_m3
from llama_index.core.schema import NodeWithScore, TextNode
from safetensors.torch import load_file, save_file

import langchain_korag as langchain
import llamaindex_korag as llamaindex
from korag import Collection, CrossEncoderReranker, load_encoder
from korag.encoders.lazy import LazyModel
from korag.encoders.pipeline import Pipeline

QUERY = "전세 보증금은 언제 돌려받나요?"
TEXTS = [
    "보증금은 집을 비운 날에 돌려받습니다.",
    "주민등록등본은 무인발급기에서도 뗄 수 있습니다.",
    "감자는 서늘한 곳에 둡니다.",
]
THREADS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    """A new folder of a layout, which nothing else has loaded."""

    def build(layout: str) -> Path:
        BUILDERS[layout](tmp_path / layout)
        return tmp_path / layout

    return build


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folder of every load, in order."""
    seen: list[Path] = []
    original = LazyModel._load_limited

    def watched(self: LazyModel[Any]) -> Any:
        seen.append(self.weights_folder())
        return original(self)

    monkeypatch.setattr(LazyModel, "_load_limited", watched)
    return seen


class Parameters:
    """Counts the parameters that have come into memory since it was made."""

    def __init__(self) -> None:
        gc.collect()
        self._before = {id(parameter): parameter for parameter in self._alive()}  # kept, so that no id is used again

    @staticmethod
    def _alive() -> Iterator[torch.nn.Parameter]:
        return (thing for thing in gc.get_objects() if issubclass(type(thing), torch.nn.Parameter))

    def count(self) -> int:
        gc.collect()
        return sum(parameter.numel() for parameter in self._alive() if id(parameter) not in self._before)


def size(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def change_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor * 2 for name, tensor in weights.items()}, folder / "model.safetensors")


class TestShared:
    @pytest.mark.parametrize("layout", ["dense", "splade", "pylate", "matryoshka", "lora"])
    def test_two_encoders(self, layout, folder):
        place, parameters = folder(layout), Parameters()
        one = load_encoder(place, query_cache=8)
        other = load_encoder(str(place), batch_tokens=64, device="cpu", dtype="float32")
        assert np.array_equal(_array(one.encode_queries([QUERY])), _array(other.encode_queries([QUERY])))
        assert one.load() is other.load()
        if layout != "splade":  # its output layer becomes part of a pooling that holds no parameters
            assert parameters.count() == size(one.load())

    def test_cross_encoders(self, folder):
        place, parameters = folder("cross_encoder"), Parameters()
        one, other = CrossEncoderReranker(place), CrossEncoderReranker(place, batch_tokens=64)
        assert one.rerank(QUERY, TEXTS) == other.rerank(QUERY, TEXTS)
        assert parameters.count() == size(one.load())

    def test_langchain_retriever_and_reranker(self, folder):
        place, parameters = folder("pylate"), Parameters()
        retriever = langchain.KoColBERTRetriever.from_texts(TEXTS, model=place)
        reranker = langchain.KoColBERTReranker(model=place)
        reranker.compress_documents(retriever.invoke(QUERY), QUERY)
        assert parameters.count() == size(reranker.model.load())

    def test_langchain_embeddings_and_hybrid_retriever(self, folder):
        dense, sparse = folder("dense"), folder("splade")
        embeddings = langchain.KoEmbeddings(model=dense)
        sparse_embeddings = langchain.KoSparseEmbeddings(model=sparse)
        retriever = langchain.KoHybridRetriever.from_texts(TEXTS, models=[dense, sparse])
        retriever.invoke(QUERY)
        embeddings.embed_query(QUERY)
        sparse_embeddings.embed_query(QUERY)
        legs = retriever.collection.encoders
        assert {encoder.load() for encoder in legs.values()} == {
            embeddings.model.load(),
            sparse_embeddings.model.load(),
        }

    def test_langchain_cross_encoder(self, folder):
        place, parameters = folder("cross_encoder"), Parameters()
        one, other = (langchain.KoCrossEncoderReranker(model=place) for _ in range(2))
        documents = [Document(page_content=text) for text in TEXTS]
        assert one.compress_documents(documents, QUERY) == other.compress_documents(documents, QUERY)
        assert parameters.count() == size(CrossEncoderReranker(place).load())

    def test_llamaindex_retriever_and_reranker(self, folder):
        place, parameters = folder("pylate"), Parameters()
        nodes = [TextNode(text=text) for text in TEXTS]
        retriever = llamaindex.KoColBERTRetriever.from_defaults(nodes, model_name=str(place))
        rerank = llamaindex.KoColBERTRerank(model_name=str(place))
        rerank.postprocess_nodes(retriever.retrieve(QUERY), query_str=QUERY)
        assert parameters.count() == size(load_encoder(place).load())

    def test_llamaindex_embedding_and_cross_encoder(self, folder):
        dense, cross = folder("dense"), folder("cross_encoder")
        parameters = Parameters()
        embeddings = [llamaindex.KoEmbedding(model_name=str(dense)) for _ in range(2)]
        assert embeddings[0].get_query_embedding(QUERY) == embeddings[1].get_query_embedding(QUERY)
        reranks = [llamaindex.KoCrossEncoderRerank(str(cross)) for _ in range(2)]
        nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
        for rerank in reranks:
            rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert parameters.count() == size(load_encoder(dense).load()) + size(CrossEncoderReranker(cross).load())

    def test_collections_and_an_encoder(self, folder, tmp_path):
        place, parameters = folder("dense"), Parameters()
        encoder = load_encoder(place)
        one = Collection.in_memory(encoders=[place])
        other = Collection.open(tmp_path / "collection", encoders=[place])
        for collection in (one, other):
            collection.add(TEXTS)
        encoder.encode_queries([QUERY])
        opened = Collection.open(tmp_path / "collection", load_stored_models=True)
        assert [hit.text for hit in opened.search(QUERY)] == [hit.text for hit in one.search(QUERY)]
        assert parameters.count() == size(encoder.load())

    def test_three_families_of_one_folder(self, tmp_path):
        bge_m3(tmp_path / "m3")
        parameters = Parameters()
        embeddings = langchain.KoEmbeddings(model=tmp_path / "m3")
        sparse = llamaindex.KoSparseEmbedding(model_name=str(tmp_path / "m3"))
        retriever = langchain.KoColBERTRetriever.from_texts(TEXTS, model=tmp_path / "m3")
        embeddings.embed_query(QUERY)
        sparse.get_query_embedding(QUERY)
        retriever.invoke(QUERY)
        heads = (HIDDEN + 1) + (HIDDEN + 1) * TOKEN_DIM
        assert parameters.count() == size(embeddings.model.load()) + heads

    def test_prompts_and_caches_need_no_second_copy(self, folder):
        place = folder("dense")
        one, other = load_encoder(place, query_prompt="질의: "), load_encoder(place, query_prompt="", query_cache=2)
        assert not np.array_equal(one.encode_queries([QUERY]), other.encode_queries([QUERY]))
        assert one.load() is other.load()

    def test_a_link_to_the_folder(self, folder, tmp_path):
        place = folder("dense")
        (tmp_path / "link").symlink_to(place)
        one, other = load_encoder(place), load_encoder(tmp_path / "link")
        assert one.load() is other.load()

    def test_the_first_user_may_go(self, folder):
        place = folder("dense")
        one = load_encoder(place)
        expected = one.encode_queries([QUERY])
        other, model = load_encoder(place), weakref.ref(one.load())
        other.load()
        del one
        gc.collect()
        assert other.load() is model()
        assert np.array_equal(other.encode_queries([QUERY]), expected)


class TestNotShared:
    @pytest.mark.parametrize(
        ("layout", "settings"),
        [
            ("dense", {"max_length": 16}),
            ("dense", {"dtype": "bfloat16"}),
            ("dense", {"backend": "onnx"}),
            ("splade", {"max_length": 16}),
            ("matryoshka", {"dim": 8}),
            ("pylate", {"query_prompt": "[Q] 질의 "}),
        ],
    )
    def test_other_settings(self, layout, settings, folder):
        place = folder(layout)
        one, other = load_encoder(place), load_encoder(place, **settings)
        expected, changed = _array(one.encode_queries([QUERY])), _array(other.encode_queries([QUERY]))
        assert one.load() is not other.load()
        again = load_encoder(place)
        assert again.load() is one.load()
        assert np.array_equal(_array(again.encode_queries([QUERY])), expected)
        assert np.array_equal(_array(load_encoder(place, **settings).encode_queries([QUERY])), changed)

    def test_an_adapter_is_not_its_base(self, folder):
        place = folder("lora")
        assert load_encoder(place).load() is not load_encoder(lora_base(place)).load()

    def test_other_files_in_the_same_folder(self, folder, tmp_path):
        place = folder("dense")
        old = load_encoder(place)
        before, fingerprint = old.encode_queries([QUERY]), old.fingerprint
        change_weights(place)
        new = load_encoder(place)
        assert new.fingerprint != fingerprint
        assert not np.allclose(new.encode_queries([QUERY]), before)
        assert np.array_equal(old.encode_queries([QUERY]), before)

    def test_a_copy_over_a_file_brings_its_time_along(self, folder):
        """Archives give all files one time, and weights of one architecture have one size."""
        place = folder("dense")
        before = (place / "model.safetensors").stat()
        old = load_encoder(place)
        vectors = old.encode_queries([QUERY])
        weights = (place / "model.safetensors").read_bytes()
        (place / "model.safetensors").write_bytes(weights[: len(weights) // 2].ljust(len(weights), b"\0"))
        os.utime(place / "model.safetensors", ns=(before.st_atime_ns, before.st_mtime_ns))
        new = load_encoder(place)
        assert new.load() is not old.load()
        assert not np.array_equal(new.encode_queries([QUERY]), vectors)

    def test_a_folder_replaced_by_another(self, folder, tmp_path):
        place = folder("dense")
        old = load_encoder(place)
        before = old.encode_queries([QUERY])
        place.rename(tmp_path / "moved")
        shutil.copytree(tmp_path / "moved", place)
        new = load_encoder(place)
        assert np.array_equal(new.encode_queries([QUERY]), before)
        assert new.load() is not old.load()

    def test_a_copy_for_training(self, folder):
        encoder = load_encoder(folder("dense"), query_prompt="질의: ")
        shared, own = encoder.load(), encoder.load_copy()
        assert own is not shared
        assert not {id(parameter) for parameter in own.parameters()} & {id(each) for each in shared.parameters()}
        assert own.prompts["query"] == "질의: "


class TestLife:
    def test_nothing_keeps_an_unused_model(self, folder):
        for make in (load_encoder, CrossEncoderReranker):
            place, parameters = folder("dense" if make is load_encoder else "cross_encoder"), Parameters()
            model = make(place)
            dead = weakref.ref(model.load())
            del model
            gc.collect()
            assert dead() is None
            assert parameters.count() == 0

    def test_pickles_and_copies(self, folder):
        encoder = load_encoder(folder("dense"))
        expected = encoder.encode_queries([QUERY])
        assert copy.deepcopy(encoder) is encoder
        again = pickle.loads(pickle.dumps(encoder))  # noqa: S301
        assert np.array_equal(again.encode_queries([QUERY]), expected)
        assert again.load() is encoder.load()

    def test_threads_load_once(self, folder, loads):
        place = folder("dense")
        encoders = [load_encoder(place) for _ in range(THREADS)]
        start = threading.Barrier(THREADS)

        def encode(encoder: Any) -> bytes:
            start.wait()
            return encoder.encode_queries([QUERY]).tobytes()

        with ThreadPoolExecutor(THREADS) as pool:
            assert len(set(pool.map(encode, encoders))) == 1
        assert len(loads) == 1

    def test_a_failed_load_leaves_nothing_behind(self, folder, loads):
        place = folder("dense")
        whole = (place / "model.safetensors").read_bytes()
        (place / "model.safetensors").write_bytes(whole[:100])
        one, other = load_encoder(place), load_encoder(place)
        for encoder in (one, other):
            with pytest.raises(Exception, match=r"model\.safetensors|could not be loaded"):
                encoder.encode_queries([QUERY])
        (place / "model.safetensors").write_bytes(whole)
        assert np.array_equal(one.encode_queries([QUERY]), other.encode_queries([QUERY]))
        assert one.load() is other.load()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_fork_while_another_thread_loads(self, folder, monkeypatch):
        place = folder("dense")
        loading, go_on = threading.Event(), threading.Event()
        original = LazyModel._load_limited

        def slow(self: LazyModel[Any]) -> Any:
            loading.set()
            go_on.wait(60)
            return original(self)

        monkeypatch.setattr(LazyModel, "_load_limited", slow)
        encoder = load_encoder(place)
        thread = threading.Thread(target=encoder.load)
        thread.start()
        loading.wait(60)
        monkeypatch.setattr(LazyModel, "_load_limited", original)
        child = fork(lambda: encoder.load() is load_encoder(place).load())
        go_on.set()
        thread.join()
        assert result(child) is True


class TestUnload:
    def test_frees_the_weights(self, folder, loads):
        place, parameters = folder("dense"), Parameters()
        encoder = load_encoder(place)
        expected = encoder.encode_queries([QUERY])
        dead = weakref.ref(encoder.load())
        encoder.unload()
        assert dead() is None
        assert parameters.count() == 0
        assert encoder.dtype is None or encoder.options.dtype != "auto"
        assert np.array_equal(encoder.encode_queries([QUERY]), expected)
        assert len(loads) == 2

    def test_of_a_cross_encoder(self, folder, loads):
        reranker = CrossEncoderReranker(folder("cross_encoder"))
        expected = reranker.rerank(QUERY, TEXTS)
        dead = weakref.ref(reranker.load())
        reranker.unload()
        assert dead() is None
        assert reranker.rerank(QUERY, TEXTS) == expected
        assert len(loads) == 2

    def test_before_loading_and_twice(self, folder):
        encoder = load_encoder(folder("dense"))
        encoder.unload()
        encoder.load()
        encoder.unload()
        encoder.unload()
        assert encoder.encode_queries([QUERY]).shape == (1, encoder.dim)

    def test_others_keep_theirs(self, folder, loads):
        place = folder("dense")
        one, other = load_encoder(place), load_encoder(place)
        model = one.load()
        assert other.load() is model
        one.unload()
        assert other.load() is model
        assert one.load() is model
        assert len(loads) == 1

    def test_a_thread_that_is_encoding_finishes(self, folder, monkeypatch):
        place = folder("dense")
        encoder = load_encoder(place)
        expected = encoder.encode_documents(TEXTS)
        inside, go_on = threading.Event(), threading.Event()
        original = Pipeline.forward

        def slow(self: Pipeline, *arguments: Any) -> Any:
            inside.set()
            go_on.wait(60)
            return original(self, *arguments)

        monkeypatch.setattr(Pipeline, "forward", slow)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(encoder.encode_documents, TEXTS)
            assert inside.wait(60)
            encoder.unload()
            go_on.set()
            assert np.array_equal(running.result(60), expected)

    def test_threads_that_encode_and_unload(self, folder):
        place = folder("pylate")
        encoders = [load_encoder(place) for _ in range(3)]
        expected = [row.tobytes() for row in encoders[0].encode_documents(TEXTS)]

        def work(number: int) -> bool:
            encoder, same = encoders[number % 3], True
            for call in range(12):
                if (call + number) % 4 == 0:
                    encoder.unload()
                encoder.encode_queries([QUERY])
                same &= [row.tobytes() for row in encoder.encode_documents(TEXTS)] == expected
            return same

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(work, range(6)))

    def test_new_files_are_read(self, folder):
        """An encoder forgets all that it has made with the old ones."""
        place = folder("dense")
        encoder = load_encoder(place, query_cache=4)
        before, fingerprint = encoder.encode_queries([QUERY]), encoder.fingerprint
        change_weights(place)
        assert np.array_equal(encoder.encode_queries([QUERY]), before)
        encoder.unload()
        assert not np.allclose(encoder.encode_queries([QUERY]), before)
        assert encoder.fingerprint != fingerprint

    def test_collections_load_again(self, folder):
        encoder = load_encoder(folder("dense"))
        collection = Collection.in_memory(encoders=[encoder])
        collection.add(TEXTS)
        expected = [hit.text for hit in collection.search(QUERY)]
        encoder.unload()
        assert [hit.text for hit in collection.search(QUERY)] == expected


def _array(vectors: Any) -> np.ndarray:
    if isinstance(vectors, list):
        return np.concatenate(vectors)
    return vectors if isinstance(vectors, np.ndarray) else vectors.toarray()
