"""Habits of prose that CONTRIBUTING rules out, in docstrings, comments, messages and documents."""

import io
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
    r"인수(?=[를가로와는에 ])": "인자",
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


@pytest.mark.parametrize(
    "text", ['"""Whether it fits."""', "# this is not possible", '"같은 인수로 부르세요"', "# one a token"]
)
def test_habits_are_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "module.py").write_text(f"{text}\n", encoding="utf-8")
    assert len(_habits(tmp_path / "module.py")) == 1
