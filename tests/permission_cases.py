"""Uses collections, models and outputs in places where files may not be read or written.

    python tests/permission_cases.py <an empty folder> [--mount]

Prints a JSON object per case: its name, the class of the error with its bases, and the message in both languages.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / name) for name in ("core", ""))]
os.environ["HF_HUB_OFFLINE"] = "1"

from korag import Collection, load_encoder  # noqa: E402 (the path above lets this run as a script)
from korag.checkpoints.bundled import shipped_models  # noqa: E402
from korag.errors import KoragError  # noqa: E402

TEXTS = ["전세 보증금을 돌려받는 절차", "여권을 다시 발급받는 방법", "쓰레기 분리 배출 요일"]
Case = Callable[[Path], Any]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def made(folder: Path) -> Path:
    """A collection with two segments."""
    with Collection.open(folder, bm25=True) as collection:
        collection.add(TEXTS[:2], ids=["1", "2"])
        collection.add(TEXTS[2:], ids=["3"])
    return folder


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[Path]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):  # replaced
            path.chmod(before)


def search(folder: Path) -> object:
    with Collection.open(folder) as collection:
        return collection.search("여권", k=1)[0].id


def add(folder: Path) -> object:
    with Collection.open(folder) as collection:
        return collection.add(["새 글"], ids=["새"])


def in_memory() -> Collection:
    collection = Collection.in_memory(bm25=True)
    collection.add(TEXTS)
    return collection


def model(folder: Path) -> Path:
    """A copy of a bundled model."""
    return Path(shutil.copytree(shipped_models()["mini-dense"], folder / "모델"))


# -- a path that cannot be one --------------------------------------------------------------------------------

PATHS = {
    "nul": lambda folder: f"{folder}/이\0름",
    "surrogate": lambda folder: f"{folder}/\ud800",
    "long_name": lambda folder: folder / ("길" * 200),
    "long_path": lambda folder: folder / "/".join(["길다"] * 1000),
    "under_a_file": lambda folder: file_in(folder) / "아래",
    "a_file": lambda folder: file_in(folder),
    "broken_link": lambda folder: link(folder / "링크", folder / "없음"),
    "a_loop": lambda folder: link(folder / "링크", folder / "링크"),
    "unwritable_parent": lambda folder: locked(folder / "잠김", 0o555) / "새것",
    "parent_without_execute": lambda folder: locked(folder / "잠김", 0o600) / "새것",
    "unreadable_parent": lambda folder: locked(folder / "잠김", 0o000) / "새것",
    "empty": lambda _: "",
    "a_number": lambda _: 3,
    "unknown_user": lambda _: "~없는사람/폴더",
    "a_device": lambda _: "/dev/null",
}


def file_in(folder: Path) -> Path:
    (folder / "파일").write_text("글", encoding="utf-8")
    return folder / "파일"


def link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def locked(folder: Path, bits: int) -> Path:
    folder.mkdir()
    folder.chmod(bits)
    return folder


OPERATIONS: dict[str, Callable[[Any], object]] = {
    "open": lambda path: Collection.open(path, bm25=True),
    "save": lambda path: in_memory().save(path),
    "save_over": lambda path: in_memory().save(path, overwrite=True),
    "upgrade": lambda path: Collection.upgrade(path),
    "load_encoder": lambda path: load_encoder(path),
    "save_pretrained": lambda path: load_encoder("mini-dense", device="cpu").save(path),
    "langchain_load": lambda path: langchain().load_local(path),
    "langchain_save": lambda path: langchain().from_texts(TEXTS).save_local(path),
    "langchain_store": lambda path: vector_store()(path=path, encoders=["mini-dense"]),
    "llamaindex_load": lambda path: llamaindex().from_persist_dir(path),
    "llamaindex_persist": lambda path: llamaindex().from_defaults(nodes=[node()]).persist(path),
    "evaluation_store": lambda path: write_report(path),
    "evaluation_data": lambda path: read_dataset(path),
    "read_pairs": lambda path: read_pairs(path),
    "train": lambda path: train(path),
    "merge": lambda path: merge(path),
}


def langchain() -> Any:
    from langchain_korag import KoBM25Retriever

    return KoBM25Retriever


def vector_store() -> Any:
    from langchain_korag import KoVectorStore

    return KoVectorStore


def llamaindex() -> Any:
    from llamaindex_korag import KoBM25Retriever

    return KoBM25Retriever


def node() -> Any:
    from llama_index.core.schema import TextNode

    return TextNode(text=TEXTS[0])


def report() -> Any:
    from korag.evaluation import Report

    return Report(dataset="자료", source="-", fingerprint="-", documents=1, queries=1, k=10, rows=())


def write_report(path: Any) -> object:
    return report().save(path)


def read_dataset(path: Any) -> object:
    from korag.evaluation import load_dataset

    return load_dataset(path)


def read_pairs(path: Any) -> object:
    from korag.training import read_pairs as read

    return read(path)


def train(path: Any) -> object:
    from korag.training import finetune

    pairs = [(f"{number}번 창구는?", f"{number}번 창구에서 받습니다.") for number in range(20)]
    return finetune("mini-dense", pairs, path, max_steps=1, held_out=0.0, device="cpu", show_progress=False)


def merge(path: Any) -> object:
    from korag.training import merge_adapter

    return merge_adapter("mini-dense", path)


for _place, _path in PATHS.items():
    for _operation, _call in OPERATIONS.items():
        CASES[f"{_operation}:{_place}"] = lambda folder, path=_path, call=_call: call(path(folder))


# -- a collection that cannot be read or written --------------------------------------------------------------


def _parts(folder: Path) -> dict[str, Path]:
    segments = sorted((folder / "segments").iterdir())
    return {
        "folder": folder,
        "database": folder / "korag.sqlite3",
        "segments": folder / "segments",
        "segment": segments[0],
    }


for _part in ("folder", "database", "segments", "segment"):
    for _bits in (0o000, 0o400, 0o444, 0o500, 0o600):
        if _part in ("database", "segment") and _bits in (0o500, 0o600):
            continue

        def _with(folder: Path, call: Callable[[Path], object], part: str = _part, bits: int = _bits) -> object:
            collection = made(folder / "글")
            with mode(_parts(collection)[part], bits):
                return call(collection)

        for _name, _call in {
            "search": search,
            "add": add,
            "upgrade": Collection.upgrade,
            "save": lambda folder: Collection.open(folder).save(folder.parent / "사본"),
            "save_over": lambda folder: in_memory().save(folder, overwrite=True),
            "delete": lambda folder: Collection.open(folder).delete(["1"]),
            "compact": lambda folder: Collection.open(folder).compact(),
            "langchain_load": lambda folder: langchain().load_local(folder).invoke("여권"),
            "llamaindex_load": lambda folder: llamaindex().from_persist_dir(folder).retrieve("여권"),
        }.items():
            CASES[f"{_name}:{_part}_{_bits:03o}"] = lambda folder, call=_call, inner=_with: inner(folder, call)

for _what in ("database", "segments", "segment"):

    def _replaced(folder: Path, call: Callable[[Path], object], what: str = _what) -> object:
        """A folder where there should be a file, and the reverse."""
        collection = made(folder / "글")
        path = _parts(collection)[what]
        if path.is_dir():
            shutil.rmtree(path)
            path.write_text("")
        else:
            path.unlink()
            path.mkdir()
        return call(collection)

    for _name, _call in {"search": search, "add": add, "upgrade": Collection.upgrade}.items():
        CASES[f"{_name}:{_what}_of_another_kind"] = lambda folder, call=_call, inner=_replaced: inner(folder, call)


@case
def locked_while_open(folder: Path) -> object:
    with Collection.open(made(folder / "글")) as collection, mode(folder / "글" / "segments", 0o555):
        return collection.add(["새 글"])


@case
def unreadable_while_open(folder: Path) -> object:
    with Collection.open(made(folder / "글")) as collection, mode(folder / "글" / "segments", 0o000):
        return collection.search("여권", k=1)


# -- a model that cannot be read ------------------------------------------------------------------------------


for _file in (
    ".",
    "config.json",
    "modules.json",
    "tokenizer.json",
    "model.safetensors",
    "1_Pooling",
    "1_Pooling/config.json",
):
    for _bits in (0o000, 0o444):

        def _unreadable(folder: Path, call: Callable[[Path], object], file: str = _file, bits: int = _bits) -> object:
            checkpoint = model(folder)
            with mode(checkpoint / file, bits):
                return call(checkpoint)

        CASES[f"load:{_file}_{_bits:03o}"] = lambda folder, inner=_unreadable: inner(
            folder, lambda path: load_encoder(path, device="cpu").encode_queries(["여권"]).shape
        )
        CASES[f"copy:{_file}_{_bits:03o}"] = lambda folder, inner=_unreadable: inner(
            folder, lambda path: load_encoder(path, device="cpu").save(folder / "사본")
        )


# -- the command line -----------------------------------------------------------------------------------------


def korag(*arguments: object) -> object:
    """Runs a command here; an error it reports as its exit code is raised with what it printed."""
    import io

    from korag.cli import main

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main([str(argument) for argument in arguments])
    if code == 2:
        korean, _, english = errors.getvalue().rstrip("\n").partition("\n")
        raise KoragError(korean, english)
    return code


CASES |= {
    "cli_evaluate:unreadable": lambda folder: korag("eval", locked(folder / "잠김", 0o000), "--models", "mini-dense"),
    "cli_train:unreadable_corpus": lambda folder: korag(
        "train", "mini-dense", file_in(folder), folder / "출력", "--corpus", locked_file(folder)
    ),
    "cli_train:no_corpus": lambda folder: korag(
        "train", "mini-dense", file_in(folder), folder / "출력", "--corpus", folder / "없음"
    ),
    "cli_train:corpus_is_a_folder": lambda folder: korag(
        "train", "mini-dense", file_in(folder), folder / "출력", "--corpus", folder
    ),
    "cli_train:unreadable_pairs": lambda folder: korag("train", "mini-dense", locked_file(folder), folder / "출력"),
    "cli_merge:unwritable": lambda folder: korag("merge", "mini-dense", locked(folder / "잠김", 0o555) / "출력"),
}


def locked_file(folder: Path) -> Path:
    path = folder / "잠긴 파일.jsonl"
    path.write_text('{"query": "가", "positive": "나"}\n', encoding="utf-8")
    path.chmod(0)
    return path


for _bits in (0o000, 0o444):
    for _kind in (".jsonl", ".csv", ".parquet"):

        def _table(folder: Path, kind: str = _kind, bits: int = _bits) -> object:
            path = locked_file(folder)
            path.chmod(bits)
            return read_pairs(path.rename(path.with_suffix(kind)))

        CASES[f"read_pairs:{_kind}_{_bits:03o}"] = _table


# -- a file system mounted read-only --------------------------------------------------------------------------


def mounted(folder: Path) -> dict[str, Callable[[], object]]:
    """The cases on a read-only mount of `folder`, which holds a collection ``글`` and a model ``모델``."""
    return {
        "mount:search": lambda: search(folder / "글"),
        "mount:add": lambda: add(folder / "글"),
        "mount:delete": lambda: Collection.open(folder / "글").delete(["1"]),
        "mount:upgrade": lambda: Collection.upgrade(folder / "글"),
        "mount:save": lambda: in_memory().save(folder / "사본"),
        "mount:save_over": lambda: in_memory().save(folder / "글", overwrite=True),
        "mount:open_new": lambda: Collection.open(folder / "새것", bm25=True),
        "mount:load": lambda: load_encoder(folder / "모델", device="cpu").encode_queries(["여권"]).shape,
        "mount:save_pretrained": lambda: load_encoder("mini-dense", device="cpu").save(folder / "사본"),
        "mount:report": lambda: write_report(folder / "보고"),
        "mount:train": lambda: train(folder / "출력"),
    }


# -- running them ---------------------------------------------------------------------------------------------


def drop_capabilities() -> None:
    """Makes root a user like others, to whom permissions apply (capset(2)); nothing on other systems."""
    import ctypes

    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def outcome(name: str, call: Callable[[], object]) -> dict[str, object]:
    try:
        value = call()
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {
            "case": name,
            "kinds": kinds,
            "ours": isinstance(error, KoragError),
            "messages": list(map(str, error.args[:2])),
        }
    return {"case": name, "value": repr(value)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mount", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    root: Path = options.folder
    if options.mount:
        place = root / "mount"
        place.mkdir()
        made(place / "글")
        model(place)
        for path in (place, *place.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        mount = shutil.which("mount") or "mount"
        subprocess.run([mount, "--bind", place, place], check=True)
        subprocess.run([mount, "-o", "remount,bind,ro", place], check=True)
    load_encoder("mini-dense", device="cpu")  # some imports write to /dev/null, which not every machine lets all do
    if os.geteuid() == 0:
        drop_capabilities()
    os.environ["HOME"] = str(root)
    calls: dict[str, Callable[[], object]] = mounted(root / "mount") if options.mount else {}
    for number, (name, run) in enumerate(CASES.items()):
        if not options.mount:
            calls[name] = lambda number=number, run=run: run(_new(root / f"{number}"))
    os.chdir(_new(root / "here"))
    for name, call in calls.items():
        if options.only in name:
            sys.stdout.write(json.dumps(outcome(name, call)) + "\n")
            sys.stdout.flush()


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
