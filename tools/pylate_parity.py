"""Compares vectors here with those in an environment of PyLate: ``make pylate-env``.

    python tools/pylate_parity.py write FOLDER      with the newest sentence-transformers
    python tools/pylate_parity.py compare FOLDER    in the environment of PyLate

Models are the bundled ones, those of tests/checkpoints.py, whose files are as published models have them, and every
case of tests/layouts, many of which the newest release saves. In PyLate's environment each gives the same vectors to
1e-5, or an error of ours.
"""

import json
import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported

import numpy as np  # noqa: E402 (after the variable)
from checkpoints import BUILDERS  # noqa: E402 (after the path)
from layouts.all_cases import CASES  # noqa: E402
from layouts.case import ATOL, load, load_reranker, outputs  # noqa: E402

from korag.errors import KoragError  # noqa: E402

BUNDLED = ("mini-dense", "mini-splade", "mini-colbert")
LEFT_OUT = ("two_label_cross_encoder", "bare_bert")
"""No models that rank."""


def write(place: Path) -> None:
    """Builds every model in a folder of its own and writes its vectors next to it."""
    names = {}
    for number, (name, folder, build, loaded_by) in enumerate(_models(place)):
        folder.parent.mkdir(parents=True)
        build(folder)
        family, arrays = outputs(loaded_by(folder))
        np.savez(folder.parent / "expected.npz", **{str(index): array for index, array in enumerate(arrays)})
        names[number] = [name, family]
    (place / "names.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    print(f"{len(names)} models")


def compare(place: Path) -> None:
    """Prints a line per model, and fails if any has other vectors."""
    families = dict(json.loads((place / "names.json").read_text("utf-8")).values())
    found: Counter[tuple[str, str]] = Counter()
    for name, folder, _, loaded_by in _models(place):
        result, note = _compare(folder, loaded_by)
        found[families[name], result] += 1
        print(f"{result:9} {families[name]:17} {name}: {note}", flush=True)
    print("\n".join(f"{count:4} {family} {result}" for (family, result), count in sorted(found.items())))
    if any(result == "DIFFERENT" for _, result in found):
        raise SystemExit("vectors differ")


def _compare(folder: Path, loaded_by: Any) -> tuple[str, str]:
    try:
        _, arrays = outputs(loaded_by(folder))
    except KoragError as error:
        return "refused", str(error.args[1])
    with np.load(folder.parent / "expected.npz") as expected:
        pairs = [(array, expected[str(index)]) for index, array in enumerate(arrays)]
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        return "DIFFERENT", "other shapes"
    difference = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    return "equal" if difference <= ATOL else "DIFFERENT", f"{difference:.0e}"


def _models(place: Path) -> list[tuple[str, Path, Any, Any]]:
    """Returns (name, folder, what builds it, what loads it)."""
    bundled = [(name, lambda _: None, lambda _, name=name: load(name)) for name in BUNDLED]
    published = [
        (name, build, load_reranker if "cross_encoder" in name else load)
        for name, build in BUILDERS.items()
        if name not in LEFT_OUT
    ]
    cases = [(case.name, case.build, case.load) for case in CASES]
    return [
        (name, place / str(number) / "model", build, loaded_by)
        for number, (name, build, loaded_by) in enumerate([*bundled, *published, *cases])
    ]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"write": write, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
