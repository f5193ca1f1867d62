"""`korag train` and `korag merge`: what `korag.cli` mounts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from korag.errors import InvalidArgumentError
from korag.training.recipes import RECIPES, Recipe, default_recipe, find_recipe, override


def add_arguments(subparsers: Any) -> None:
    """Adds the commands to the subparsers of `argparse`; each sets ``run`` to a function of its arguments."""
    train = subparsers.add_parser(
        "train",
        help="모델을 내 데이터로 미세 조정 / fine-tune a model on your pairs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="recipes:\n" + "\n".join(f"  {name:16} {recipe.source}" for name, recipe in RECIPES.items()),
    )
    train.add_argument("model", help="모델 이름이나 폴더 / name or folder")
    train.add_argument("pairs", help="쌍 파일(.jsonl .csv .tsv .parquet) / file of query–positive pairs")
    train.add_argument("output", help="만들 폴더 / folder to make")
    train.add_argument("--recipe", help="레시피 이름 / one of the recipes below")
    train.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="레시피 항목 바꾸기 / change a field of the recipe, e.g. --set epochs=3",
    )  # fmt: skip
    train.add_argument("--held-out", default="0.2", help="평가용 비율이나 파일 / part to hold out, or a file of pairs")
    train.add_argument("--mine", action="store_true", help="어려운 오답 채굴 / mine hard negatives")
    train.add_argument("--corpus", help="문서 파일(한 줄에 하나, .txt) / more documents, one a line")
    train.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN",
        help="열 이름 / own column names, e.g. --column query=질문",
    )  # fmt: skip
    train.add_argument("--lenient", action="store_true", help="문제 있는 쌍은 빼고 진행 / leave bad pairs out")
    train.add_argument("--seed", type=int, default=13)
    train.add_argument("--max-steps", type=int)
    train.add_argument("--device", help="cpu, cuda, cuda:1 …")
    train.add_argument("--restart", action="store_true", help="이어 하지 않고 처음부터 / do not resume")
    train.add_argument("--json", action="store_true", help="결과를 JSON으로 / print the report as JSON")
    train.set_defaults(run=run)

    merge = subparsers.add_parser("merge", help="LoRA 어댑터를 합쳐 저장 / merge a LoRA adapter into its base")
    merge.add_argument("adapter", help="어댑터 폴더 / the adapter's folder")
    merge.add_argument("output", help="만들 폴더 / folder to make")
    merge.add_argument("--base", help="베이스 모델 / the base, if it is elsewhere")
    merge.set_defaults(run=run_merge)


def run(args: argparse.Namespace) -> int:
    """Runs ``korag train``. Returns the exit status; what goes wrong is a `KoragError`."""
    from pathlib import Path

    from korag.training.finetuning import finetune

    recipe: str | Recipe | None = args.recipe
    if args.set:
        recipe = override(_base_recipe(args), **dict(_field(item) for item in args.set))
    corpus = Path(args.corpus).read_text(encoding="utf-8").splitlines() if args.corpus else []
    report = finetune(
        args.model,
        args.pairs,
        args.output,
        recipe=recipe,
        held_out=_held_out(args.held_out),
        mine=args.mine,
        corpus=[line for line in corpus if line.strip()],
        columns=dict(_split(item, "--column") for item in args.column),
        strict=not args.lenient,
        seed=args.seed,
        max_steps=args.max_steps,
        restart=args.restart,
        **({"device": args.device} if args.device else {}),
    )
    _say(json.dumps(report.as_dict(), ensure_ascii=False) if args.json else f"{report.to_markdown()}\n{report.output}")
    return 0


def run_merge(args: argparse.Namespace) -> int:
    """Runs ``korag merge``. Returns the exit status."""
    from korag.training.saving import merge_adapter

    _say(str(merge_adapter(args.adapter, args.output, base=args.base)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the commands by themselves: ``python -m korag.training.command train …``."""
    parser = argparse.ArgumentParser(prog="korag")
    add_arguments(parser.add_subparsers(required=True))
    args = parser.parse_args(arguments)
    status: int = args.run(args)
    return status


def _base_recipe(args: argparse.Namespace) -> Recipe:
    if args.recipe:
        return find_recipe(args.recipe)
    from korag.encoders.load import load_encoder

    return default_recipe(args.model, load_encoder(args.model).family)


def _field(item: str) -> tuple[str, object]:
    name, text = _split(item, "--set")
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


def _split(item: str, option: str) -> tuple[str, str]:
    name, sign, value = item.partition("=")
    if not sign or not name or not value:
        raise InvalidArgumentError(
            f"{option} {item!r}은(는) NAME=VALUE 꼴이어야 합니다.", f"{option} {item!r} must be NAME=VALUE."
        )
    return name, value


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
