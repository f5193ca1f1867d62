"""Writes the tables of docs/models.md and docs/models.ko.md from the known models: ``make models-page``."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pages import fill_between, table

from korag.checkpoints.preset_rows import BENCHMARKS, LOOKED_UP
from korag.checkpoints.presets import Preset
from korag.commands.models import FAMILIES, by_quality, dims

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
KOREAN = PAGE.with_name("models.ko.md")
_TITLES = {
    "dense": "Dense: one vector per text",
    "sparse": "Sparse: weighted words",
    "late_interaction": "Late interaction (ColBERT): one vector per token",
    "cross_encoder": "Cross-encoders: for reranking",
}
_KOREAN_TITLES = {
    "dense": "Dense: 텍스트마다 벡터 하나",
    "sparse": "Sparse: 가중치가 있는 단어",
    "late_interaction": "Late interaction(ColBERT): 토큰마다 벡터 하나",
    "cross_encoder": "크로스 인코더: 재순위",
}
_KOREAN_NOTES = {
    "the default": "기본값",
    "bundled": "내장",
    "for a GPU": "GPU용",
    "Korean and English": "한국어와 영어",
    "many languages": "여러 언어",
    "runs Python code of its own (`trust_remote_code=True`)": "`trust_remote_code=True`가 필요함",
    "queries are weighted by a table and need no model": "질문에는 모델이 필요 없음",
    "scores have no bounds": "점수의 범위가 없음",
}
"""Notes that a reader needs to choose; the English page has all."""


def fill(page: str) -> str:
    """Returns the page with everything between the marks written anew."""
    return fill_between(page, "presets", _section())


def fill_korean(page: str) -> str:
    """Returns the Korean page with everything between the marks written anew."""
    header = ("모델", "성능", "파라미터", "라이선스", "벡터", "최대 토큰", "질문 토큰", "프롬프트", "비고")
    lines = ["", f"{LOOKED_UP}에 확인했습니다.", ""]
    for family in FAMILIES:
        rows = [_korean_cells(preset) for preset in by_quality(family)]
        lines += [f"### {_KOREAN_TITLES[family]}", "", *table(header, rows), ""]
    benchmarks = [(b.mark, b.korean, b.published.replace("undated", ""), _source(b.source)) for b in BENCHMARKS]
    lines += ["### 벤치마크", "", *table(("", "벤치마크", "공개", "출처"), benchmarks), ""]
    return fill_between(page, "presets", lines)


def _korean_cells(preset: Preset) -> tuple[str, ...]:
    cells = [cell.replace("query: `", "질문: `", 1) for cell in _cells(preset)[:8]]
    cells[-1] = cells[-1].replace("<br>document: `", "<br>문서: `")
    notes = [_KOREAN_NOTES[note] for note in re.split("; |: ", preset.note) if note in _KOREAN_NOTES]
    notes += [] if preset.loads else ["**아직 불러오지 못함**"]
    return *(cell.replace("**unknown**", "**확인 못 함**") for cell in cells), "; ".join(notes)


def _section() -> list[str]:
    lines = ["", f"Looked up on {LOOKED_UP}. An empty cell is a fact that could not be looked up.", ""]
    for family in FAMILIES:
        presets = by_quality(family)
        lines += [f"### {_TITLES[family]}", "", *table(_columns(presets), [_cells(preset) for preset in presets]), ""]
    lines += ["### Benchmarks", ""]
    header = ("", "benchmark", "what is measured", "published", "source")
    lines += table(header, [(b.mark, b.name, b.about, b.published, _source(b.source)) for b in BENCHMARKS])
    elsewhere = [
        f"- `{preset.name}`, {figure.benchmark.mark}: {figure.source}."
        for family in FAMILIES
        for preset in by_quality(family)
        for figure in preset.figures
        if figure.source
    ]
    return [*lines, "", "Figures from elsewhere:", "", *elsewhere, ""]


def _columns(presets: Sequence[Preset]) -> tuple[str, ...]:
    length = "max tokens of a pair" if presets[0].family == "cross_encoder" else "max tokens"
    return "model", "nDCG@10", "parameters", "licence", "vector", length, "query tokens", "prompts", "base", "note"


def _cells(preset: Preset) -> tuple[str, ...]:
    prompts = {"query": preset.query_prompt, "document": preset.document_prompt}
    return (
        f"[{preset.name}]({_link(preset.source)})",
        "<br>".join(f"{figure.value:.3f} {figure.benchmark.mark}" for figure in preset.figures),
        preset.parameters,
        preset.licence if preset.free else f"**{preset.licence}**",
        dims(preset) if preset.dim else "",
        f"{preset.max_length:,}" if preset.max_length else "",
        str(preset.query_length or ""),
        "<br>".join(f"{side}: `{_escaped(prompt)}`" for side, prompt in prompts.items() if prompt),
        preset.base,
        preset.note if preset.loads else f"{preset.note}; **KoRAG cannot load it yet**",
    )


def _escaped(prompt: str) -> str:
    return prompt.replace("\n", "\\n")


def _link(source: str) -> str:
    return source if "://" in source else f"../{source}"


def _source(source: str) -> str:
    return source if "://" in source else f"[{source}]({Path(source).name})"


def main() -> None:
    """Rewrites the pages."""
    for page, filled in ((PAGE, fill), (KOREAN, fill_korean)):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
