"""``korag train``: fine-tunes a model on pairs."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from typing import Any

from korag.commands.options import split_pair, write
from korag.paths import check_path
from korag.storage import storage_errors
from korag.training.recipes import RECIPES, Recipe, default_recipe, find_recipe, override


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "train",
        help="모델을 내 데이터로 미세 조정 / fine-tune a model on your pairs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="레시피와 출처 / recipes and their sources:\n"
        + "\n".join(f"  {name:16} {recipe.source}" for name, recipe in RECIPES.items()),
    )
    parser.add_argument("model", help="모델 이름이나 폴더 / name or folder")
    parser.add_argument("pairs", help="쌍 파일(.jsonl .csv .tsv .parquet) / file of query–positive pairs")
    parser.add_argument("output", help="만들 폴더 / folder to make")
    parser.add_argument("--recipe", help="레시피 이름 / one of the recipes below")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="레시피 항목 바꾸기 / change a field of the recipe, e.g. --set epochs=3",
    )  # fmt: skip
    parser.add_argument("--held-out", default="0.2", help="평가용 비율이나 파일 / part to hold out, or a file of pairs")
    parser.add_argument("--mine", action="store_true", help="어려운 오답 채굴 / mine hard negatives")
    parser.add_argument(
        "--distill", metavar="MODEL",
        help="교사 모델의 점수도 학습(scores는 쌍에 있는 점수) / learn a teacher's scores, or the pairs' own: scores",
    )  # fmt: skip
    parser.add_argument("--corpus", help="문서 파일(한 줄에 하나, .txt) / more documents, one per line")
    parser.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN",
        help="열 이름 / own column names, e.g. --column query=질문",
    )  # fmt: skip
    parser.add_argument("--lenient", action="store_true", help="문제 있는 쌍은 빼고 진행 / leave bad pairs out")
    parser.add_argument("--seed", type=int, default=13, help="난수 씨앗(기본값 13) / random seed (default 13)")
    parser.add_argument("--max-steps", type=int, help="이만큼만 학습 / stop after so many steps")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 …(기본값: 가장 빠른 장치) / default: the fastest available")
    parser.add_argument("--restart", action="store_true", help="이어 하지 않고 처음부터 / do not resume")
    parser.add_argument("--json", action="store_true", help="결과를 JSON으로 / print the report as JSON")
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
    write(
        json.dumps(report.as_dict(), ensure_ascii=False) if options.json else f"{report.to_markdown()}\n{report.output}"
    )


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
