"""Training the mini models on a teacher's table: its batches, and a step of every objective."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from korag.checkpoints.bundled import shipped_models

pytestmark = pytest.mark.training
TOPICS = ("주차", "택배", "소음", "승강기", "관리비", "재활용", "수도", "난방")


@pytest.fixture
def minis(minis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(minis.lessons, "LESSON_SHARES", {"own": 1.0})
    monkeypatch.setattr(minis.lessons, "TAUGHT_SHARES", {"own": 0.7})
    return minis


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A table of eight topics; the last document is cut from the first, whose query has it as another answer."""
    shutil.copy(shipped_models()["mini-dense"] / "tokenizer.json", tmp_path)
    rng = np.random.default_rng(0)
    texts = [f"{topic} 업무는 관리사무소 {number}번 창구에서 봅니다." for number, topic in enumerate(TOPICS)]
    texts.append("관리사무소 0번 창구에서 봅니다.")
    vectors = rng.standard_normal((len(texts), 16)).astype(np.float16)
    queries = [f"{topic} 문의는 어디에 하나요?" for topic in TOPICS] + [f"{TOPICS[0]} 문의는 어디에 하나요?"]
    candidates = [[number, (number + 1) % 8, (number + 2) % 8] for number in range(8)] + [[8, 3, 4]]
    columns = {"id": range(9), "text": texts, "source": ["own"] * 9, "origin": [*range(8), 0]}
    pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), tmp_path / "documents.parquet")
    table = {"query": queries, "source": ["own"] * 9, "kind": ["asked"] * 9, "documents": candidates}
    pq.write_table(pa.table(table | {"scores": [[0.0] * 3] * 9}), tmp_path / "candidates.parquet")
    np.save(tmp_path / "taught-documents.npy", vectors)
    np.save(tmp_path / "taught-queries.npy", np.concatenate([vectors[:8], vectors[:1]]))
    np.save(tmp_path / "embeddings.npy", 0.5 * rng.standard_normal((12_288, 192)).astype(np.float16))
    np.save(tmp_path / "term_bias.npy", np.zeros(12_288, np.float32))
    return tmp_path


def test_batches_have_the_teachers_scores_and_no_hidden_answer(minis, work) -> None:
    minis.lessons.prepare_lessons(work, work / "lessons.npz")
    lessons = minis.lessons.read_lessons(work)
    phase = replace(minis.taught.TAUGHT_PHASES["mini-dense"][0], batch_size=5, candidates=2, augmented=0.5)
    sampler = minis.lessons.LessonSampler(lessons, phase)
    decoded = [tuple(lessons.documents[number]) for number in range(9)]
    for step in range(12):
        batch, again = sampler.batch(step), sampler.batch(step)
        assert batch.queries == again.queries
        assert np.array_equal(batch.taught, again.taught)
        numbers = [decoded.index(tuple(tokens)) for tokens in batch.documents]
        assert batch.taught.shape == batch.same.shape == (5, len(numbers))
        assert len(set(numbers[5:])) == len(numbers[5:])
        assert not set(numbers[:5]) & set(numbers[5:])
        for i in range(5):
            own = numbers[i]
            hidden = {0, 8} if own in (0, 8) else {own}
            expected = [number in hidden and column != i for column, number in enumerate(numbers)]
            assert batch.same[i].tolist() == expected
            vector = lessons.taught_queries[0 if own == 8 else own].astype(np.float32)
            scores = lessons.taught_documents[numbers].astype(np.float32) @ vector / minis.taught.TEACHER_TEMPERATURE
            assert batch.taught[i] == pytest.approx(scores, rel=1e-4)


def test_a_few_steps_of_all_objectives(minis, work, caplog, monkeypatch) -> None:
    monkeypatch.setattr(minis.train, "_LOGGED_EVERY", 2)
    monkeypatch.setattr(minis.train, "cpu_has_bfloat16", lambda: True)
    minis.lessons.prepare_lessons(work, work / "lessons.npz")
    before = torch.get_num_threads()
    objectives = frozenset({"colbert", "dense", "splade"})
    phase = minis.taught.TAUGHT_PHASES["mini-dense"][0]
    phase = replace(phase, name="first", start=None, objectives=objectives, batch_size=5, steps=2, warm_up=1)
    with caplog.at_level("INFO"):
        minis.train.train_phase(phase, work, 1)
    torch.set_num_threads(before)
    (line,) = [record.message for record in caplog.records if "2/2" in record.message]
    assert all(name in line for name in ("colbert", "dense", "splade", "terms-document"))
    weights = torch.load(work / "first.pt", weights_only=True)
    assert all(value.isfinite().all() for value in weights.values())
    later = replace(phase, name="later", objectives=frozenset({"dense"}), start="first", steps=1)
    minis.train.train_phase(later, work, 1)
    torch.set_num_threads(before)
    assert not (work / "later.state.pt").exists()


def test_a_teachers_part_is_a_weighted_cross_entropy(minis) -> None:
    generator = torch.Generator().manual_seed(1)
    queries = torch.nn.functional.normalize(torch.randn(3, 8, generator=generator), dim=-1)
    documents = torch.nn.functional.normalize(torch.randn(5, 8, generator=generator), dim=-1)
    same = torch.zeros(3, 5, dtype=torch.bool)
    same[0, 4] = True
    taught = torch.randn(3, 5, generator=generator).masked_fill(same, minis.losses.EXCLUDED)
    loss, logits = minis.losses.dense_loss(queries, documents, same, taught, 0.7)
    expected = 0.0
    for i in range(3):
        allowed = [j for j in range(5) if not same[i, j]]
        ours = [float(queries[i] @ documents[j]) / 0.05 for j in allowed]
        theirs = [float(taught[i, j]) for j in allowed]
        log_sum = float(np.log(np.sum(np.exp(ours))))
        shares = np.exp(theirs) / np.sum(np.exp(theirs))
        hard = log_sum - ours[allowed.index(i)]
        soft = sum(share * (log_sum - logit) for share, logit in zip(shares, ours, strict=True))
        expected += (0.3 * hard + 0.7 * soft) / 3
    assert logits.shape == (3, 5)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
