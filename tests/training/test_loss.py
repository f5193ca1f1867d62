"""The Matryoshka ColBERT loss against a plain loop: values and gradients; and with sentence-transformers' trainer."""

import math

import pytest
import torch
from checkpoints import DIMS, matryoshka_safetensors, pylate

from korag import load_encoder
from korag.checkpoints.matryoshka import read_heads
from korag.errors import InvalidArgumentError, MissingHeadsError
from korag.training.heads import MatryoshkaDense, attach_heads, detach_heads
from korag.training.losses import MatryoshkaColBERTLoss, make_loss, maxsim_matrix
from korag.training.recipes import RECIPES

QUERIES = ["보증금은 언제 돌려받나요?", "도서관 쉬는 날", "환불 기간이 며칠인가요"]
POSITIVES = [
    "임대차가 끝나면 보증금을 돌려준다.",
    "도서관은 월요일에 쉰다.",
    "결제하고 이레 안에 환불을 신청한다.",
]
NEGATIVES = ["월세가 밀리면 계약을 해지한다.", "구내식당은 열두 시에 연다.", "교환은 상자를 뜯기 전까지 된다."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    made = tmp_path_factory.mktemp("matryoshka")
    matryoshka_safetensors(made)
    return made


@pytest.fixture
def model(folder):
    made = load_encoder(folder, device="cpu")._load(folder)
    attach_heads(made, read_heads(folder / "matryoshka_heads.safetensors"))
    return made.eval()  # no dropout


def _features(model, columns):
    prompts = ["[Q] ", "[D] ", "[D] "]
    tasks = ["query", "document", "document"]
    return [
        {**model.preprocess(texts, prompt=prompt, task=task), "task": task}
        for texts, prompt, task in zip(columns, prompts, tasks, strict=False)
    ]


def _plain_loop(model, columns, weights, temperature):
    """The formula of the docstring, one token, one query and one head at a time."""
    outputs = [model(dict(features), task=features["task"], all_dims=True) for features in _features(model, columns)]
    total = 0.0
    for dim, weight in weights.items():

        def vectors(output, row):
            kept = [t for t, use in enumerate(output["attention_mask"][row]) if use]
            rows = [output[f"token_embeddings_{dim}"][row, t] for t in kept]  # noqa: B023 (used at once)
            return [vector / vector.pow(2).sum().sqrt() for vector in rows]

        documents = [vectors(output, row) for output in outputs[1:] for row in range(len(columns[0]))]
        losses = []
        for i in range(len(columns[0])):
            scores = []
            for document in documents:
                score = 0.0
                for a in vectors(outputs[0], i):
                    best = None
                    for b in document:
                        similarity = (a * b).sum()
                        best = similarity if best is None or similarity > best else best
                    score = score + best
                scores.append(score / temperature)
            logits = torch.stack(scores)
            losses.append(-(logits[i] - torch.log(torch.exp(logits - logits.max()).sum()) - logits.max()))
        total = total + weight * sum(losses) / len(losses)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("columns", [(QUERIES, POSITIVES), (QUERIES, POSITIVES, NEGATIVES)])
@pytest.mark.parametrize(("weights", "temperature"), [(None, 1.0), ((0.1, 0.2, 0.3, 0.4), 0.5)])
def test_equals_a_plain_loop_in_value_and_gradient(model, columns, weights, temperature) -> None:
    chosen = dict(zip(DIMS, weights or (0.25,) * 4, strict=True))
    loss = MatryoshkaColBERTLoss(model, weights=weights and chosen, temperature=temperature)
    value = loss(_features(model, columns))
    value.backward()
    names = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    gradients = [model.get_parameter(name).grad.clone() for name in names]
    model.zero_grad()
    expected = _plain_loop(model, columns, chosen, temperature)
    expected.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert sum("heads" in name for name in names) == len(DIMS)  # every head learns
    for name, gradient in zip(names, gradients, strict=True):
        other = model.get_parameter(name).grad
        assert torch.allclose(gradient, other, rtol=1e-3, atol=1e-5 * max(1.0, other.abs().max().item())), name


def test_equal_documents_give_the_logarithm_of_their_number(model) -> None:
    """Equal documents give −log(1/n)."""
    value = MatryoshkaColBERTLoss(model)(_features(model, (QUERIES, [POSITIVES[0]] * 3, [POSITIVES[0]] * 3)))
    assert value.item() == pytest.approx(math.log(6), rel=1e-4)


def test_masked_tokens_take_no_part() -> None:
    generator = torch.Generator().manual_seed(1)
    query, documents = torch.randn(2, 3, 4, generator=generator), torch.randn(5, 6, 4, generator=generator)
    query_mask, document_mask = torch.ones(2, 3), torch.ones(5, 6)
    query_mask[:, 2], document_mask[:, 4:] = 0, 0
    whole = maxsim_matrix(query[:, :2], query_mask[:, :2], documents[:, :4], document_mask[:, :4])
    assert torch.allclose(maxsim_matrix(query, query_mask, documents, document_mask), whole)


def test_one_head_is_sentence_transformers_own_loss(tmp_path) -> None:
    pylate(tmp_path)
    encoder = load_encoder(tmp_path, device="cpu")
    plain = encoder._load(tmp_path).eval()
    theirs = make_loss(plain, RECIPES["small-colbert"])  # no heads: sentence-transformers'
    headed = encoder._load(tmp_path).eval()
    attach_heads(headed, dims=[encoder.dim])
    ours = make_loss(headed, RECIPES["small-colbert"])
    features = _features(plain, (QUERIES, POSITIVES, NEGATIVES))
    assert type(theirs).__name__ == "MultiVectorMultipleNegativesRankingLoss"
    assert ours(features).item() == pytest.approx(theirs(features).item(), rel=1e-5)


@pytest.mark.slow
def test_new_heads_keep_the_old_projection(tmp_path) -> None:
    pylate(tmp_path)
    encoder = load_encoder(tmp_path, device="cpu")
    made = encoder._load(tmp_path)
    old = made[1].linear.weight.detach().clone()
    attach_heads(made, dims=[8, encoder.dim])
    weights = detach_heads(made)
    assert sorted(weights) == [8, encoder.dim]
    assert torch.equal(weights[encoder.dim], old)
    assert torch.allclose(weights[8] @ weights[8].T, torch.eye(8), atol=1e-5)


def test_heads_survive_a_checkpoint(model, tmp_path) -> None:
    model[1].save(str(tmp_path))
    loaded = MatryoshkaDense.load(str(tmp_path))
    for dim, weight in model[1].weights().items():
        assert torch.equal(loaded.weights()[dim], weight)


def test_wrong_arguments(model, tmp_path) -> None:
    with pytest.raises(InvalidArgumentError, match="temperature"):
        MatryoshkaColBERTLoss(model, temperature=0)
    with pytest.raises(InvalidArgumentError, match=r"weights.*\[4, 8\]"):
        MatryoshkaColBERTLoss(model, weights={4: 0.5, 8: 0.5})
    detach_heads(model)
    with pytest.raises(InvalidArgumentError, match="attach_heads"):
        MatryoshkaColBERTLoss(model)
    with pytest.raises(InvalidArgumentError, match="no Matryoshka heads"):
        detach_heads(model)
    del model[1]
    with pytest.raises(MissingHeadsError, match="exactly one Dense"):
        attach_heads(model, dims=[4])
