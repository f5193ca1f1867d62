"""Pooling that takes the maximum first gives the same numbers as sentence-transformers' own, to the last bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.sparse_encoder.modules import SpladePooling

from korag.encoders.sparse import _max_first


@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    activation=st.sampled_from(["relu", "log1p_relu"]),
    left=st.booleans(),
)
def test_the_same_as_the_original(seed: int, lengths: list[int], activation: str, left: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(len(lengths), max(lengths), 13, generator=generator)
    mask = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        if left:
            mask[row, max(lengths) - length :] = 1
        else:
            mask[row, :length] = 1
    original = SpladePooling("max", activation_function=activation).eval()
    expected = original({"token_embeddings": logits.clone(), "attention_mask": mask})["sentence_embedding"]
    found = _max_first(original)({"token_embeddings": logits.clone(), "attention_mask": mask})["sentence_embedding"]
    assert torch.equal(found, expected)
    assert (found > 0).any() or (expected == 0).all()


def test_padding_never_counts() -> None:
    logits = torch.tensor([[[1.0, -1.0], [9.0, 9.0]]])
    pooled = _max_first(SpladePooling("max"))({"token_embeddings": logits, "attention_mask": torch.tensor([[1, 0]])})
    assert pooled["sentence_embedding"].tolist() == [[pytest.approx(0.6931472), 0.0]]
