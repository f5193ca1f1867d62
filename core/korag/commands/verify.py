"""``korag verify``: verifies everything in a collection's folder."""

from __future__ import annotations

import argparse
from typing import Any

from korag.commands.opening import add_json, check_folder
from korag.commands.options import as_json, write
from korag.errors import IndexStateError


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    about = "컬렉션 폴더를 검사합니다. Verifies a collection's folder."
    parser = subparsers.add_parser("verify", help=about, description=about)
    parser.add_argument("folder", metavar="INDEX", help="컬렉션의 폴더. The collection's folder.")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Prints each problem and a summary.

    Raises:
        IndexStateError: If something is wrong.
    """
    from korag.collection import Collection

    report = Collection.verify(check_folder("folder", options.folder))
    if options.json:
        counts = {"documents": report.documents, "segments": report.segments}
        write(as_json(counts | {"problems": list(map(str, report.problems))}, indent=1))
    for problem in () if options.json else report.problems:
        write(f"{problem}\n")
    if not report.ok:
        raise IndexStateError(
            f"'{options.folder}': 문제 {len(report.problems):,}개를 찾았습니다. 위의 안내대로 고치세요.",
            f"'{options.folder}': {len(report.problems):,} problems were found; see above for what to do.",
        )
    if options.json:
        return
    write(
        f"문제없음: 문서 {report.documents:,}개, 세그먼트 {report.segments:,}개 / "
        f"No problems: {report.documents:,} documents, {report.segments:,} segments"
    )
