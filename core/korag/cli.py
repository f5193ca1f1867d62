"""``korag``: the commands."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from korag.errors import InvalidArgumentError, KoragError
from korag.training import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: What stands behind ``korag``; None for the process's own.

    Returns:
        The exit code: 0; 2 for an error of the user's that a message explains; 130 if interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream that a test or a notebook put there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # never die of a print
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed) or 0)
    except KoragError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(
            "중단했습니다. 끝난 행은 --output 폴더에 있습니다. / Interrupted; --output has finished rows.\n"
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="korag", description="한국어 검색 모델 도구. Tools for Korean retrieval models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    models = commands.add_parser("models", help="알려진 모델을 봅니다. Lists known models.")
    models.set_defaults(run=_models)
    command.add_arguments(commands)
    one = commands.add_parser(
        "eval",
        help="모델을 평가합니다. Evaluates models on a data set.",
        description="모델을 평가 데이터에서 BM25와 나란히 잽니다. Measures models on data sets, with BM25 beside them.",
    )
    add = one.add_argument
    add(
        "datasets",
        nargs="+",
        metavar="DATASET",
        help="BEIR·AutoRAG 폴더, 질의-정답 표, 벤치마크 이름. A BEIR or AutoRAG folder, a table of pairs, or the name "
        "of a benchmark (autorag-ko, ko-strategyqa, belebele-ko, miracl-ko, mrtydi-ko, mldr-ko, publichealthqa-ko, "
        "nanobeir-ko/…).",
    )
    add("--models", nargs="+", default=[], metavar="MODEL", help="모델 이름이나 폴더. Model names or folders.")
    add(
        "--dims",
        nargs="+",
        type=int,
        metavar="DIM",
        help="마트료시카 차원마다 한 행(기본: 가장 큰 것). A row for each Matryoshka dimension (default: the largest).",
    )
    add(
        "--bm25",
        nargs="+",
        default=["bigram"],
        metavar="TOKENIZER",
        help="BM25 토크나이저: bigram kiwi. BM25 tokenizers; the first is what others are compared with.",
    )
    add(
        "--hybrid",
        nargs="*",
        metavar="MODEL",
        help="이 모델들과 BM25(첫 토크나이저)를 합친 행. 모델을 적지 않으면 mini-colbert와 mini-splade. A row of "
        "these models fused with BM25 (first tokenizer); without models: mini-colbert and mini-splade.",
    )
    add("--fusion", choices=("rrf", "weighted"), default="weighted", help="하이브리드 방식. How a hybrid is fused.")
    add(
        "--weights",
        nargs="+",
        default=[],
        metavar="LEG=WEIGHT",
        help="하이브리드 가중치. Weights of a hybrid's legs: bm25=1 colbert=0.5.",
    )
    add("--k", type=int, default=100, help="순위를 몇 위까지 볼지(기본 100). How far down rankings go (default 100).")
    add("--max-length", type=int, help="문서의 최대 토큰 수. Longest document in tokens.")
    add("--device", help="cpu, cuda … (기본: 있는 것 가운데 가장 빠른 것). Default: the best there is.")
    add("--split", default="test", help="BEIR qrels의 split(기본 test). Split of BEIR judgements (default test).")
    add(
        "--local",
        type=Path,
        help="벤치마크를 허브 대신 읽을 폴더. A folder to read a benchmark from instead of the Hub.",
    )
    add("--dataset-id", help="벤치마크의 다른 사본. Another copy of a benchmark on the Hub.")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="결과 폴더: report.json, report.md, plot.png; 다시 돌리면 끝난 행은 건너뜁니다. Folder for results; "
        "run again, it skips finished rows.",
    )
    add("--format", choices=("text", "markdown", "json"), default="text", help="화면 출력. What is printed.")
    add("--quiet", action="store_true", help="진행 막대 없이. No progress bars.")
    one.set_defaults(run=_evaluate)
    return parser


def _evaluate(options: argparse.Namespace) -> None:
    from korag._optional import check
    from korag.evaluation import Hybrid, evaluate, load_dataset

    if options.local is not None and len(options.datasets) > 1:
        raise InvalidArgumentError(
            "--local은 벤치마크 하나에만 쓸 수 있습니다.", "--local goes with one benchmark only."
        )
    check("ir_measures", *(["matplotlib"] if options.output else []), extra="eval")
    systems: list[object] = list(options.models)
    if options.hybrid is not None:
        models = options.hybrid or Hybrid().models
        weights = _weights(options.weights)
        systems.append(Hybrid(models, bm25=options.bm25[0], fusion=options.fusion, weights=weights))
    load_options = {"max_length": options.max_length, "device": options.device}
    for number, source in enumerate(options.datasets):
        data = load_dataset(source, split=options.split, local=options.local, dataset_id=options.dataset_id)
        folder = options.output / data.name if options.output and len(options.datasets) > 1 else options.output
        report = evaluate(
            data,
            systems,
            bm25=options.bm25,
            dims=options.dims,
            k=options.k,
            output=folder,
            load_options=load_options,
            show_progress=False if options.quiet else None,
        )
        if folder is not None:
            report.plot(folder / "plot.png")
        printed = {"text": report.__str__, "markdown": report.to_markdown, "json": report.to_json}[options.format]()
        sys.stdout.write(("\n" if number else "") + printed.rstrip("\n") + "\n")
        sys.stdout.flush()


def _weights(pairs: Sequence[str]) -> dict[str, float] | None:
    weights = {}
    for pair in pairs:
        leg, _, weight = pair.partition("=")
        try:
            weights[leg] = float(weight)
        except ValueError:
            raise InvalidArgumentError(
                f"--weights {pair!r}은(는) LEG=수 모양이어야 합니다. 예: bm25=1 colbert=0.5",
                f"--weights {pair!r} must look like LEG=NUMBER, for example bm25=1 colbert=0.5.",
            ) from None
    return weights or None


def _models(_: argparse.Namespace) -> None:
    from korag.checkpoints.bundled import shipped_models
    from korag.checkpoints.presets import PRESETS

    shipped = shipped_models()
    rows = [("model", "family", "dims", "tokens", "licence", "source")]
    for spec in PRESETS.values():
        dims = "/".join(map(str, spec.dims or (spec.dim,)))
        source = "패키지에 포함 / ships with KoRAG" if spec.name in shipped else spec.source
        rows.append((spec.name, spec.family, dims, str(spec.max_length), spec.licence, source))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        sys.stdout.write("  ".join([*cells, row[-1]]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
