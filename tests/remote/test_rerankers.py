"""Cross-encoders on servers of every API, and what is wrong about wrong ones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import cross_encoder as build
from checkpoints import edit_json
from model_servers import serve, vllm_tokens
from safetensors.numpy import load_file, save_file

from korag import CrossEncoderReranker, Reranker, ServerOptions, load_encoder, load_reranker
from korag.errors import InvalidArgumentError, ServedModelError, ServerError

QUERY = "보증금은 언제 돌려받나요?"
TEXTS = [
    "도서관은 월요일에 쉽니다.",
    "보증금은 이사하는 날 돌려받습니다.",
    "김치",
    "보증금은 이사하는 날 돌려받습니다.",
]

Score = Callable[[str, list[str]], Any]


def _tei(score: Score) -> Callable[[str, dict[str, Any]], Any]:
    def answer(path: str, body: dict[str, Any]) -> Any:
        assert path == "/rerank", path
        scores = score(body["query"], body["texts"])
        return [{"index": int(i), "score": float(scores[i])} for i in np.argsort(-scores)]

    return answer


def _results(score: Score, path_of: str) -> Callable[[str, dict[str, Any]], Any]:
    def answer(path: str, body: dict[str, Any]) -> Any:
        assert path == path_of, path
        scores = score(body["query"], body["documents"])
        found = [{"index": int(i), "relevance_score": float(scores[i])} for i in np.argsort(-scores)]
        return {"id": "1", "results": found, "meta": {}}

    return answer


def _same(found: list[tuple[int, float]], own: list[tuple[int, float]]) -> bool:
    indices, scores = zip(*found, strict=True)
    own_indices, own_scores = zip(*own, strict=True)
    return indices == own_indices and np.allclose(scores, own_scores, atol=1e-4)


def _score(reranker: CrossEncoderReranker) -> Score:
    return lambda query, texts: reranker._predict(query, texts, False)


@pytest.mark.parametrize(
    ("api", "base", "path"),
    [
        ("tei", "", "/rerank"),
        ("infinity", "", "/rerank"),
        ("vllm", "", "/v1/rerank"),
        ("jina", "/v1", "/v1/rerank"),
        ("cohere", "", "/v2/rerank"),
        (None, "/v1/rerank", "/v1/rerank"),
        (None, "/v2/rerank", "/v2/rerank"),
    ],
)
def test_scores_of_every_api_are_those_of_the_local_model(
    api: Any, base: str, path: str, cross_encoder: CrossEncoderReranker
) -> None:
    score = _score(cross_encoder)
    with serve(_tei(score) if api == "tei" else _results(score, path)) as server:
        reranker = load_reranker(
            server.url + base, like=cross_encoder, server=ServerOptions(api=api, batch_size=2, model="m")
        )
        found = reranker.rerank(QUERY, [*TEXTS, ""], score_threshold=0.0)
    own = cross_encoder.rerank(QUERY, [*TEXTS, ""])
    assert _same(found, own)
    assert isinstance(reranker, CrossEncoderReranker)
    assert reranker.fingerprint == cross_encoder.fingerprint
    assert all(body.get("model", "m") == "m" for _, body in server.requests)


def test_a_model_without_sigmoid_asks_for_logits(tmp_path: Path) -> None:
    build(tmp_path / "model")
    edit_json(
        tmp_path / "model" / "config.json", sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"}
    )
    local = CrossEncoderReranker(tmp_path / "model")
    assert not local.normalized
    with serve(_tei(_score(local))) as server:
        reranker = load_reranker(server.url, like=local, server=ServerOptions(api="tei"))
        assert server.requests[0][1]["raw_scores"] is True
        assert _same(reranker.rerank(QUERY, TEXTS), local.rerank(QUERY, TEXTS))
        with pytest.raises(InvalidArgumentError, match="score_threshold"):
            reranker.rerank(QUERY, TEXTS, score_threshold=0.5)


def test_pickles_ask_again(cross_encoder: CrossEncoderReranker) -> None:
    with serve(_tei(_score(cross_encoder)), key="geheim") as server:
        reranker = load_reranker(server.url, like=cross_encoder, server=ServerOptions(api="tei", api_key="geheim"))
        assert "geheim" not in repr(reranker)
        assert b"geheim" not in pickle.dumps(reranker)
        with pytest.raises(ServerError, match="HTTP 401"):
            pickle.loads(pickle.dumps(reranker)).rerank(QUERY, TEXTS)  # noqa: S301
        server.key = None
        assert pickle.loads(pickle.dumps(reranker)).rerank(QUERY, TEXTS) == reranker.rerank(QUERY, TEXTS)  # noqa: S301
        with pytest.raises(InvalidArgumentError, match="CrossEncoderReranker"):
            reranker.load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: 1 - scores, "the model of like="),
        (lambda scores: np.log(scores / (1 - scores)), "logits without the sigmoid"),
        (lambda scores: scores[:-1], "entries in answer"),
        (lambda scores: scores * np.nan, "NaN"),
    ],
)
def test_wrong_scores_are_refused(
    change: Callable[[Any], Any], message: str, cross_encoder: CrossEncoderReranker
) -> None:
    score = _score(cross_encoder)
    options = ServerOptions(api="tei", retries=0)
    with (
        serve(_tei(lambda query, texts: change(score(query, texts)))) as server,
        pytest.raises((ServedModelError, ServerError), match=message) as error,
    ):
        load_reranker(server.url, like=cross_encoder, server=options)
    assert server.url in error.value.args[0]


def test_scores_of_another_model_that_are_close_to_0_as_well_are_refused(tmp_path: Path) -> None:
    local, other = (_unsure(tmp_path / name, sign) for name, sign in (("local", 1), ("other", -1)))
    found = [_score(each)(QUERY, TEXTS) for each in (local, other)]
    assert max(scores.max() for scores in found) < 0.001
    with serve(_tei(_score(other))) as server, pytest.raises(ServedModelError, match="the model of like="):
        load_reranker(server.url, like=local, server=ServerOptions(api="tei"))
    with serve(_tei(lambda *pair: _score(local)(*pair).astype(np.float16).astype(np.float32))) as server:
        load_reranker(server.url, like=local, server=ServerOptions(api="tei"))


def _unsure(folder: Path, sign: int) -> CrossEncoderReranker:
    build(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.out_proj.weight"] *= sign
    tensors["classifier.out_proj.bias"] = np.full_like(tensors["classifier.out_proj.bias"], -9)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return CrossEncoderReranker(folder)


def test_a_length_of_pairs_is_the_servers(cross_encoder_folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="max_length=16: a server cuts"):
        load_reranker(
            "http://127.0.0.1:9", like=cross_encoder_folder, max_length=16, server=ServerOptions(api="tei", retries=0)
        )


def test_an_unknown_api_is_an_error(cross_encoder: CrossEncoderReranker) -> None:
    with pytest.raises(InvalidArgumentError, match="'tei', 'infinity'"):
        load_reranker("https://host/rerank", like=cross_encoder)
    with pytest.raises(InvalidArgumentError, match="api='openai' does not serve cross_encoder"):
        load_reranker("https://host", like=cross_encoder, server=ServerOptions(api="openai"))
    with pytest.raises(InvalidArgumentError, match="like="):
        load_reranker("https://host/v1/rerank")
    with pytest.raises(InvalidArgumentError, match="load_reranker"):
        CrossEncoderReranker("https://host/v1/rerank")


def test_a_colbert_model_on_a_server_reranks_by_its_vectors() -> None:
    local = load_encoder("mini-colbert")
    with serve(vllm_tokens(local.load(), masks=4)) as server:
        reranker = load_reranker(server.url, like="mini-colbert", server=ServerOptions(api="vllm"))
        assert isinstance(reranker, Reranker)
        assert _same(reranker.rerank(QUERY, TEXTS), Reranker(local).rerank(QUERY, TEXTS))
