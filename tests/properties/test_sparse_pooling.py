"""Our SPLADE pooling equals that of sentence-transformers."""

import numpy as np
import pytest
import torch
from checkpoints import BUILDERS
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling

from korag import load_encoder
from korag.encoders.splade_head import MaxLogitHead, max_first

pytestmark = pytest.mark.slow


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
    found = max_first(original)({"token_embeddings": logits.clone(), "attention_mask": mask})["sentence_embedding"]
    assert torch.equal(found, expected)
    assert (found > 0).any() or (expected == 0).all()


def test_padding_never_counts() -> None:
    logits = torch.tensor([[[1.0, -1.0], [9.0, 9.0]]])
    pooled = max_first(SpladePooling("max"))({"token_embeddings": logits, "attention_mask": torch.tensor([[1, 0]])})
    assert pooled["sentence_embedding"].tolist() == [[pytest.approx(0.6931472), 0.0]]


@given(
    seed=st.integers(0, 2**32 - 1),
    tokens=st.integers(1, 40),
    hidden=st.sampled_from([8, 24, 64]),
    bias=st.sampled_from([None, -6.0, -2.0, 0.0, 3.0]),
    scale=st.sampled_from([1e-4, 1.0, 30.0]),
    int8_filter=st.booleans(),
)
@settings(deadline=None)
def test_maxima_without_the_logits(
    seed: int, tokens: int, hidden: int, bias: float | None, scale: float, int8_filter: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    states = scale * torch.randn(tokens, hidden, generator=generator)
    weight = torch.randn(211, hidden, generator=generator) * torch.rand(211, 1, generator=generator)
    weight[3] = 0
    biases = None if bias is None else bias + torch.randn(211, generator=generator)
    expected = torch.nn.functional.linear(states, weight, biases).amax(0).relu()
    found = MaxLogitHead(weight, biases, int8_filter=int8_filter)([states[:1], states])[1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * scale)
    clear = expected > 1e-4 * scale  # nearer to zero the order of a sum decides
    assert (found[clear] > 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("int8_filter", [True, False])
def test_a_text_that_is_not_finite_harms_no_other(bad: float, int8_filter: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    good, other = torch.randn(5, 24, generator=generator), torch.randn(7, 24, generator=generator)
    other[2, 3] = bad
    maxima = MaxLogitHead(torch.randn(50, 24, generator=generator), None, int8_filter=int8_filter)
    alone, together = maxima([good]), maxima([good, other])
    assert (alone > 0).any()
    assert torch.equal(together[:1], alone)
    assert not together[1].isfinite().all()  # it shows


TEXTS = ["바다가 보이는 방을 예약하려고 합니다.", "", "환불", "버스 정류장에서 학교까지 걸어서 십 분쯤 걸린다. " * 30]


@pytest.mark.parametrize("which", ["mini-splade", "splade"])
def test_encoders_give_what_sentence_transformers_gives(which: str, tmp_path) -> None:
    folder = which
    if which == "splade":
        folder = str(tmp_path / which)
        BUILDERS[which](tmp_path / which)
    encoder = load_encoder(folder, device="cpu")
    found = encoder.encode_documents(TEXTS).toarray()
    original = SparseEncoder(str(encoder.weights_folder()), device="cpu", local_files_only=True)
    expected = original.encode_document(TEXTS, convert_to_sparse_tensor=False).float().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert ((found > 0) == (expected > 0))[(expected > 1e-3) | (expected == 0)].mean() > 0.9999
    assert (found > 0).any()
