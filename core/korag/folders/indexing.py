"""`index_folder`: makes a collection hold the texts of a folder's files, and nothing of files that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from korag.collection.local.collection import LocalCollection
from korag.errors import IndexStateError
from korag.folders.changes import compare
from korag.folders.records import read_notes
from korag.folders.reports import IndexReport, Progress
from korag.folders.running import Run
from korag.folders.scanning import scan
from korag.reading.base import ReadOptions
from korag.splitting.splitter import Splitter


def index_folder(
    folder: Path,
    collection: LocalCollection,
    *,
    options: ReadOptions | None = None,
    splitter: Splitter | None = None,
    replace: bool = False,
    report: IndexReport | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Adds what is new in a folder, changes what has changed, and removes what is gone.

    Files are known by size and time of change, or else by their content, so an unchanged file is not read and a renamed
    one not encoded. Texts are committed in batches: after an interruption or a kill, the same call goes on. Documents
    that come from elsewhere are left alone.

    Args:
        folder: The folder.
        collection: Where to.
        options: How tables are read.
        splitter: Splits the texts into documents, named file#1, file#2, …; None for a document a text. Headings of HTML
            and of word processors are those of Markdown by then.
        replace: Go on although more than half of the files in the collection are not in the folder.
        report: Filled as the work goes on, for whoever is interrupted.
        progress: Is told about the work.

    Raises:
        InvalidArgumentError: If there is no such folder.
        IndexStateError: If more than half of the collection's files are neither in the folder nor renamed, and
            `replace` is False.
    """
    report = report if report is not None else IndexReport()
    run = Run(collection, options or ReadOptions(), splitter, report, progress)
    found = scan(folder, without=collection.path or folder / "-")
    report.problems += found.problems
    report.others = found.others
    known = read_notes(collection)
    changes = compare(found.files, known, kept={problem.file for problem in found.problems})
    if not replace and 2 * len(changes.removed) > len(known):
        raise _another_folder(folder, collection, changes.removed, len(known))
    run.index(found.files, known, changes)
    report.documents = len(collection)
    report.complete = True
    return report


def _another_folder(folder: Path, collection: LocalCollection, removed: Sequence[str], known: int) -> IndexStateError:
    return IndexStateError(
        f"'{collection.path}'에 색인된 파일 {known:,}개 가운데 절반이 넘는 {len(removed):,}개가 '{folder}'에 없습니다"
        f"(예: {removed[0]}). 폴더를 확인하세요. 없는 파일을 색인에서 빼고 이 폴더의 것으로 바꾸려면 "
        "--replace를 붙이세요. 아무것도 바꾸지 않았습니다.",
        f"{len(removed):,} of {known:,} files that '{collection.path}' holds, more than half, are not in '{folder}' "
        f"(for example {removed[0]}). Check the folder; --replace removes them and makes the index one of this folder. "
        "Nothing was changed.",
    )
