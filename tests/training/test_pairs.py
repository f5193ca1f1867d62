"""Pairs: every kind of bad input is reported with its line, before anything is trained or written."""

import json
import subprocess
import sys

import pytest

from korag.errors import CheckpointNotFoundError, InvalidArgumentError
from korag.training import Pair, PairsError, check_leaks, check_pairs, finetune, read_pairs, split_pairs

GOOD = {"query": "분리수거는 언제 하나요?", "positive": "재활용품은 목요일 저녁에 내놓는다."}
OTHER = {"query": "주차 등록은 어디서 하나요?", "positive": "차량은 관리사무소에서 등록한다."}


def _jsonl(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


BAD = {
    "empty query": ([GOOD, OTHER | {"query": " \u3000"}], 2, "query is empty"),
    "empty positive": ([GOOD, OTHER | {"positive": ""}], 2, "positive is empty"),
    "empty negative": ([OTHER | {"negatives": ["\u200b"]}], 1, "negative 1 is empty"),
    "number": ([GOOD, OTHER | {"query": 3}], 2, "must be a string"),
    "null": ([GOOD, OTHER | {"positive": None}], 2, "must be a string"),
    "surrogate": ([GOOD, '{"query": "\\ud800", "positive": "x"}'], 2, "lone surrogate"),
    "duplicate": ([GOOD, OTHER, GOOD], 3, "the same query and positive as line 1"),
    "duplicate in NFD": (
        [{"query": "가", "positive": "나"}, {"query": "\u1100\u1161", "positive": " 나 "}], 2, "as line 1",
    ),
    "own negative": ([GOOD | {"negatives": [GOOD["positive"]]}], 1, "negative 1 is a positive of the same query"),
    "negative of another line": (
        [GOOD | {"positive": "다른 답이다."}, GOOD | {"negatives": ["아니다.", "다른  답이다."]}], 2,
        "negative 2 is a positive of the same query (line 1)",
    ),
    "negative twice": ([GOOD | {"negatives": ["x 하나", "x 하나"]}], 1, "negative 2 is given twice"),
    "query is positive": ([{"query": "같은 글", "positive": "같은 글"}], 1, "identical"),
    "broken JSON": ([GOOD, '{"query": "짝이 없는 따옴표'], 2, "broken JSON"),
    "not an object": ([GOOD, '["a", "b"]'], 2, "not a JSON object"),
    "wrong columns": ([{"질문": "가", "답": "나"}], 1, "wrong columns"),
    "missing column later": ([GOOD, {"query": "나"}], 2, "wrong columns"),
    "nothing": ([""], None, "no pairs"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_jsonl_is_reported_with_its_line(name, tmp_path) -> None:
    rows, line, message = BAD[name]
    path = _jsonl(tmp_path / "pairs.jsonl", *rows)
    with pytest.raises(PairsError) as caught:
        read_pairs(path)
    (problem,) = caught.value.problems
    assert problem[0] == line
    assert message in problem[2]
    assert "학습을 시작하지 않았습니다" in str(caught.value)
    if line:
        assert f"{line}행" in str(caught.value)
        assert f"line {line}" in str(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_bad_pairs_train_nothing_and_write_nothing(name, tmp_path) -> None:
    path = _jsonl(tmp_path / "pairs.jsonl", *BAD[name][0])
    with pytest.raises(PairsError):
        finetune("mini-dense", path, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_all_problems_at_once_and_twenty_listed(tmp_path) -> None:
    path = _jsonl(tmp_path / "pairs.jsonl", GOOD, *["{"] * 30, OTHER | {"query": ""})
    with pytest.raises(PairsError, match="31 problems") as caught:
        read_pairs(path)
    assert len(caught.value.problems) == 31
    assert "… and 11 more" in str(caught.value)


def test_lenient_reading_leaves_the_bad_ones_out(tmp_path, caplog) -> None:
    path = _jsonl(tmp_path / "pairs.jsonl", GOOD, "{", OTHER, GOOD)
    assert [pair.line for pair in read_pairs(path, strict=False)] == [1, 3]
    assert "2 invalid entries" in caplog.text
    with pytest.raises(PairsError, match="wrong columns"):
        read_pairs(_jsonl(tmp_path / "wrong.jsonl", {"a": "b"}), strict=False)


def test_the_same_pairs_from_every_format(tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = [
        Pair(GOOD["query"], GOOD["positive"], ("하나, 둘", '따옴표 "둘"')),
        Pair(OTHER["query"], OTHER["positive"], ("셋\n넷",)),
    ]
    rows = [{"query": p.query, "positive": p.positive, "negatives": list(p.negatives)} for p in expected]
    jsonl = _jsonl(tmp_path / "a.jsonl", *rows)
    jsonl.write_bytes(b"\xef\xbb\xbf" + jsonl.read_bytes())  # a byte-order mark
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    cells = [["anchor", "positive", "neg_0", "negative_1", "id"]]
    cells += [[p.query, p.positive, *p.negatives, *[""] * (2 - len(p.negatives)), "7"] for p in expected]
    quoted = [[cell.replace('"', '""') for cell in row] for row in cells]
    for suffix, sign in (("csv", ","), ("tsv", "\t")):
        text = "\r\n".join(sign.join(f'"{cell}"' for cell in row) for row in quoted)
        (tmp_path / f"a.{suffix}").write_bytes(text.encode("utf-8-sig"))
    for suffix in ("jsonl", "parquet", "csv", "tsv"):
        assert read_pairs(tmp_path / f"a.{suffix}") == expected, suffix
    assert check_pairs([(p.query, p.positive, p.negatives) for p in expected]) == expected


def test_lines_of_csv_count_lines_not_rows(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('query,positive\n"두\n줄",답\n,답\n질의,답,남는 칸\n질의,답 둘\n', encoding="utf-8")
    with pytest.raises(PairsError) as caught:
        read_pairs(path)
    assert [(line, english[:12]) for line, _, english in sorted(caught.value.problems)] == [
        (4, "query is emp"), (5, "the number o"),
    ]  # fmt: skip


def test_unreadable_files(tmp_path) -> None:
    with pytest.raises(CheckpointNotFoundError):
        read_pairs(tmp_path / "none.jsonl")
    (tmp_path / "a.xlsx").write_bytes(b"")
    with pytest.raises(InvalidArgumentError, match="jsonl"):
        read_pairs(tmp_path / "a.xlsx")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(PairsError, match="broken parquet"):
        read_pairs(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_bytes("query,positive\n질의,답\n".encode("cp949"))
    with pytest.raises(PairsError, match="CSV UTF-8") as caught:
        read_pairs(tmp_path / "a.csv")
    assert caught.value.problems[0][0] == 2


def test_own_column_names(tmp_path) -> None:
    path = _jsonl(tmp_path / "a.jsonl", {"질문": "가?", "문서": "나.", "오답": ["다."]})
    columns = {"query": "질문", "positive": "문서", "negatives": "오답"}
    assert read_pairs(path, columns=columns) == [Pair("가?", "나.", ("다.",))]
    with pytest.raises(PairsError, match="질의 / 문서 expected, found 질문, 문서, 오답"):
        read_pairs(path, columns=columns | {"query": "질의"})


def _many(n: int) -> list[Pair]:
    return [Pair(f"{d}번 서류의 {q}번 물음", f"{d}번 서류의 내용", line=d * 2 + q) for d in range(n) for q in (0, 1)]


def test_split_is_by_document_and_does_not_depend_on_order() -> None:
    pairs = _many(20)
    split = split_pairs(pairs, held_out=0.25)
    assert {p.positive for p in split.train}.isdisjoint(p.positive for p in split.held_out)
    assert sorted([*split.train, *split.held_out], key=lambda p: p.line) == pairs
    assert len(split.held_out) == 10
    assert set(split_pairs(pairs[::-1], held_out=0.25).held_out) == set(split.held_out)
    assert set(split_pairs(pairs, held_out=0.25, seed=14).held_out) != set(split.held_out)
    assert split_pairs(pairs, held_out=0).held_out == ()
    check_leaks(split.train, split.held_out)


def test_split_keeps_what_hangs_together_and_takes_held_out_answers_out_of_negatives() -> None:
    pairs = [Pair(f"질의 {i}", f"문서 {i}", tuple(f"문서 {j}" for j in range(12) if j != i)) for i in range(12)]
    pairs += [Pair("질의 0", "문서 가"), Pair("질의 나", "문서 가")]
    split = split_pairs(pairs, held_out=0.3)
    gold = {p.positive for p in split.held_out}
    assert all(gold.isdisjoint({p.positive, *p.negatives}) for p in split.train)
    assert split.dropped_negatives == sum(len(gold & set(p.negatives)) for p in pairs if p.positive not in gold)
    tied = {"문서 0", "문서 가"}
    assert tied <= gold or tied.isdisjoint(gold)


def test_what_cannot_be_split_is_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="connected by shared"):
        split_pairs([Pair("가", "나"), Pair("다", "나"), Pair("다", "라")])
    with pytest.raises(InvalidArgumentError, match="held_out=1"):
        split_pairs(_many(2), held_out=1)


def test_leaks_between_files_name_both_lines(tmp_path) -> None:
    train = _jsonl(tmp_path / "train.jsonl", GOOD | {"negatives": ["헬스장은 열 시까지 연다."]}, OTHER)
    leaky = _jsonl(
        tmp_path / "test.jsonl",
        {"query": "새 질의", "positive": "새 답"},
        {"query": OTHER["query"], "positive": "딴 답"},
        {"query": "헬스장 시간", "positive": "헬스장은  열 시까지 연다."},
    )  # fmt: skip
    with pytest.raises(PairsError) as caught:
        finetune("mini-dense", train, tmp_path / "out", held_out=leaky)
    assert [problem[0] for problem in caught.value.problems] == [2, 3]
    assert "line 2: the query is also in the training pairs, line 2" in str(caught.value)
    assert "line 3: the positive is also in the training pairs, line 1" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_importing_training_loads_no_torch() -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\nimport korag.training as t; t.read_pairs, t.RECIPES, t.split_pairs\n"
        "import korag.commands.train\n"
        "print([n for n in ('torch', 'sentence_transformers', 'numpy', 'datasets') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
