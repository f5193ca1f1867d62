"""The bundled models by ONNX Runtime, without torch: size on disk, deviation, first answer, and speed of encoding.

    python benchmarks/without_torch.py --repeats 3

torch exports each model (`korag.encoders.engines`). Processes that import onnxruntime, tokenizers and numpy alone then
encode one document and many, in turns with KoRAG on torch in float32. Their batches have up to as many
tokens as KoRAG's; they check no text, and stand for the least that a path without torch would cost. Time is that of the
processor. Needs ``korag[onnx]``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from first_answer import MODELS, rows

from korag import load_encoder
from korag.encoders.engines import _export, _output_name

_BY_ENGINE = """
import json, string, sys, time
from pathlib import Path
import numpy as np, onnxruntime
from tokenizers import Tokenizer
folder, texts, prompt, role = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(512)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[5])
options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would count as work
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
projection = np.load(folder / "projection.npy") if (folder / "projection.npy").exists() else None
skipped = [tokenizer.token_to_id(mark) for mark in string.punctuation]

def run(batch):
    ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(batch):
        ids[place, : len(row)], mask[place, : len(row)] = row, 1
    (states,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    if role == "mini-splade":
        return list(np.log1p(np.maximum((states * mask[..., None]).max(1), 0)))
    if role == "mini-dense":
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return list(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))
    tokens = states @ projection.T
    tokens /= np.linalg.norm(tokens, axis=-1, keepdims=True)
    kept = mask.astype(bool) & ~np.isin(ids, skipped)
    return [row[own] for row, own in zip(tokens, kept)]

def encode(texts):
    encoded = [encoding.ids for encoding in tokenizer.encode_batch([prompt + text for text in texts])]
    order = sorted(range(len(texts)), key=lambda place: -len(encoded[place]))
    found = [None] * len(texts)
    while order:
        size = max(1, 4_096 // len(encoded[order[0]]))
        batch, order = order[:size], order[size:]
        for place, row in zip(batch, run([encoded[place] for place in batch])):
            found[place] = row
    return found

found = encode(texts[:1])
first = time.process_time()
encode(texts)
begun = time.process_time()
found = encode(texts)
print(json.dumps([first, time.process_time() - begun]))
np.save(folder / "found.npy", np.concatenate(found) if role == "mini-colbert" else np.stack(found))
"""
_BY_TORCH = """
import json, sys, time
from korag import load_encoder
texts, role = json.loads(sys.argv[2]), sys.argv[4]
encoder = load_encoder(role, device="cpu", dtype="float32")
encoder.encode_documents(texts[:1])
first = time.process_time()
encoder.encode_documents(texts)
begun = time.process_time()
encoder.encode_documents(texts)
print(json.dumps([first, time.process_time() - begun]))
"""


def main() -> None:
    """Prints sizes, and a row per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--texts", type=int, default=120, help="encoded for the speed")
    options = parser.parse_args()
    for names in (["onnxruntime", "tokenizers", "numpy"], ["torch", "tokenizers", "numpy"]):
        print(f"{' + '.join(names)}, with what they need: {sum(map(size_of, closure(names))) / 1e6:,.0f} MB")
    texts = [
        f"제{number}조(보증금의 반환) " + "임대인은 계약이 끝나면 보증금을 돌려준다. " * (number % 12)
        for number in range(options.texts)
    ]
    print("\n| model | graph, MB | 1 − least cosine | first vector, s | on torch, s | documents, s | on torch, s |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in MODELS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            encoder: Any = load_encoder(name, device="cpu", dtype="float32")
            export(name, folder)
            arguments = [str(folder), json.dumps(texts), encoder.prompts["document"], name, str(os.cpu_count() or 1)]
            times = [[turn(code, arguments) for code in (_BY_ENGINE, _BY_TORCH)] for _ in range(options.repeats)]
            medians = np.median(np.array(times), axis=0)
            expected, found = rows(encoder.encode_documents(texts)), np.load(folder / "found.npy")
            graph = (folder / "model.onnx").stat().st_size / 1e6
        cosines = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
        (first, documents), (first_torch, documents_torch) = medians
        cells = (f"{1 - float(cosines.min()):.1e}", f"{first:.1f}", f"{first_torch:.1f}", f"{documents:.1f}")
        print(f"| {name} | {graph:.0f} | {' | '.join(cells)} | {documents_torch:.1f} |", flush=True)


def export(name: str, folder: Path) -> None:
    """Writes what the process without torch needs: the graph, the tokenizer, and a ColBERT model's projection."""
    encoder: Any = load_encoder(name, device="cpu", dtype="float32", backend="sentence-transformers")
    model = encoder.load_copy().eval()
    _export(model[0], _output_name(model[0]), folder / "model.onnx")
    source = (encoder.weights_folder() / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(source, encoding="utf-8")
    if encoder.family == "late_interaction":
        np.save(folder / "projection.npy", model[1].linear.weight.detach().numpy())


def turn(code: str, arguments: list[str]) -> list[float]:
    """Returns the processor times of a new interpreter: to the first vector, and of encoding all documents again."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return [float(value) for value in json.loads(done.stdout.splitlines()[-1])]


def closure(names: list[str]) -> set[str]:
    """Returns distributions and all that they need here, without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found or not _is_installed(name):
            continue
        found.add(name)
        waiting += [
            re.split(r"[^\w.-]", line, maxsplit=1)[0]
            for line in importlib.metadata.requires(name) or []
            if "extra ==" not in line
        ]
    return found


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def size_of(name: str) -> int:
    """Returns the bytes of an installed distribution."""
    files: list[Any] = importlib.metadata.files(name) or []
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.exists() and path.suffix != ".pyc")


if __name__ == "__main__":
    main()
