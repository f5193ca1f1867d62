"""``korag eval``: measures models on data sets, next to BM25."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

from korag._optional import check
from korag.checks import FusionMethod
from korag.commands.options import add_token_options, as_json, malformed, split_pair, write
from korag.encoders.options import PoolingMode
from korag.errors import InvalidArgumentError
from korag.legs.windows.settings import WindowSize
from korag.storage import write_text

_COLUMNS = ("query", "positive", "negatives")
"""Columns of a table of pairs."""
_FUSE_WEIGHT = 0.5
"""Of the fused rows of a reranker that ranks alone by default."""


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "eval",
        help="모델을 평가합니다. Evaluates models on a data set.",
        description="모델을 평가 데이터에서 BM25와 비교합니다. Compares models with BM25 on data sets.",
    )
    add = parser.add_argument
    add(
        "datasets",
        nargs="+",
        metavar="DATASET",
        help="BEIR·AutoRAG 폴더, 질문-정답 표, 벤치마크 이름. A BEIR or AutoRAG folder, a table of pairs, or the name "
        "of a benchmark (autorag-ko, ko-strategyqa, belebele-ko, miracl-ko, mrtydi-ko, mldr-ko, publichealthqa-ko, "
        "nanobeir-ko/…).",
    )
    add("--models", nargs="+", default=[], metavar="MODEL", help="모델 이름이나 폴더. Model names or folders.")
    add(
        "--dims",
        nargs="+",
        type=int,
        metavar="DIM",
        help="Matryoshka 차원별로 한 행(기본값: 가장 큰 차원). 헤드가 여럿인 ColBERT와 모든 dense 모델에 적용됩니다. "
        "One row per Matryoshka dimension (default: largest), for ColBERT models with several heads and all dense "
        "models.",
    )
    add(
        "--bm25",
        nargs="+",
        default=["bigram"],
        metavar="TOKENIZER",
        help="BM25 토크나이저: bigram kiwi. BM25 tokenizers; the first is the baseline.",
    )
    add(
        "--hybrid",
        nargs="*",
        metavar="MODEL",
        help="이 모델들과 BM25(--bm25의 모든 토크나이저)를 결합한 행. 모델을 생략하면 mini-colbert와 mini-splade. A "
        "row for these models fused with BM25 (all of --bm25); without models: mini-colbert and mini-splade.",
    )
    add(
        "--fusion",
        choices=get_args(FusionMethod),
        default="auto",
        help="하이브리드 결합 방식(기본값 auto: 컬렉션의 검색과 같음). Fusion method (default auto: as collections "
        "search).",
    )
    add(
        "--weights",
        nargs="+",
        default=[],
        metavar="LEG=WEIGHT",
        help="하이브리드의 검색 방식별 가중치. Weights of the hybrid's legs: bm25=1 colbert=0.5.",
    )
    add(
        "--rerank",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="이 모델(크로스 인코더나 ColBERT)로 BM25와 하이브리드의 앞 문서를 재순위한 행: 재순위 점수만 쓴 것과 1차 "
        "검색의 점수와 결합한 것. Rows for BM25's and the hybrid's first documents reranked with these models "
        "(cross-encoders or ColBERT), by their scores alone and fused with the first stage's.",
    )
    add(
        "--rerank-k",
        type=int,
        default=50,
        metavar="K",
        help="재순위할 문서 수(기본값 50). Documents to rerank (default 50).",
    )
    add(
        "--fuse-weight",
        nargs="+",
        type=float,
        metavar="WEIGHT",
        help="결합할 때 재순위 점수의 가중치(기본값: 모델 종류의 기본값이나 0.5). Weights of the reranker's score "
        "where it is fused (default: that of the kind of model, or 0.5).",
    )
    add(
        "--fit-fusion",
        nargs="?",
        const="",
        metavar="COLLECTION",
        help="하이브리드의 결합을 이 질문들에 맞추고, 표 대신 그 결과를 출력합니다. 컬렉션 폴더를 지정하면 그 컬렉션에 "
        "맞춰 저장합니다. Fits the hybrid's fusion to the questions and prints that instead of a table; given the "
        "folder of a collection, fits that collection and stores the result.",
    )
    add(
        "--threshold",
        action="store_true",
        help="데이터마다 하이브리드의 권장 min_relevance를 보여 줍니다. 다른 데이터의 질문을 답이 없는 질문으로 쓰므로 "
        "주제가 다른 데이터가 둘 이상 있어야 합니다. Also prints the hybrid's recommended min_relevance for each data "
        "set; the other sets' questions serve as those without an answer, so give two or more of different subjects.",
    )
    add("--k", type=int, default=100, help="평가할 순위의 깊이(기본값 100). Depth of the rankings (default 100).")
    add("--query-length", type=int, help="질문의 최대 토큰 수. Maximum query length in tokens.")
    add(
        "--pooling",
        choices=get_args(PoolingMode),
        help="modules.json이 없는 dense 모델의 풀링. Pooling of dense models without modules.json.",
    )
    add("--max-length", type=int, help="문서의 최대 토큰 수. Maximum document length in tokens.")
    add(
        "--window",
        type=_window,
        default="auto",
        metavar="TOKENS",
        help="긴 문서를 나눌 구간의 토큰 수. auto: 모델이 읽는 만큼, none: 뒤를 잘라 냄. Tokens of the windows that "
        "long documents are split into; auto: as many as the model reads (default); none: cut documents there.",
    )
    add("--stride", type=int, help="구간이 시작하는 간격(토큰, 기본값: 구간의 3/4). Tokens between window starts.")
    add_token_options(parser)
    add(
        "--family",
        choices=("dense", "sparse", "late_interaction"),
        help="모델의 종류. 폴더에 여러 종류가 들어 있는 모델(BAAI/bge-m3)에 필요합니다. The models' family; needed for "
        "models that hold several, such as BAAI/bge-m3.",
    )
    add("--device", help="cpu, cuda … (기본값: 가장 빠른 장치). Default: the fastest available.")
    add("--split", default="test", help="BEIR qrels의 split(기본값 test). Split of BEIR judgements (default test).")
    add(
        "--local",
        type=Path,
        help="Hub 대신 벤치마크를 읽을 폴더. A folder to read a benchmark from instead of the Hub.",
    )
    add(
        "--column",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="표의 열 이름: query=질문, positive=본문, negatives=오답. Own names of a table's columns, for example "
        "--column query=질문 --column positive=본문.",
    )
    add("--dataset-id", help="Hub에 있는 벤치마크의 다른 사본. Another copy of a benchmark on the Hub.")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="결과 폴더: report.json, report.md, plot.png; 다시 실행하면 완료된 행은 건너뜁니다. Folder for results; "
        "a rerun skips finished rows.",
    )
    add("--format", choices=("text", "markdown", "json"), default="text", help="출력 형식. Output format.")
    add(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="--format json과 같습니다. 평가 데이터가 여럿이면 리스트입니다. Short for --format json; a list for "
        "several data sets.",
    )
    add("--quiet", action="store_true", help="진행률 표시줄을 숨깁니다. Hides progress bars.")
    parser.set_defaults(
        run=run, interrupted=("끝난 행은 --output 폴더에 있습니다.", "--output has the finished rows; run it again.")
    )


def run(options: argparse.Namespace) -> None:
    """Evaluates, and prints a report per data set."""
    from korag.evaluation import Dataset, Hybrid, evaluate
    from korag.evaluation.thresholds import check_datasets

    if options.local is not None and len(options.datasets) > 1:
        raise InvalidArgumentError(
            "--local은 벤치마크 하나에만 쓸 수 있습니다.", "--local works with one benchmark only."
        )
    if options.fit_fusion is not None:
        _fit(options)
        return
    check("ir_measures", *(["matplotlib"] if options.output else []), extra="eval")
    systems: list[object] = list(options.models)
    if options.hybrid is not None or options.rerank:
        models = options.hybrid or Hybrid().models
        weights = _weights(options.weights)
        hybrid = Hybrid(models, bm25=options.bm25, fusion=options.fusion, weights=weights)
        systems += [hybrid, *_reranked(options, hybrid)]
    if options.threshold:
        check_datasets(options.datasets)
    loaded: list[Dataset] = []
    reports: list[Any] = []
    for number, source in enumerate(options.datasets):
        data = _load(options, source)
        folder = options.output / data.name if options.output and len(options.datasets) > 1 else options.output
        report = evaluate(
            data,
            systems,
            bm25=options.bm25,
            dims=options.dims,
            k=options.k,
            output=folder,
            window=options.window,
            stride=options.stride,
            codec=options.codec,
            keep_vectors=options.keep_vectors,
            pool_factor=options.pool_factor,
            load_options=_load_options(options),
            show_progress=False if options.quiet else None,
        )
        if folder is not None:
            report.plot(folder / "plot.png")
        loaded.append(data)
        reports.append(report)
        if options.format != "json":
            write(("\n" if number else "") + (report.to_markdown() if options.format == "markdown" else str(report)))
    thresholds = _thresholds(options, loaded) if options.threshold else {}
    if options.format == "json":
        write(_to_json(reports, thresholds))
    elif thresholds:
        write("\n" + "\n".join(f"{name}: {threshold}" for name, threshold in thresholds.items()) + "\n")


def _to_json(reports: Sequence[Any], thresholds: Mapping[str, Any]) -> str:
    entries = [asdict(report) for report in reports]
    result: Any = entries if len(entries) > 1 else entries[0]
    if thresholds:
        result = {"reports": entries, "thresholds": {name: asdict(one) for name, one in thresholds.items()}}
    return as_json(result, indent=1)


def _thresholds(options: argparse.Namespace, datasets: Sequence[Any]) -> dict[str, Any]:
    """For each data set, the least relevance that tells its questions from those of the others."""
    from korag.encoders.load import load_encoder
    from korag.evaluation import Hybrid
    from korag.evaluation.thresholds import thresholds_between

    encoders = [load_encoder(model, **_load_options(options)) for model in options.hybrid or Hybrid().models]
    return thresholds_between(
        datasets, encoders, tokenizer=options.bm25[0], fusion=options.fusion, weights=_weights(options.weights)
    )


def _load(options: argparse.Namespace, source: str) -> Any:
    from korag.evaluation import load_dataset

    return load_dataset(
        source,
        split=options.split,
        local=options.local,
        dataset_id=options.dataset_id,
        columns=_columns(options.column),
    )


def _columns(items: Sequence[str]) -> dict[str, str]:
    columns = dict(split_pair("--column", item, "NAME=COLUMN", "query=질문") for item in items)
    for name in columns:
        if name not in _COLUMNS:
            raise malformed("--column", f"{name}={columns[name]}", "NAME=COLUMN", f"{_COLUMNS[0]}=질문")
    return columns


def _fit(options: argparse.Namespace) -> None:
    """Fits a fusion to each data set: of a collection, or of the hybrid over the data set's documents."""
    from korag.collection.local.opening import open_saved
    from korag.evaluation import fit_fusion

    folder, several = options.fit_fusion, len(options.datasets) > 1
    if folder and several:
        raise InvalidArgumentError(
            f"--fit-fusion {folder}: 컬렉션은 질문 하나의 묶음에 맞춥니다. 평가 데이터를 하나만 넣으세요.",
            f"--fit-fusion {folder}: a collection is fitted to one set of questions; give one data set.",
        )
    fits = []
    for number, source in enumerate(options.datasets):
        show = False if options.quiet else None
        data = _load(options, source)
        if folder:
            with open_saved(
                folder, encoders=options.models or None, made_by=f"Collection.open('{folder}')"
            ) as collection:
                fit = fit_fusion(collection, data, show_progress=show)
        else:
            with _collect(options, data) as collection:
                fit = fit_fusion(collection, data, store=False, show_progress=show)
        text = json.dumps(fit.to_dict(), ensure_ascii=False, indent=1)
        if options.output:
            write_text((options.output / data.name if several else options.output) / "fusion.json", text)
        fits.append(fit.to_dict())
        if options.format != "json":
            write(("\n" if number else "") + str(fit) + "\n")
    if options.format == "json":
        write(as_json(fits if several else fits[0], indent=1))


def _collect(options: argparse.Namespace, data: Any) -> Any:
    """Returns a collection in memory with the hybrid's legs and a data set's documents."""
    from korag.collection import Collection
    from korag.encoders.load import load_encoder
    from korag.evaluation import Hybrid
    from korag.text import is_empty

    encoders = [load_encoder(model, **_load_options(options)) for model in options.hybrid or Hybrid().models]
    collection = Collection.in_memory(
        encoders=encoders,
        bm25=options.bm25,
        window=options.window,
        stride=options.stride,
        codec=options.codec,
        keep_vectors=options.keep_vectors,
        pool_factor=options.pool_factor,
    )
    documents = {id_: text for id_, text in data.documents.items() if not is_empty(text)}
    collection.add(list(documents.values()), ids=list(documents), show_progress=False if options.quiet else None)
    return collection


def _load_options(options: argparse.Namespace) -> dict[str, Any]:
    names = ("family", "max_length", "query_length", "pooling", "device")
    return {name: getattr(options, name) for name in names}


def _reranked(options: argparse.Namespace, hybrid: object) -> list[object]:
    """For each reranker: BM25's and the hybrid's documents, reranked by it alone and fused."""
    from korag.evaluation import Reranked
    from korag.reranking.load import load_reranker

    shared = {name: getattr(options, name) for name in ("device", "max_length", "query_length")}
    rows: list[object] = []
    for name in options.rerank:
        reranker = load_reranker(name, **shared)
        default = reranker.default_fuse_weight
        weights = options.fuse_weight or [default if default < 1 else _FUSE_WEIGHT]
        rows += [
            Reranked(reranker, first_stage, k=options.rerank_k, fuse_weight=weight)
            for first_stage in (None, hybrid)
            for weight in (1.0, *(weight for weight in weights if weight != 1))
        ]
    return rows


def _window(text: str) -> WindowSize:
    """Reads ``--window``; `korag.legs.windows.settings.check_windows` checks it."""
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        return cast("WindowSize", text)


def _weights(pairs: Sequence[str]) -> dict[str, float] | None:
    form, example = "LEG=NUMBER", "bm25=1 colbert=0.5"
    weights = {}
    for pair in pairs:
        leg, weight = split_pair("--weights", pair, form, example)
        try:
            weights[leg] = float(weight)
        except ValueError:
            raise malformed("--weights", pair, form, example) from None
    return weights or None
