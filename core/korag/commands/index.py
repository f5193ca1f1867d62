"""``korag index``: makes a collection of a folder's files, and keeps it up to date."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korag.commands.opening import add_json, check_folder
from korag.commands.options import add_token_options, as_json, printable, write
from korag.errors import InvalidArgumentError
from korag.paths import check_path

if TYPE_CHECKING:
    from korag.collection import LocalCollection
    from korag.folders.reports import IndexReport
    from korag.splitting.splitter import Splitter

_CHARACTERS = 1_000
"""Of a chunk where no model counts tokens."""
_GOES_ON = (
    "저장된 문서는 색인에 있습니다. 같은 명령을 다시 실행하면 이어서 합니다.",
    "What has been stored is in the index; the same command goes on from there.",
)


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    from korag.reading.registry import suffixes
    from korag.splitting.kinds import KINDS

    parser = subparsers.add_parser(
        "index",
        help="폴더의 파일을 색인합니다. Indexes a folder of files.",
        description="폴더의 파일을 색인합니다. 다시 실행하면 바뀐 파일만 읽고, 없어진 파일은 빼고, 이름이 바뀐 파일은 "
        "다시 인코딩하지 않습니다. Indexes the files of a folder. Run again, it reads what has changed, removes what "
        "is gone, and does not encode what was renamed.",
        epilog="읽는 형식 / formats: " + " ".join(suffixes()),
    )
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="파일이 있는 폴더. The folder with the files.")
    add("--to", required=True, metavar="INDEX", help="색인을 둘 폴더. The folder of the index, new or existing.")
    add(
        "--models",
        nargs="*",
        metavar="MODEL",
        help="검색할 모델(기본값: mini-dense mini-splade와 BM25). 값 없이 쓰면 BM25만. 이미 있는 색인이라면 "
        "만들 때 쓴 모델을 넣습니다. Models to search with (default: mini-dense mini-splade, with BM25); without a "
        "value, BM25 alone. For an existing index, those it was made with.",
    )
    add("--bm25", metavar="TOKENIZER", help="BM25 토크나이저: bigram(기본값), kiwi. BM25 tokenizer (default bigram).")
    add_token_options(parser, pool_factor=False)
    add(
        "--text-column",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="표에서 글이 있는 열(기본값: 제목과 본문). Columns of tables with the text (default: title and text).",
    )
    add("--id-column", metavar="COLUMN", help="표에서 행의 id가 있는 열. The column of tables with a row's id.")
    add(
        "--splitter",
        choices=("auto", "none", *KINDS),
        default="auto",
        metavar="SPLITTER",
        help="글을 나누는 방법: auto(기본값, 글에 맞게), none(나누지 않음), " + ", ".join(KINDS) + ". How texts are "
        "split (default auto, by what they are; none leaves them whole).",
    )
    add(
        "--max-tokens",
        type=int,
        metavar="N",
        help="조각의 최대 토큰 수(기본값: 모델이 읽는 만큼, BM25만 쓰면 1,000자). Tokens of a chunk at most (default: "
        "as many as the models read; with BM25 alone, 1,000 characters).",
    )
    add(
        "--replace",
        action="store_true",
        help="색인된 파일이 절반 넘게 이 폴더에 없어도, 없는 파일을 색인에서 빼고 이 폴더의 것으로 바꿉니다. "
        "Goes on although more than half of the indexed files are not in this folder: they are removed.",
    )
    add("--device", help="cpu, cuda … (기본값: 가장 빠른 장치). Default: the fastest available.")
    add("--quiet", action="store_true", help="진행률 표시줄을 숨깁니다. Hides the progress bar.")
    add_json(parser)
    parser.set_defaults(run=run, interrupted=_GOES_ON)


def run(options: argparse.Namespace) -> None:
    """Indexes, and prints what was done."""
    from korag.folders.indexing import index_folder
    from korag.folders.progress import FolderProgress
    from korag.folders.reports import IndexReport
    from korag.folders.scanning import check_is_folder
    from korag.reading.base import ReadOptions

    folder, target = check_path("folder", options.folder), check_path("--to", check_folder("--to", options.to))
    if folder.resolve() == target.resolve():
        raise InvalidArgumentError(
            f"--to {options.to}: 색인할 폴더와 같습니다. 다른 폴더에 두세요.",
            f"--to {options.to} is the folder to index; put the index somewhere else.",
        )
    check_is_folder(folder)  # before an index is made
    if options.max_tokens is not None and options.max_tokens < 1:
        raise InvalidArgumentError(
            f"--max-tokens {options.max_tokens}: 1 이상이어야 합니다.",
            f"--max-tokens {options.max_tokens} must be at least 1.",
        )
    report = IndexReport()
    try:
        with _open(options, target) as collection, FolderProgress(show=False if options.quiet else None) as progress:
            index_folder(
                folder,
                collection,
                options=ReadOptions(tuple(options.text_column), options.id_column),
                splitter=_splitter(options, collection),
                replace=options.replace,
                report=report,
                progress=progress,
            )
    except KeyboardInterrupt:
        done = len(report.added) + len(report.changed) + len(report.renamed) + report.unchanged
        options.interrupted = (f"파일 {done:,}개까지 읽었습니다. {_GOES_ON[0]}", f"Got to file {done:,}. {_GOES_ON[1]}")
        raise
    if options.json:
        write(as_json(_as_dict(report), indent=1))
        return
    _print(report, options.to)


def _splitter(options: argparse.Namespace, collection: LocalCollection) -> Splitter | None:
    from korag.splitting.splitter import Splitter

    if options.splitter == "none":
        return None
    models: list[Any] = list(collection.encoders.values())
    size = options.max_tokens if models or options.max_tokens is not None else _CHARACTERS
    return Splitter(encoder=models or [len], max_tokens=size, splitter=options.splitter)


def _open(options: argparse.Namespace, target: Path) -> LocalCollection:
    from korag.collection.local.collection import LocalCollection
    from korag.collection.local.database import DATABASE_FILE
    from korag.encoders.load import load_encoder

    is_known = (target / DATABASE_FILE).exists()
    models = options.models
    if models is None and not is_known:
        models = ["mini-dense", "mini-splade"]
    encoders = [load_encoder(model, **({"device": options.device} if options.device else {})) for model in models or ()]
    return LocalCollection.open(
        target,
        encoders=encoders or None,
        bm25=options.bm25 if options.bm25 or is_known else True,
        codec=options.codec,
        keep_vectors=options.keep_vectors,
    )


def _as_dict(report: IndexReport) -> dict[str, Any]:
    return {
        "documents": report.documents,
        "added": report.added,
        "changed": report.changed,
        "renamed": report.renamed,
        "removed": report.removed,
        "unchanged": report.unchanged,
        "without_text": report.without_text,
        "problems": [{"file": problem.file, "error": str(problem.error)} for problem in report.problems],
        "skipped": dict(report.others),
    }


def _print(report: IndexReport, target: str) -> None:
    write(
        f"파일: 새로 {len(report.added):,}, 바뀜 {len(report.changed):,}, 이름 바뀜 {len(report.renamed):,}, 없어짐 "
        f"{len(report.removed):,}, 그대로 {report.unchanged:,}. 색인의 문서는 모두 {report.documents:,}개입니다.\n"
        f"Files: {len(report.added):,} new, {len(report.changed):,} changed, {len(report.renamed):,} renamed, "
        f"{len(report.removed):,} gone, {report.unchanged:,} unchanged; {report.documents:,} documents in the index."
    )
    if report.without_text:
        some = ", ".join(report.without_text[:5])
        write(f"글이 없는 파일(스캔한 문서일 수 있습니다) / files without text, perhaps scans: {some:.300}")
    if report.others:
        listed = ", ".join(f"{suffix} {count:,}" for suffix, count in report.others.most_common(8))
        write(f"문서가 아니어서 건너뜀 / skipped, no documents: {listed}")
    errors = Counter(str(problem.error) for problem in report.problems)
    for text, count in errors.items():
        first = next(problem for problem in report.problems if str(problem.error) == text)
        others = f" (+{count - 1:,})" if count > 1 else ""
        how = "일부만 읽음 / read in part" if first.in_part else "읽지 못함 / not read"
        sys.stderr.write(printable(f"{how}: {first.file}{others}\n{text}\n"))
    if report.documents:
        write(f'찾기 / search: korag search {target} "질문"')
    else:
        write("색인할 글이 없었습니다. 폴더와 파일의 형식을 확인하세요: korag index --help")
        write("There was nothing to index; check the folder and the formats of its files: korag index --help")
