"""BGE-M3: a dense model with two linear heads beside it, as FlagEmbedding saves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import torch

from korag import load_encoder
from korag.errors import MissingHeadsError, UnknownFamilyError
from layouts import references
from layouts.case import DOCUMENTS, QUERIES, LayoutCase, RefusalCase
from layouts.saving import random, save, transformer

HIDDEN, TOKEN_DIM = checkpoints.HIDDEN, 24


def bge_m3(folder: Path) -> None:
    """The published folder: modules.json with CLS pooling, and the heads' state dicts in 16 bits."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    with transformer() as first:
        first.tokenizer.eos_token = first.tokenizer.sep_token  # as in XLM-R's
        save(SentenceTransformer(modules=[first, Pooling(HIDDEN, "cls"), Normalize()], device="cpu"), folder)
    write_heads(folder)


def write_heads(folder: Path, *, hidden: int = HIDDEN) -> None:
    for name, outputs, seed in (("sparse_linear.pt", 1, 3), ("colbert_linear.pt", TOKEN_DIM, 4)):
        head = torch.nn.Linear(hidden, outputs)
        head.weight.data, head.bias.data = random(outputs, hidden, seed=seed), torch.full((outputs,), 3.0)
        torch.save(head.half().state_dict(), folder / name)


def load(family: Any) -> Callable[[Path], Any]:
    return lambda folder: load_encoder(folder, family=family, device="cpu", dtype="float32")


class Reference:
    """The formulas of FlagEmbedding 1.4.2, in its order of operations, on transformers alone.

    https://github.com/FlagOpen/FlagEmbedding: ``_sparse_embedding`` and ``_colbert_embedding`` of
    ``finetune/embedder/encoder_only/m3/modeling.py``; ``_process_token_weights`` and ``_process_colbert_vecs`` of
    ``inference/embedder/encoder_only/m3.py``.
    """

    def __init__(self, folder: Path, max_length: int = 512) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.heads = {
            name: torch.load(folder / f"{name}_linear.pt", weights_only=True) for name in ("sparse", "colbert")
        }
        self.max_length = max_length

    def _states(self, text: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.tokenizer([text], truncation=True, max_length=self.max_length, return_tensors="pt")
        with torch.inference_mode():
            return features["input_ids"], features["attention_mask"], self.model(**features).last_hidden_state

    def _linear(self, name: str, states: torch.Tensor) -> torch.Tensor:
        head = self.heads[name]
        return torch.nn.functional.linear(states, head["weight"].float(), head["bias"].float())

    def dense(self, text: str) -> np.ndarray:
        return torch.nn.functional.normalize(self._states(text)[2][:, 0], dim=-1)[0].numpy()

    def sparse(self, text: str) -> np.ndarray:
        ids, _, states = self._states(text)
        weights = torch.relu(self._linear("sparse", states))[0, :, 0]
        special = self.tokenizer
        unused = {special.cls_token_id, special.eos_token_id, special.pad_token_id, special.unk_token_id}
        row = np.zeros(self.model.config.vocab_size, np.float32)
        for token, weight in zip(ids[0].tolist(), weights.tolist(), strict=True):
            if token not in unused and weight > row[token]:
                row[token] = weight
        return row

    def late_interaction(self, text: str) -> np.ndarray:
        _, mask, states = self._states(text)
        vectors = self._linear("colbert", states[:, 1:]) * mask[:, 1:, None].float()
        vectors = torch.nn.functional.normalize(vectors, dim=-1)[0].numpy()
        return vectors[: int(mask.sum()) - 1]


def _reference(family: str) -> Callable[[Path], tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]:
    def encode(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
        vectors = getattr(Reference(folder), family)
        return [vectors(text) for text in QUERIES], [vectors(text) for text in DOCUMENTS]

    return encode


def _other_hidden_size(folder: Path) -> None:
    bge_m3(folder)
    write_heads(folder, hidden=2 * HIDDEN)


CASES = [
    LayoutCase(name="BGE-M3 with `family='dense'`", build=bge_m3, reference=references.dense, load=load("dense")),
    *(
        LayoutCase(
            name=f"BGE-M3 with `family={family!r}`",
            build=bge_m3,
            reference=_reference(family),
            load=load(family),
            note="compared with FlagEmbedding's formulas",
        )
        for family in ("sparse", "late_interaction")
    ),
]
REFUSALS = [
    RefusalCase(name="BGE-M3 without `family=`", build=bge_m3, error=UnknownFamilyError),
    RefusalCase(
        name="BGE-M3 with heads of another hidden size",
        build=_other_hidden_size,
        use=load("sparse"),
        error=MissingHeadsError,
    ),
]
