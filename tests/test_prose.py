"""Habits of prose that CONTRIBUTING rules out, in docstrings, comments, messages and documents."""

import ast
import io
import itertools
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "core",
    "langchain_korag",
    "llamaindex_korag",
    "training",
    "benchmarks",
    "examples",
    "tests",
    "docs",
    "tools",
)
INSTEAD = {
    r"beside the event loop": "async, run in a thread",
    r"(is|are) not possible\b": "is invalid; … must be …",
    r"passed over": "ignored, or skipped",
    r"in the words of": "name the thing",
    r"a matter of once": "warm-up",
    r"\bone a (text|token|document|query|row|leg|segment|node)\b": "one per …",
    r"\bcomes? twice\b": "is repeated",
}
"""Patterns, and the words to use instead."""
_START = re.compile(r'^[rR]?"""(Whether|What|How) (?!to\b)')
_FILES = sorted(
    [path for folder in FOLDERS for suffix in ("py", "md") for path in (ROOT / folder).rglob(f"*.{suffix}")]
    + [path for path in ROOT.glob("*.md") if path.name not in ("CHANGELOG.md", "CONTRIBUTING.md")]
)


def _prose(path: Path) -> list[tuple[int, str]]:
    """Lines of a document, or strings and comments of a module, with their line numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return list(enumerate(text.splitlines(), start=1))
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(token.start[0], token.string) for token in tokens if token.type in kinds]


def _habits(path: Path) -> list[str]:
    found = []
    for line, text in _prose(path):
        place = f"{path.relative_to(ROOT)}:{line}"
        if _START.match(text):
            found.append(f"{place}: a docstring opens with {text.split()[0][3:]}; start with the thing or a verb")
        for habit, better in INSTEAD.items():
            found += [f"{place}: {match[0]!r}; write: {better}" for match in re.finditer(habit, text)]
    return found


def test_plain_words() -> None:
    found = [habit for path in _FILES if path != Path(__file__) for habit in _habits(path)]
    assert not found, "CONTRIBUTING.md, Vocabulary:\n" + "\n".join(found)


KOREAN = {
    r"인자(?=[가는도로를에와의 ])|매개변수": "인수",  # parameters of a model are 파라미터
    r"질의(?!\|)|쿼리": "질문",  # except in a pattern for names of prompts
    r"웨이트|가중값": "가중치",  # of legs and of models
    r"인덱스|인덱싱": "색인",
    r"도큐먼트": "문서",
    r"청크": "조각",  # a part of a document that is stored as one; 구간 is what a model reads at a time
    r"디렉[터토]리": "폴더",
    r"메소드": "메서드",
    r"리랭[커킹]|재랭킹|재정렬": "재순위, 재순위 모델",
    r"리트리버": "검색기",
    r"스코어": "점수",
    r"랭킹": "순위",
    r"융합|퓨전": "결합",
    r"레그(?![가-힣])": "검색 방식",
    r"임[계곗]값|역치": "기준값",
    r"데이터 ?셋|데이터 세트|코퍼스": "평가 데이터, 문서",
    r"내려받": "다운로드",
    r"반환(?=한|된|하|합|값)": "돌려주다",  # 보증금 반환 is what example texts are about
    r"거절(?=했|합|됩|됐|하므로)": "거부",
    r"서버(?:가|의) 답": "서버의 응답",
    r"파인 ?튜닝": "미세 조정",
    r"훈련": "학습",
    r"[칼컬]럼": "열",
    r"에러": "오류",
    r"디폴트": "기본값",
    r"KoRAG(?:은|을|과|이(?!라|고))(?![가-힣])": "KoRAG는, KoRAG를, KoRAG와, KoRAG가",
}
"""Other words for what has one in CONTRIBUTING (Vocabulary), as patterns, and that word."""
_ANY = re.compile("|".join(KOREAN))
_CODE = re.compile(r"`[^`\n]*`")


def _variants(path: Path) -> list[str]:
    """Other words for the same thing in what users read in Korean; names of APIs in backticks do not count."""
    text = path.read_text(encoding="utf-8")
    lines = _prose(path) if path.suffix == ".py" else enumerate(_CODE.sub("", text).splitlines(), start=1)
    return [
        f"{path.relative_to(ROOT)}:{line}: {match[0]!r}; write: {word}"
        for line, shown in (lines if _ANY.search(text) else ())
        for variant, word in KOREAN.items()
        for match in re.finditer(variant, shown)
    ]


def test_one_korean_word_for_each_thing() -> None:
    packages = [ROOT / "core", ROOT / "langchain_korag", ROOT / "llamaindex_korag"]
    messages = [path for package in packages for suffix in ("py", "html") for path in package.rglob(f"*.{suffix}")]
    pages = [*ROOT.glob("*.ko.md"), *ROOT.glob("docs/*.ko.md"), *ROOT.glob("docs/migration*.md")]
    found = [variant for path in [*messages, *pages, *ROOT.glob("examples/*.ipynb")] for variant in _variants(path)]
    assert not found, "CONTRIBUTING.md, Vocabulary:\n" + "\n".join(sorted(found))


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("module.py", '"같은 인자로 부르세요"', True), ("module.py", '"빈 질의입니다"', True),
        ("page.ko.md", "쿼리 엔진", True), ("page.ko.md", "`쿼리`라는 이름, 같은 인수, 질문의 가중치", False),
    ],
)  # fmt: skip
def test_variants_are_found(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, wrong: bool
) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    assert bool(_variants(tmp_path / name)) is wrong


_PARTICLE = re.compile(r"['\"]?(이|가|을|를|은|는|와|과|로|으로)(?![가-힣(])")
_FIXED = {"at_least", "MAIN_MEASURE"}
"""Expressions whose ending is known, so that a particle can agree with it; so is that of a percentage."""


def _particles(source: str) -> list[str]:
    """Values known only at run time with a particle behind that does not agree with every ending."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for value, after in itertools.pairwise(node.values) if isinstance(node, ast.JoinedStr) else ():
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            percentage = value.format_spec is not None and ast.unparse(value.format_spec).rstrip("'\"").endswith("%")
            if _PARTICLE.match(after.value) and ast.unparse(value.value) not in _FIXED and not percentage:
                found.append(f"{after.lineno}: {{{ast.unparse(value.value)}}}{after.value[:20]}")
    return found


def test_particles_agree_with_every_value() -> None:
    """``dim=32이`` is wrong and ``dim=33이`` is right: write 이(가), or put the value first."""
    found = [
        f"{path.relative_to(ROOT)}:{particle}"
        for folder in ("core", "langchain_korag", "llamaindex_korag")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for particle in _particles(path.read_text(encoding="utf-8"))
    ]
    assert not found, "CONTRIBUTING.md, Error messages:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("f'dim={dim!r}이 없습니다'", True), ("f\"'{name}'를 빼세요\"", True), ("f'{name}이(가) 없습니다'", False),
        ("f'{share:.1%}를 잃습니다'", False), ("f'{name}: 가지가 없습니다'", False), ("f'{count}가지 중 하나'", False),
    ],
)  # fmt: skip
def test_particles_are_found(text: str, *, wrong: bool) -> None:
    assert bool(_particles(text)) is wrong


@pytest.mark.parametrize("text", ['"""Whether it fits."""', "# this is not possible", "# one a token"])
def test_habits_are_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "module.py").write_text(f"{text}\n", encoding="utf-8")
    assert len(_habits(tmp_path / "module.py")) == 1
