"""Writes the tables of docs/models.md from the rows of `korag.checkpoints.preset_rows`: ``make models-page``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pages import fill_between, table

from korag.checkpoints.preset_rows import BENCHMARKS, LOOKED_UP
from korag.checkpoints.presets import Preset
from korag.commands.models import FAMILIES, by_quality, dims

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
_TITLES = {
    "dense": "Dense: one vector per text",
    "sparse": "Sparse: weighted words",
    "late_interaction": "Late interaction (ColBERT): one vector per token",
    "cross_encoder": "Cross-encoders: for reranking",
}


def fill(page: str) -> str:
    """Returns the page with everything between the marks written anew."""
    return fill_between(page, "presets", _section())


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
    """Rewrites the page."""
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
