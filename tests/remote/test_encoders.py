"""Encoders on servers of every API return what the local model does, and are it in every other respect."""

from __future__ import annotations

import asyncio
import json
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import edit_json
from model_servers import ModelServer, inputs, openai, plain, serve, tei, vllm_tokens
from safetensors.numpy import load_file, save_file

from korag import Collection, Pruner, ServerOptions, load_encoder
from korag.checkpoints.bundled import shipped_models
from korag.distributed import EncodeDocuments
from korag.errors import InvalidArgumentError, InvalidTextError, ServedModelError, ServerError
from korag.remote.canaries import write_canaries
from korag.remote.pipeline import RemotePipeline

TEXTS = [
    "전세 계약이 끝나면 보증금을 돌려받습니다.",
    "김치",
    "",
    "자전거는 인도가 아니라 차도로 다녀야 합니다! 다만, 어린이는 예외입니다.",
    "도서관은 매주 월요일에 쉽니다. " * 120,
]


def _array(vectors: Any) -> list[Any]:
    return list(vectors.toarray() if hasattr(vectors, "toarray") else vectors)


def _equal(own: Any, other: Any) -> bool:
    pairs = list(zip(_array(own), _array(other), strict=True))
    return all(one.shape == two.shape and np.allclose(one, two, atol=2e-6) for one, two in pairs)


def _answers(local: Any, path: str) -> Any:
    if path == "/pooling":
        return vllm_tokens(local.load(), masks=4)
    return (openai if path.endswith("embeddings") else tei)(plain(local))


@pytest.mark.parametrize(
    ("model", "api", "base", "path"),
    [
        ("mini-dense", None, "/embed", "/embed"),
        ("mini-dense", "tei", "", "/embed"),
        ("mini-dense", None, "/v1/embeddings", "/v1/embeddings"),
        ("mini-dense", "openai", "/v1", "/v1/embeddings"),
        ("mini-dense", "infinity", "/", "/embeddings"),
        ("mini-dense", "vllm", "", "/v1/embeddings"),
        ("mini-splade", None, "/embed_sparse", "/embed_sparse"),
        ("mini-splade", "tei", "", "/embed_sparse"),
        ("mini-colbert", "vllm", "", "/pooling"),
        ("mini-colbert", None, "/pooling", "/pooling"),
    ],
)
def test_vectors_of_every_api_are_those_of_the_local_model(model: str, api: Any, base: str, path: str) -> None:
    local = load_encoder(model)
    with serve(_answers(local, path)) as server:
        encoder = load_encoder(server.url + base, like=model, server=ServerOptions(api=api, batch_size=3))
        assert {each for each, _ in server.requests} == {path}
        assert _equal(encoder.encode_documents(TEXTS), local.encode_documents(TEXTS))
        assert _equal(encoder.encode_queries(TEXTS), local.encode_queries(TEXTS))
        assert all(len(inputs(body)) <= 3 for _, body in server.requests)
    assert isinstance(encoder, type(local))
    assert encoder.fingerprint == local.fingerprint
    assert encoder.load_arguments == local.load_arguments
    assert encoder.count_tokens(TEXTS) == local.count_tokens(TEXTS)
    assert encoder.prompts == local.prompts
    assert _array(encoder.encode_documents([])) == []


def test_prompts_and_lengths_are_added_here() -> None:
    local = load_encoder("mini-dense", query_prompt="질문: ", max_length=20, query_length=12)
    with serve(tei(plain(local))) as server:
        encoder = load_encoder(server.url + "/embed", like=local)
        server.requests.clear()
        found = encoder.encode_queries(["버스는 몇 시에 옵니까? " * 30])
        (sent,) = inputs(server.requests[0][1])
        assert sent.startswith("질문: 버스는")
        assert len(sent) < 80
        assert _equal(found, local.encode_queries(["버스는 몇 시에 옵니까? " * 30]))
    assert server.requests[0][1]["truncate"] is False
    assert encoder.runtime is not None
    assert (encoder.runtime.backend, encoder.runtime.dtype, encoder.dtype) == ("server", "unknown", "unknown")


@pytest.mark.parametrize("dim", [64, 128])
def test_a_smaller_dimension_is_cut_here(dim: int) -> None:
    local = load_encoder("mini-dense", dim=dim)
    with serve(openai(plain(load_encoder("mini-dense")))) as server:
        encoder = load_encoder(server.url + "/v1/embeddings", like="mini-dense", dim=dim)
        assert _equal(encoder.encode_documents(TEXTS), local.encode_documents(TEXTS))
    assert encoder.dim == dim
    assert encoder.fingerprint == local.fingerprint


def test_a_server_that_does_not_normalize_is_right_all_the_same() -> None:
    local = load_encoder("mini-dense")
    with serve(openai(lambda texts: 7 * plain(local)(texts))) as server:
        encoder = load_encoder(server.url + "/v1/embeddings", like="mini-dense")
        assert _equal(encoder.encode_queries(TEXTS), local.encode_queries(TEXTS))


def test_colbert_without_expansion_is_served_with_full_attention(tmp_path: Path) -> None:
    """As vLLM has it; a model whose expansion tokens get no attention needs a server that knows them."""
    local = load_encoder("mini-colbert")
    with serve(vllm_tokens(local.load())) as server:
        encoder = load_encoder(server.url + "/pooling", like="mini-colbert")
        assert _equal(encoder.encode_queries(TEXTS), local.encode_queries(TEXTS))
        assert _equal(encoder.encode_documents(TEXTS), local.encode_documents(TEXTS))
    assert "[Q]" not in str(server.requests)  # ids


def test_a_collection_made_with_a_server_opens_with_the_local_model_and_back(tmp_path: Path) -> None:
    texts = ["보증금 반환은 임대인의 의무다.", "도서관은 월요일에 쉰다.", "자전거는 차도로 다닌다."]
    local = load_encoder("mini-dense")
    with serve(tei(plain(local))) as server:
        remote = load_encoder(server.url + "/embed", like="mini-dense")
        with Collection.open(tmp_path / "index", encoders=[remote]) as collection:
            collection.add(texts, ids=["a", "b", "c"])
        with Collection.open(tmp_path / "index") as collection:  # the manifest names the local model
            found = collection.search("책 빌리는 곳", k=3)
            assert not hasattr(collection.encoders["dense"], "url")
        with Collection.open(tmp_path / "index", encoders=[remote]) as collection:
            again = collection.search("책 빌리는 곳", k=3)
    assert [hit.id for hit in found] == [hit.id for hit in again]
    assert server.url not in b"".join(p.read_bytes() for p in (tmp_path / "index").rglob("*.db*")).decode("latin-1")


async def test_coroutines_run_side_by_side() -> None:
    local = load_encoder("mini-dense")
    with serve(tei(plain(local)), delay=0.05) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=ServerOptions(concurrency=4))
        vectors = await asyncio.gather(*(encoder.aencode_queries([text]) for text in TEXTS[:4]))
        assert server.most_running > 1
        assert _equal(np.concatenate(vectors), local.encode_queries(TEXTS[:4]))
        assert _equal(await encoder.aencode_documents(TEXTS), local.encode_documents(TEXTS))
        server.delay = 30
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(encoder.aencode_queries(["취소"]), 0.2)
        server.delay = 0
    with pytest.raises(InvalidTextError):
        await encoder.aencode_documents([3])  # type: ignore[list-item]


async def test_coroutines_prepare_and_finish_in_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    with serve(tei(plain(load_encoder("mini-dense")))) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense")
        for name in ("_inputs", "_finish"):
            real = getattr(RemotePipeline, name)
            monkeypatch.setattr(
                RemotePipeline,
                name,
                lambda *given, real=real: (seen.append(threading.current_thread().name), real(*given))[1],
            )
        await encoder.aencode_queries(["질의"])
    assert len(seen) == 2
    assert not {"MainThread", "korag-http"} & set(seen)


async def test_local_encoders_have_the_same_coroutines() -> None:
    local = load_encoder("mini-dense")
    assert _equal(await local.aencode_queries(TEXTS), local.encode_queries(TEXTS))
    assert _equal(await local.aencode_documents(TEXTS), local.encode_documents(TEXTS))


def test_requests_are_limited_to_the_concurrency() -> None:
    with serve(tei(plain(load_encoder("mini-dense"))), delay=0.02) as server:
        encoder = load_encoder(
            server.url + "/embed", like="mini-dense", server=ServerOptions(concurrency=2, batch_size=1)
        )
        encoder.encode_documents(["가", "나", "다", "라", "마", "바"])
    assert server.most_running == 2


def test_a_request_that_is_too_large_is_divided() -> None:
    local = load_encoder("mini-dense")
    with serve(tei(plain(local)), most=2) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense")
        assert _equal(encoder.encode_documents(TEXTS), local.encode_documents(TEXTS))


def test_equal_queries_are_asked_for_once_where_they_are_cached() -> None:
    with serve(tei(plain(load_encoder("mini-dense")))) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense", query_cache=8)
        before = len(server.requests)
        assert _equal(encoder.encode_queries(["질의"]), encoder.encode_queries(["질의"]))
        assert len(server.requests) == before + 1


async def test_coroutines_use_the_cache_of_queries_too() -> None:
    with serve(tei(plain(load_encoder("mini-dense")))) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense", query_cache=8)
        before = len(server.requests)
        first = await encoder.aencode_queries(["질의", "다른 질의", "질의"])
        assert _equal(await encoder.aencode_queries(["다른 질의", "질의"]), first[1:])
        assert _equal(encoder.encode_queries(["질의"]), first[:1])
        assert server.texts == sum(len(inputs(body)) for _, body in server.requests[:before]) + 2


@pytest.mark.parametrize("model", ["mini-dense", "mini-splade", "mini-colbert"])
def test_known_vectors_in_a_file_take_the_place_of_the_weights(model: str, tmp_path: Path) -> None:
    local = load_encoder(model)
    known = write_canaries(local, tmp_path / "known.json")
    folder = tmp_path / "without-weights"
    shutil.copytree(shipped_models()[model], folder)
    (folder / "model.safetensors").unlink()
    path = {"mini-dense": "/embed", "mini-splade": "/embed_sparse", "mini-colbert": "/pooling"}[model]
    with serve(_answers(local, path)) as server:
        encoder = load_encoder(server.url + path, like=folder, canaries=known)
        assert _equal(encoder.encode_documents(TEXTS), local.encode_documents(TEXTS))
        assert encoder.fingerprint == local.fingerprint
        with pytest.raises(InvalidArgumentError, match="query_prompt: 'X ' / "):
            load_encoder(server.url + path, like=folder, canaries=known, query_prompt="X ")
    with pytest.raises(InvalidArgumentError, match="already exists"):
        write_canaries(local, known)
    with serve(_answers(local, path)) as server, pytest.raises(Exception, match="no weights"):
        load_encoder(server.url + path, like=folder)


def test_known_vectors_of_another_model_are_refused(tmp_path: Path) -> None:
    known = write_canaries(load_encoder("mini-dense"), tmp_path / "known.json")
    other, bare = tmp_path / "other", tmp_path / "bare"
    shutil.copytree(shipped_models()["mini-dense"], other)
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, other / "model.safetensors", {"format": "pt"})
    shutil.copytree(other, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    edit_json(bare / "config.json", layer_norm_eps=0.1)
    with serve(tei(plain(load_encoder("mini-dense")))) as server:
        for like, difference in ((other, "weights: "), (bare, "config.json: ")):
            with pytest.raises(InvalidArgumentError, match=difference):
                load_encoder(server.url + "/embed", like=like, canaries=known)
        assert not server.requests


def test_known_vectors_of_another_model_of_the_hub_are_refused(tmp_path: Path) -> None:
    known = write_canaries(load_encoder("mini-dense"), tmp_path / "known.json")
    content = json.loads(known.read_text(encoding="utf-8"))
    content["fingerprint"] |= {"model": "somebody/other", "revision": "1" * 40}
    known.write_text(json.dumps(content), encoding="utf-8")
    repo = tmp_path / "cache" / "models--somebody--model"
    shutil.copytree(
        shipped_models()["mini-dense"],
        repo / "snapshots" / ("2" * 40),
        ignore=shutil.ignore_patterns("model.safetensors"),
    )
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("2" * 40, encoding="utf-8")
    with pytest.raises(InvalidArgumentError, match="model: 'somebody/model' / 'somebody/other', revision: '2222"):
        load_encoder(
            "http://127.0.0.1:9/embed", like="somebody/model", canaries=known, cache_folder=str(tmp_path / "cache")
        )


@pytest.mark.parametrize("content", ["", "{}", '{"format": "korag-canaries", "version": 2}', "[1]", None])
def test_a_broken_file_of_known_vectors_is_an_error(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(Exception, match="write_canaries"):
        load_encoder("http://127.0.0.1:9/embed", like="mini-dense", canaries=path)


def test_pickles_ask_the_server_again(tmp_path: Path) -> None:
    local = load_encoder("mini-dense")
    with serve(tei(plain(local))) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense")
        data = pickle.dumps(encoder)
        before = server.texts
        copy = pickle.loads(data)  # noqa: S301
        assert server.texts == before
        assert _equal(copy.encode_queries(TEXTS), local.encode_queries(TEXTS))
        other = load_encoder("mini-dense", query_prompt="", document_prompt="")
        server.answer = tei(lambda texts: plain(other)([text.upper()[:3] for text in texts]))
        with pytest.raises(ServedModelError):
            pickle.loads(data).encode_queries(["질의"])  # noqa: S301


def test_jobs_use_their_own_keys() -> None:
    with serve(tei(plain(load_encoder("mini-dense"))), key="geheim") as server:
        options = ServerOptions(api_key="geheim", retries=0)
        encoder = load_encoder(server.url + "/embed", like="mini-dense", server=options)
        with pytest.raises(ServerError, match="HTTP 401"):
            EncodeDocuments([pickle.loads(pickle.dumps(encoder))])({"text": ["글"]})  # noqa: S301
        assert len(EncodeDocuments([encoder])({"text": ["글"]})["dense"]) == 1


def test_what_needs_the_weights_says_where_they_are(tmp_path: Path) -> None:
    with serve(vllm_tokens(load_encoder("mini-colbert").load(), masks=4)) as server:
        encoder = load_encoder(server.url + "/pooling", like="mini-colbert")
    for use in (
        lambda: encoder.save(tmp_path / "copy"),
        lambda: encoder.load_copy(),
        lambda: encoder.processes(["cpu"]),
        lambda: encoder.encode_tokens("글", "query"),
    ):
        with pytest.raises(InvalidArgumentError, match=r"load_encoder\('mini-colbert'\)"):
            use()


def test_a_served_colbert_prunes_as_the_local_one() -> None:
    local = load_encoder("mini-colbert")
    passages = [
        "창고 열쇠는 사무실에서 받는다. 보증금은 계약이 끝난 날부터 열흘 안에 돌려받는다. " * 60,
        "도서관은 쉰다.",
    ]
    with serve(vllm_tokens(local.load(), masks=4)) as server:
        served = load_encoder(server.url + "/pooling", like="mini-colbert")
        found, own = (Pruner(each).score("보증금은 언제 받나요?", passages) for each in (served, local))
        for theirs, ours in zip(found, own, strict=True):
            assert [place[:2] for place in theirs] == [place[:2] for place in ours]
            assert [place[2] for place in theirs] == pytest.approx([place[2] for place in ours], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "https://host/embed"}, "like="),
        ({"model": "mini-dense", "like": "mini-dense"}, "like="),
        ({"model": "mini-dense", "server": ServerOptions()}, "server="),
        ({"model": "mini-dense", "canaries": "file"}, "canaries="),
        ({"model": "https://host/embed", "like": "mini-dense", "server": {"api_key": "geheim"}}, "ServerOptions"),
        ({"model": "https://host/other", "like": "mini-dense"}, "'/other'"),
        ({"model": "https://host/embed", "like": "mini-colbert"}, "late_interaction"),
        ({"model": "https://host/embed", "like": "mini-splade"}, "embed_sparse"),
        ({"model": "https://host/pooling", "like": "mini-dense"}, "v1/embeddings"),
        ({"model": "https://me:pw@host/embed", "like": "mini-dense"}, "password"),
        ({"model": "https:///embed", "like": "mini-dense"}, "address"),
        ({"model": "https://host:port/embed", "like": "mini-dense"}, "address"),
        ({"model": "https://me:pw@host:port/embed", "like": "mini-dense"}, "address"),
        ({"model": "https://xn--/embed", "like": "mini-dense"}, "address"),
        ({"model": "https://host/\x01/embed", "like": "mini-dense"}, "address"),
        ({"model": "https://host/embed", "like": "mini-dense", "max_length": 1}, "max_length=1"),
    ],
)
def test_wrong_arguments_are_errors_before_anything_is_sent(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        load_encoder(**arguments)
    assert message in str(error.value)
    assert "geheim" not in str(error.value)
    assert ":pw" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api": "ollama"}, "api='ollama'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"concurrency": True}, "concurrency=True"),
        ({"retries": -1}, "retries=-1"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"allow_http": "no"}, "allow_http='no'"),
        ({"model": 3}, "model=3"),
        ({"api_key": "two\nlines"}, "api_key"),
        ({"api_key": "two "}, "api_key"),
        ({"api_key": "a", "api_key_env": "B"}, "api_key_env"),
    ],
)
def test_wrong_options_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        ServerOptions(**options)
    assert message in str(error.value)
    assert "two" not in str(error.value)


def _server_model(server: ModelServer) -> Any:
    return server.requests[-1][1].get("model")


def test_the_models_name_on_the_server_is_sent_where_it_is_known() -> None:
    with serve(openai(plain(load_encoder("mini-dense")))) as server:
        load_encoder(server.url + "/v1/embeddings", like="mini-dense")
        assert _server_model(server) is None  # a bundled model has no name elsewhere
        load_encoder(server.url + "/v1/embeddings", like="mini-dense", server=ServerOptions(model="dense-1"))
        assert _server_model(server) == "dense-1"
