"""Reranking 100 passages of 200 tokens with a ColBERT model: korag and its peers, in turns.

    python benchmarks/rerank.py --shapes mini --json docs/performance/rerank-mini.json

Cold: nothing is cached; the time to encode the same passages is measured as well. Warm: another query for cached
passages. Peers: sentence-transformers' `MultiVectorEncoder` with its MaxSim, llama-index-postprocessor-colbert-rerank
(whose scores differ, since it ignores the projection head and encodes passages one by one), and PyLate's
``rank.rerank`` in a separate environment. RAGatouille 0.0.9 does not import
with langchain 1, and `rerankers` 0.10 supports ColBERT on BERT only.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _peers
from _common import interleaved, model_parser, publish, ratio, results
from _models import MINIS, build
from _pylate import PyLate
from _texts import QUERY, add_texts_argument, fixed_texts, read_texts

ENCODER, CORE = "encoder alone", "Reranker"
WARM_QUERY = "보증금 반환이 늦어지면 이자를 받을 수 있나요?"


def main() -> None:
    """Measures every shape."""
    parser = model_parser(__doc__, ["mini", "149M"], ["mini", "149M"])
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=200, help="per passage")
    parser.add_argument("--no-pylate", action="store_true", help="leave out PyLate and its environment")
    add_texts_argument(parser)
    _peers.add_argument(parser)
    options = parser.parse_args()
    facts = _peers.start(options, "llama-index-postprocessor-colbert-rerank", "llama-index-core", "langchain-core")
    source = read_texts(options.texts) if options.texts else None
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models_folder or Path(temporary)
        for shape in options.shapes:
            path = build(folder / f"{shape}-late_interaction", shape, "late_interaction")
            name = MINIS["late_interaction"] if shape == "mini" else shape
            pylate = None if options.no_pylate else PyLate(path, options.peers_env.parent / "pylate", options.threads)
            rows += measure(name, path, pylate, options, source)
            if pylate is not None:
                facts["versions"]["pylate"] = pylate.version
                pylate.close()
    title = f"{options.passages} passages of {options.tokens} tokens"
    publish(results(facts, {title: rows}), options.json)


def measure(
    name: str, path: Path, pylate: PyLate | None, options: argparse.Namespace, source: Sequence[str] | None
) -> list[dict[str, object]]:
    """Reranks on all sides in turns, cold and warm. Exits if scores differ.

    Args:
        name: Name of the model.
        path: Its folder.
        pylate: PyLate's process, or None.
        options: Options of the command.
        source: Texts to cut passages from; None for built-in ones.

    Returns:
        A row per side.
    """
    from korag import Reranker, load_encoder

    encoder: Any = load_encoder(path, device="cpu")
    passages = fixed_texts(encoder.load().tokenizer, options.passages, options.tokens, source)
    reranker, (langchain, llamaindex) = Reranker(encoder), _frameworks(encoder, passages)
    cold: dict[str, Callable[[str], Any]] = {
        ENCODER: lambda query: encoder.encode_documents(passages, show_progress=False),
        CORE: lambda query: Reranker(encoder).rerank(query, passages),
        "KoColBERTReranker": lambda query: _frameworks(encoder, passages)[0](query),
        "KoColBERTRerank": lambda query: _frameworks(encoder, passages)[1](query),
        **_peers_of(path, passages),
    }
    if pylate is not None:
        cold["PyLate"] = lambda query: pylate.rerank(query, passages)
    ours, theirs = (dict(cold[side](QUERY)) for side in (CORE, "sentence-transformers"))  # also the warm-up
    difference = max(abs(ours[index] / theirs[index] - 1) for index in ours)
    if difference > 1e-3:
        raise SystemExit(f"{name}: scores differ from sentence-transformers' by up to {difference:.2%}")
    seconds = interleaved({side: partial(call, QUERY) for side, call in cold.items()}, options.repeats, warmup=0)
    again: dict[str, Callable[[str], Any]] = {
        "query alone": lambda query: encoder.encode_queries([query]),
        CORE: lambda query: reranker.rerank(query, passages),
        "KoColBERTReranker": langchain,
        "KoColBERTRerank": llamaindex,
    }
    for call in again.values():
        call(QUERY)
    warm = interleaved({side: partial(call, WARM_QUERY) for side, call in again.items()}, 30, warmup=3)
    rows: list[dict[str, object]] = []
    for side, times in seconds.items():
        again_seconds = statistics.median(warm[side]) if side in warm else None
        rows.append({
            "model": name,
            "reranker": side,
            "cold, s": statistics.median(times),
            "time ÷ encoder's": ratio(seconds, side, ENCODER),
            "time ÷ Reranker's": ratio(seconds, side, CORE),
            "warm, ms": None if again_seconds is None else again_seconds * 1e3,
            "cold ÷ warm": None if again_seconds is None else statistics.median(times) / again_seconds,
        })  # fmt: skip
    rows[0]["warm, ms"] = statistics.median(warm["query alone"]) * 1e3  # lower bound of warm reranking
    return rows


def _frameworks(encoder: Any, passages: list[str]) -> tuple[Callable[[str], Any], Callable[[str], Any]]:
    """Returns rerankers for LangChain and LlamaIndex."""
    from langchain_core.documents import Document
    from llama_index.core.schema import NodeWithScore, TextNode

    from langchain_korag import KoColBERTReranker
    from llamaindex_korag import KoColBERTRerank

    chain = KoColBERTReranker(model=encoder, top_n=10)
    index = KoColBERTRerank(model_name=encoder, top_n=10)
    documents = [Document(passage) for passage in passages]
    nodes = [NodeWithScore(node=TextNode(text=passage), score=0.0) for passage in passages]
    return (
        lambda query: chain.compress_documents(documents, query),
        lambda query: index.postprocess_nodes(nodes, query_str=query),
    )


def _peers_of(path: Path, passages: list[str]) -> dict[str, Callable[[str], Any]]:
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.colbert_rerank import ColbertRerank
    from sentence_transformers import MultiVectorEncoder

    model: Any = MultiVectorEncoder(str(path), device="cpu")
    index = ColbertRerank(model=str(path), tokenizer=str(path), top_n=10, device="cpu")

    def raw(query: str) -> list[tuple[int, float]]:
        documents = model.encode_document(passages, show_progress_bar=False)
        scores = model.similarity(model.encode_query([query], show_progress_bar=False), documents)[0].tolist()
        return sorted(enumerate(scores), key=lambda pair: -pair[1])

    def llama(query: str) -> Any:
        nodes = [NodeWithScore(node=TextNode(text=passage), score=0.0) for passage in passages]
        return index.postprocess_nodes(nodes, query_str=query)

    return {"sentence-transformers": raw, "llama-index-postprocessor-colbert-rerank": llama}


if __name__ == "__main__":
    main()
