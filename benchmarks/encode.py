"""Encoding documents and single queries: korag and its peers on the same texts and weights, in turns.

    python benchmarks/encode.py --shapes mini --json docs/performance/encode-mini.json
    python benchmarks/encode.py --shapes 149M XLM-R-large --families dense

Every library is called as its users call it, with its default batch size: sentence-transformers (``encode_document``),
langchain-huggingface and llama-index-embeddings-huggingface; korag's encoders, `KoEmbeddings` and `KoEmbedding`. Larger
shapes have random weights. "× peer" is the peer's time divided by ours. ``--avx2`` measures as on a processor without
AVX-512 and AMX, where korag computes in float32 as the peers do.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _peers
from _common import AVX2, as_markdown, interleaved, model_parser, ratio, results, write
from _models import MINIS, SHAPES, Family, build_all, flops
from _texts import QUERY, add_texts_argument, fixed_texts, mixed_texts, read_texts

TOKENS = {"mini": 12_000, "149M": 5_000, "XLM-R-large": 3_000}
"""Total tokens of texts with mixed lengths; a third of it for a fixed length. A call takes seconds on two cores."""
CALLS = {"mini": 100, "149M": 20, "XLM-R-large": 10}
PRODUCTS = 10
"""Matrix products per turn: the hardware limit is measured along with the candidates."""
PRODUCT = 1_536
LIMITED = ("Limited to AVX2 (`ATEN_CPU_CAPABILITY`, `ONEDNN_MAX_CPU_ISA`, `MKL_ENABLE_INSTRUCTIONS`).",)


def main() -> None:
    """Measures every shape and family."""
    parser = model_parser(__doc__, ["mini", *SHAPES], ["mini", *SHAPES])
    parser.add_argument("--families", nargs="+", default=list(MINIS), choices=list(MINIS))
    parser.add_argument("--lengths", nargs="+", default=["mixed", "32", "128", "480"], help="in tokens, or mixed")
    parser.add_argument("--scale", type=float, default=1.0, help="scale of the work; 0.1 for a quick check")
    parser.add_argument("--avx2", action="store_true", help="as on a processor with AVX2 at most")
    add_texts_argument(parser)
    _peers.add_argument(parser)
    options = parser.parse_args()
    if options.avx2:  # before anything that reads these is imported
        os.environ.update(AVX2)
    facts = _peers.start(options, "langchain-huggingface", "llama-index-embeddings-huggingface", "langchain-core")
    source = read_texts(options.texts) if options.texts else None
    documents, calls, parts = [], [], []
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        models = build_all(options.shapes, options.families, options.models_folder or Path(temporary))
        for name, shape, family, folder in models:
            sides = Sides(folder, family, dtype="float32" if options.avx2 else "auto")
            for length in options.lengths:
                texts = choose(sides.tokenizer, int(TOKENS[shape] * options.scale), length, source)
                documents.append(measure_documents(name, length, sides, texts, options.repeats))
            call, part = measure_calls(name, sides, max(3, int(CALLS[shape] * options.scale)))
            calls.append(call)
            parts.append(part)
            tables = {"Documents": documents, "One query per call": calls, "Breakdown of a call, in ms": parts}
            notes = [f"korag computed in {sides.ours.dtype}, the peers in float32.", *(LIMITED if options.avx2 else ())]
            found = results(facts, tables, notes=notes)
            write(found, options.json)  # after every model, so that an interruption loses nothing
    if found:
        print(as_markdown(found))


class Sides:
    """A checkpoint loaded on the CPU by korag and its peers.

    Args:
        folder: The checkpoint.
        family: Its family.
        dtype: Precision of korag; the peers compute in float32.
    """

    def __init__(self, folder: Path, family: Family, dtype: str) -> None:
        import sentence_transformers as st

        from korag import load_encoder

        self.family = family
        kinds = {"dense": "SentenceTransformer", "sparse": "SparseEncoder", "late_interaction": "MultiVectorEncoder"}
        self.ours: Any = load_encoder(folder, device="cpu", dtype=dtype)
        self.ours.encode_queries([QUERY])  # loads the weights
        self.raw: Any = getattr(st, kinds[family])(str(folder), device="cpu")
        self.tokenizer = self.raw.tokenizer
        self.documents: dict[str, Callable[[list[str]], Any]] = {
            "korag": lambda texts: self.ours.encode_documents(texts, show_progress=False),
            "sentence-transformers": lambda texts: self.raw.encode_document(texts, show_progress_bar=False),
        }
        self.queries: dict[str, Callable[[str], Any]] = {
            "korag": lambda text: self.ours.encode_queries([text]),
            "sentence-transformers": lambda text: self.raw.encode_query(text, show_progress_bar=False),
        }
        if family == "dense":
            self._add_frameworks(folder)

    def _add_frameworks(self, folder: Path) -> None:
        from langchain_huggingface import HuggingFaceEmbeddings
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding

        from langchain_korag import KoEmbeddings
        from llamaindex_korag import KoEmbedding

        ours, prompts = self.ours, self.ours.prompts  # which the peers do not apply by default
        chain = HuggingFaceEmbeddings(
            model_name=str(folder),
            model_kwargs={"device": "cpu"},
            encode_kwargs={"prompt_name": "document"},
            query_encode_kwargs={"prompt_name": "query"},
        )
        index = HuggingFaceEmbedding(
            str(folder),
            device="cpu",
            query_instruction=prompts["query"] or None,
            text_instruction=prompts["document"] or None,
        )
        for model in (chain._client, index._model):  # shares the weights in memory
            for theirs, mine in zip(model.parameters(), self.raw.parameters(), strict=True):
                theirs.data = mine.data
        lang, llama = KoEmbeddings(model=ours), KoEmbedding(model_name=ours)
        self.documents |= {
            "KoEmbeddings": lang.embed_documents,
            "langchain-huggingface": chain.embed_documents,
            "KoEmbedding": llama.get_text_embedding_batch,
            "llama-index-embeddings-huggingface": index.get_text_embedding_batch,
        }
        self.queries |= {
            "KoEmbeddings": lang.embed_query,
            "langchain-huggingface": chain.embed_query,
            "KoEmbedding": llama.get_query_embedding,
            "llama-index-embeddings-huggingface": index.get_query_embedding,
        }


def choose(tokenizer: Any, tokens: int, length: str, source: Sequence[str] | None) -> list[str]:
    """Returns texts with a given total number of tokens.

    Args:
        tokenizer: Tokenizer of the model.
        tokens: Total tokens of texts with mixed lengths; a third of it for a fixed length.
        length: ``"mixed"``, or the number of tokens per text.
        source: Texts to choose from; None for built-in ones.
    """
    if length == "mixed":
        return mixed_texts(tokenizer, max(4, tokens // 150), source)
    return fixed_texts(tokenizer, max(4, tokens // 3 // int(length)), int(length), source)


def measure_documents(name: str, length: str, sides: Sides, texts: list[str], repeats: int) -> dict[str, object]:
    """Encodes texts on all sides, in turns. Exits if their vectors differ.

    Args:
        name: Name of the model.
        length: Length of the texts.
        sides: The sides to compare.
        texts: The documents.
        repeats: Number of turns.

    Returns:
        A row of the table.
    """
    import torch

    vectors, padding = {}, {}
    for side, encode in sides.documents.items():  # also the warm-up
        with Padding(sides, side) as seen:
            vectors[side] = encode(texts)
        padding[side] = seen
    deviation = max(_deviation(vectors["korag"], other, sides.family) for other in vectors.values())
    if deviation > (1e-4 if sides.ours.dtype == "float32" else 1e-3):
        raise SystemExit(f"{name}, {length} tokens: cosines to the peers' vectors go down to {1 - deviation}")
    left, right = torch.rand(PRODUCT, PRODUCT), torch.rand(PRODUCT, PRODUCT)
    candidates: dict[str, Callable[[], object]] = {
        side: partial(encode, texts) for side, encode in sides.documents.items()
    }
    candidates["product"] = lambda: [left @ right for _ in range(PRODUCTS)]
    seconds = interleaved(candidates, repeats, warmup=0)
    lengths = padding["sentence-transformers"].lengths
    operations = flops(sides.raw, lengths)
    limit = ratio(seconds, "product", "korag") * operations / (PRODUCTS * 2 * PRODUCT**3)
    took = statistics.median(seconds["korag"])
    return {
        "model": name,
        "tokens a text": length,
        "texts": len(texts),
        "texts/s": len(texts) / took,
        "tokens/s": sum(lengths) / took,
        "× sentence-transformers": ratio(seconds, "sentence-transformers", "korag"),
        "× langchain-huggingface": _ratio(seconds, "langchain-huggingface", "KoEmbeddings"),
        "× llama-index-…-huggingface": _ratio(seconds, "llama-index-embeddings-huggingface", "KoEmbedding"),
        "GFLOP/s": operations / took / 1e9,
        "of a float32 product": f"{limit:.0%}",
        "padding": f"{padding['korag'].share:.1%}",
        "padding, s-t": f"{padding['sentence-transformers'].share:.1%}",
        "1 − cosine": deviation,
    }


def measure_calls(name: str, sides: Sides, calls: int) -> tuple[dict[str, object], dict[str, object]]:
    """Encodes a query per call on all sides, in turns, and times the parts of our call.

    Args:
        name: Name of the model.
        sides: The sides to compare.
        calls: Number of turns.

    Returns:
        A row of ratios and a row of milliseconds.
    """
    import torch

    ours, model = sides.ours, sides.ours.load()
    prompt = ours.prompts["query"] or None
    features = model.preprocess([QUERY], prompt=prompt, task="query")
    bare = {key: value for key, value in features.items() if key in ("input_ids", "attention_mask", "token_type_ids")}

    def forward() -> object:  # the peers' model: ours omits unneeded computations
        with torch.inference_mode():
            return sides.raw[0].model(**bare)

    def modules() -> object:
        with torch.inference_mode():
            return model(dict(features), task="query")

    candidates: dict[str, Callable[[], object]] = {
        "forward": forward,
        "modules": modules,
        "tokens": lambda: model.preprocess([QUERY], prompt=prompt, task="query"),
    }
    candidates |= {side: partial(encode, QUERY) for side, encode in sides.queries.items()}
    seconds = interleaved(candidates, calls, warmup=3)
    row: dict[str, object] = {
        "model": name,
        "tokens": int(features["attention_mask"].shape[1]),
        "over a bare forward": f"{ratio(seconds, 'korag', 'forward') - 1:+.1%}",
        "sentence-transformers over that": f"{ratio(seconds, 'sentence-transformers', 'forward') - 1:+.1%}",
        "× sentence-transformers": ratio(seconds, "sentence-transformers", "korag"),
        "× langchain-huggingface": _ratio(seconds, "langchain-huggingface", "KoEmbeddings"),
        "× llama-index-…-huggingface": _ratio(seconds, "llama-index-embeddings-huggingface", "KoEmbedding"),
    }
    middle = {side: sorted(times)[len(times) // 2] * 1e3 for side, times in seconds.items()}
    part: dict[str, object] = {
        "model": name,
        "whole call": middle["korag"],
        "bare forward": middle["forward"],
        "our modules": middle["modules"],
        "tokenizing once": middle["tokens"],
        "the rest": middle["korag"] - middle["modules"] - middle["tokens"],
    }
    return row, part


class Padding:
    """Records the input of a model's backbone.

    Args:
        sides: The sides to compare.
        side: One of them.
    """

    def __init__(self, sides: Sides, side: str) -> None:
        mine = side in ("korag", "KoEmbeddings", "KoEmbedding")
        self._module = (sides.ours.load() if mine else sides.raw)[0]
        self._rows: list[int] = []
        self._padded = 0

    def __enter__(self) -> Padding:
        self._hook = self._module.register_forward_pre_hook(self._see)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    def _see(self, module: object, inputs: tuple[Any, ...]) -> None:
        mask = inputs[0]["attention_mask"]
        self._rows += mask.sum(1).tolist()
        self._padded += mask.numel()

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text, in the order of encoding."""
        return self._rows

    @property
    def share(self) -> float:
        """Fraction of padding among all tokens."""
        return 1 - sum(self._rows) / self._padded if self._padded else 0.0


def _ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float | None:
    return ratio(seconds, slow, fast) if slow in seconds else None


def _deviation(ours: Any, theirs: Any, family: Family) -> float:
    """Returns the largest 1 − cosine between the vectors of two sides, per text or token."""
    import numpy as np
    import torch

    if family == "sparse":
        theirs = theirs if not isinstance(theirs, torch.Tensor) else theirs.to_dense().numpy()
        ours = ours.toarray() if hasattr(ours, "toarray") else ours
        theirs = theirs.toarray() if hasattr(theirs, "toarray") else theirs
    elif family == "late_interaction":
        ours, theirs = (np.concatenate([np.asarray(rows, np.float32) for rows in side]) for side in (ours, theirs))
    left, right = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return max(0.0, float((1 - (left * right).sum(1) / norms).max()))


if __name__ == "__main__":
    main()
