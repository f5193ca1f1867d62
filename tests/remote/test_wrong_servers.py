"""Servers that are wrong in each way: refused when connecting, by an error that says which way and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import expanding_colbert
from model_servers import openai, plain, serve, tei, vllm_tokens

from korag import ServerOptions, load_encoder
from korag.checkpoints.bundled import shipped_models
from korag.errors import ServedModelError, ServerError

Encode = Callable[[list[str]], Any]


def _pooled(texts: list[str], pool: Callable[[Any], Any]) -> Any:
    """mini-dense's token vectors, pooled in another way."""
    from korag.encoders.tensors import forward

    encoder = load_encoder("mini-dense", query_prompt="", document_prompt="")
    pipeline = encoder._pipeline()
    rows = []
    for text in texts:
        features = forward(pipeline.model, pipeline.tokenize([text], "document"), task="document")
        rows.append(pool(features["token_embeddings"][0].float().numpy()))
    vectors = np.stack(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _turned(encode: Encode) -> Encode:
    return lambda texts: encode([*texts[1:], *texts[:1]])


@pytest.fixture(scope="module")
def own() -> Encode:
    return plain(load_encoder("mini-dense"))


def _refused(answer: Any, *, path: str = "/embed", like: Any = "mini-dense", **options: Any) -> str:
    with serve(answer) as server, pytest.raises((ServedModelError, ServerError)) as error:
        load_encoder(server.url + path, like=like, server=ServerOptions(retries=0, **options))
    korean, english = error.value.args
    assert server.url in korean
    assert server.url in english
    return english


def test_another_model_is_refused() -> None:
    other = load_encoder("mini-colbert").load()

    def encode(texts: list[str]) -> Any:  # of the same backbone's size, trained otherwise
        features = [other[0](other.preprocess([text], prompt=None, task="document")) for text in texts]
        return np.stack([each["token_embeddings"][0].mean(dim=0).detach().numpy() for each in features])

    message = _refused(tei(encode))
    assert "another model, pooling or prompt" in message
    assert "'mini-dense'" in message


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [("cls", lambda rows: rows[0]), ("max", lambda rows: rows.max(axis=0)), ("lasttoken", lambda rows: rows[-1])],
)
def test_another_pooling_is_named(pooling: str, pool: Callable[[Any], Any]) -> None:
    assert f"it pools by '{pooling}'" in _refused(tei(lambda texts: _pooled(texts, pool)))
    with serve(tei(lambda texts: _pooled(texts, lambda rows: rows.mean(axis=0)))) as server:
        load_encoder(server.url + "/embed", like="mini-dense")  # its own


def test_a_prompt_that_the_server_adds_is_named(own: Encode) -> None:
    message = _refused(tei(lambda texts: own([f"[D] {text}" for text in texts])))
    assert "'[D] '" in message
    assert "once more" in message


def test_a_prompt_that_the_server_leaves_out_is_named(own: Encode) -> None:
    message = _refused(tei(lambda texts: own([text.removeprefix("[Q] ").removeprefix("[D] ") for text in texts])))
    assert "leaves out the prompt '[Q] '" in message


def test_a_server_that_cuts_texts_earlier_is_named(own: Encode) -> None:
    message = _refused(tei(lambda texts: own([text[:300] for text in texts])))
    assert "cuts texts earlier" in message
    assert "max_length=" in message


def test_another_dimension_is_named(own: Encode) -> None:
    message = _refused(tei(lambda texts: own(texts)[:, :128]))
    assert "128 dimensions, those of the model 192" in message


def test_normalized_vectors_of_a_model_that_does_not_normalize_are_refused(tmp_path: Path) -> None:
    shutil.copytree(shipped_models()["mini-dense"], tmp_path / "model")
    modules = json.loads((tmp_path / "model" / "modules.json").read_text(encoding="utf-8"))
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules[:2]), encoding="utf-8")  # without Normalize
    local = load_encoder(tmp_path / "model")
    assert not local.fingerprint.normalized
    bare = plain(local)

    def unit(texts: list[str]) -> Any:
        vectors = bare(texts)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    assert "does not normalize" in _refused(openai(unit), path="/v1/embeddings", like=tmp_path / "model")
    with serve(tei(bare)) as server:
        encoder = load_encoder(server.url + "/embed", like=tmp_path / "model")
        assert np.allclose(encoder.encode_queries(["가나다"]), local.encode_queries(["가나다"]), atol=1e-5)
        assert server.requests[0][1]["normalize"] is False


def test_answers_in_another_order_are_refused_where_they_have_no_index(own: Encode) -> None:
    assert "another order" in _refused(tei(_turned(own)))


def test_answers_in_any_order_are_right_where_they_have_an_index(own: Encode) -> None:
    with serve(openai(own)) as server:  # sends the last one first
        encoder = load_encoder(server.url + "/v1/embeddings", like="mini-dense")
        texts = ["하나", "둘", "셋"]
        assert np.allclose(encoder.encode_queries(texts), load_encoder("mini-dense").encode_queries(texts), atol=1e-6)


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings"])
def test_too_few_answers_are_an_error(own: Encode, path: str) -> None:
    shape = tei if path == "/embed" else openai
    assert "entries in answer to" in _refused(shape(lambda texts: own(texts[:-1])), path=path)


@pytest.mark.parametrize(
    "answer",
    [None, {}, [], "text", [[1.0, "a"]] * 7, [{"index": 0}] * 7, [[]] * 7, [[10**400] * 192] * 7,
     {"data": [{"index": [0]}] * 7},
     {"data": [{"index": 0, "embedding": [1]}] * 7},
     {"data": [{"index": i, "embedding": "x"} for i in range(7)]}, [[float("nan")] * 192] * 7],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings"])
def test_answers_that_the_api_does_not_have_are_errors(answer: Any, path: str) -> None:
    assert "its API does not have" in _refused(lambda *_: answer, path=path)


@pytest.mark.parametrize(
    "answer", [[[{"index": -1, "value": 1}]] * 7, [[{"index": 10**30, "value": 1}]] * 7, [[{"value": 1}]] * 7, [3] * 7]
)
def test_terms_that_there_cannot_be_are_errors(answer: Any) -> None:
    assert "its API does not have" in _refused(lambda *_: answer, path="/embed_sparse", like="mini-splade")


def test_terms_beyond_the_vocabulary_are_another_model() -> None:
    message = _refused(lambda *_: [[{"index": 99_999, "value": 1}]] * 7, path="/embed_sparse", like="mini-splade")
    assert "100000 dimensions" in message


def test_a_colbert_server_without_projection_or_of_other_tokens_is_named(tmp_path: Path) -> None:
    model = load_encoder("mini-colbert").load()
    answer = vllm_tokens(model, masks=4)

    def hidden(path: str, body: dict[str, Any]) -> Any:
        import torch

        ids = [torch.tensor([each]) for each in body["input"]]
        rows = [model[0]({"input_ids": each, "attention_mask": torch.ones_like(each)}) for each in ids]
        return {"data": [{"index": i, "data": row["token_embeddings"][0].tolist()} for i, row in enumerate(rows)]}

    assert "the projection (1_Dense)" in _refused(hidden, path="/pooling", like="mini-colbert")

    def shorter(path: str, body: dict[str, Any]) -> Any:
        whole = answer(path, body)
        return {"data": [{**each, "data": each["data"][1:]} for each in whole["data"]]}

    assert "tokens" in _refused(shorter, path="/pooling", like="mini-colbert")
    expanding = expanding_colbert(tmp_path / "mini-colbert")
    served = vllm_tokens(load_encoder(expanding).load())
    assert "query expansion" in _refused(served, path="/pooling", like=expanding)


def test_a_dimension_that_changes_later_is_an_error_too(own: Encode) -> None:
    with serve(tei(own)) as server:
        encoder = load_encoder(server.url + "/embed", like="mini-dense")
        server.answer = tei(lambda texts: own(texts)[:, :64])
        with pytest.raises(ServedModelError, match="64 dimensions"):
            encoder.encode_queries(["질의"])
