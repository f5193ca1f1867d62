"""``korag train``: fine-tunes a model on pairs."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from typing import Any

from korag.commands.options import as_json, split_pair, write
from korag.paths import check_path
from korag.storage import storage_errors
from korag.training.recipes import RECIPES, Recipe, default_recipe, find_recipe, override


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    about = "모델을 내 데이터로 미세 조정합니다. Fine-tunes a model on your pairs."
    parser = subparsers.add_parser(
        "train",
        help=about,
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="레시피와 출처 / recipes and their sources:\n"
        + "\n".join(f"  {name:16} {recipe.source}" for name, recipe in RECIPES.items()),
    )
    parser.add_argument("model", metavar="MODEL", help="모델 이름이나 폴더. A name or a folder.")
    parser.add_argument(
        "pairs",
        metavar="PAIRS",
        help="질문과 정답의 쌍 파일(.jsonl .csv .tsv .parquet). A file of query–positive pairs.",
    )
    parser.add_argument("output", metavar="OUTPUT", help="만들 폴더. The folder to make.")
    parser.add_argument("--recipe", help="레시피의 이름. One of the recipes below.")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="레시피의 항목을 바꿉니다. Changes a field of the recipe, e.g. --set epochs=3.",
    )  # fmt: skip
    parser.add_argument(
        "--held-out", default="0.2", help="평가용으로 남길 비율이나 쌍 파일. The part to hold out, or a file of pairs."
    )
    parser.add_argument("--mine", action="store_true", help="어려운 오답을 찾아 더합니다. Mines hard negatives.")
    parser.add_argument(
        "--distill", metavar="MODEL",
        help="교사 모델의 점수도 배웁니다(scores: 쌍에 있는 점수). "
        "Learns a teacher's scores, or the pairs' own (scores).",
    )  # fmt: skip
    parser.add_argument("--corpus", help="오답을 찾고 평가할 때 더할 문서 파일(.txt). More documents, one per line.")
    parser.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN",
        help="열의 이름. Own column names, e.g. --column query=질문.",
    )  # fmt: skip
    parser.add_argument("--lenient", action="store_true", help="문제 있는 쌍은 빼고 진행합니다. Leaves bad pairs out.")
    parser.add_argument("--seed", type=int, default=13, help="난수 시드(기본값 13). Random seed (default 13).")
    parser.add_argument("--max-steps", type=int, help="이만큼의 스텝만 학습합니다. Stops after so many steps.")
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1 … (기본값: 가장 빠른 장치). Default: the fastest available."
    )
    parser.add_argument("--restart", action="store_true", help="이어서 하지 않고 처음부터 합니다. Does not resume.")
    parser.add_argument("--json", action="store_true", help="결과를 JSON으로 출력합니다. Prints the report as JSON.")
    parser.set_defaults(
        run=run,
        interrupted=(
            "같은 명령을 다시 실행하면 마지막 체크포인트부터 이어서 합니다.",
            "The same command continues from the last checkpoint.",
        ),
    )


def run(options: argparse.Namespace) -> None:
    """Fine-tunes, and prints the report and the new model's folder."""
    from korag.training.finetuning import finetune

    recipe: str | Recipe | None = options.recipe
    if options.set:
        recipe = override(_base_recipe(options), **dict(_field(item) for item in options.set))
    corpus: list[str] = []
    if options.corpus:
        path = check_path("--corpus", options.corpus)
        with storage_errors(path, writing=False):
            corpus = path.read_text(encoding="utf-8").splitlines()
    report = finetune(
        options.model,
        options.pairs,
        options.output,
        recipe=recipe,
        held_out=_held_out(options.held_out),
        mine=options.mine,
        distill=options.distill,
        corpus=[line for line in corpus if line.strip()],
        columns=dict(split_pair("--column", item) for item in options.column),
        strict=not options.lenient,
        seed=options.seed,
        max_steps=options.max_steps,
        restart=options.restart,
        **({"device": options.device} if options.device else {}),
    )
    write(as_json(report.as_dict()) if options.json else f"{report.to_markdown()}\n{report.output}")


def _base_recipe(options: argparse.Namespace) -> Recipe:
    if options.recipe:
        return find_recipe(options.recipe)
    from korag.encoders.load import load_encoder

    return default_recipe(options.model, load_encoder(options.model).family)


def _field(item: str) -> tuple[str, object]:
    name, text = split_pair("--set", item)
    kinds = {field.name: str(field.type) for field in fields(Recipe)}
    try:
        value: object = json.loads(text)
    except ValueError:
        value = text
    return name, tuple(value) if isinstance(value, list) and kinds.get(name, "").startswith("tuple") else value


def _held_out(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
