"""Repeatedly kills a process that writes to a collection, and checks that nothing is lost.

    python tests/kill_writer.py --rounds 200     # SIGKILL at random moments
    python tests/kill_writer.py --steps          # SIGKILL at every step of a fixed course of changes
    python tests/kill_writer.py --save exchange  # SIGKILL at every step of a save over a collection; or: renames, new

Each writer reports every change before it starts and after the call has returned. After the kill this process
opens the collection: every change acknowledged must be there, and the one under way wholly or not at all.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "core")]

import numpy as np  # noqa: E402 (the path above lets this run as a script)
import toy_token_codec  # noqa: E402

from korag import Collection  # noqa: E402
from korag.collection.local import merging, replacing  # noqa: E402
from korag.legs.multi_vector import codebook, packed  # noqa: E402
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder  # noqa: E402

Documents = dict[str, str]


codecs: dict[str, str] = {}


def open_collection(folder: Path) -> Collection:
    encoders = [FakeDenseEncoder(), FakeMultiVectorEncoder(dim=8)]
    return Collection.open(folder, encoders=encoders, bm25=True, codecs=codecs or None)


# -- the writer -------------------------------------------------------------------------------------------


class Log:
    """Changes, reported to the parent before and after."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def tell(self, *message: object) -> None:
        os.write(self._pipe, (json.dumps(message) + "\n").encode())

    def change(self, added: Documents, deleted: list[str], call: Callable[[], object]) -> None:
        self.tell("try", added, deleted)
        call()
        self.tell("done")


def text_of(id_: str, version: str) -> str:
    """Returns a text of its own: of "n1d1 판n11" and "n1d11 판n1", the fake encoder makes the same vector."""
    return f"글 {hashlib.md5(f'{id_} {version}'.encode(), usedforsecurity=False).hexdigest()}"


def write_at_random(folder: Path, log: Log, seed: int) -> None:
    """Adds, replaces, deletes and compacts until killed."""
    rng = random.Random(seed)
    log.tell("open")
    with open_collection(folder) as collection:
        ids = [document.id for document in collection.get()]
        for number in range(1_000_000):
            drawn = rng.random()
            if drawn < 0.75 or not ids:
                new = [f"s{seed}n{number}d{i}" for i in range(rng.randint(1, 20))]
                old = rng.sample(ids, min(len(ids), rng.randint(0, 3)))
                added = {id_: text_of(id_, f"{seed}n{number}") for id_ in new + old}
                log.change(added, [], functools.partial(collection.add, added.values(), ids=list(added)))
                ids += new
            elif drawn < 0.95:
                gone = rng.sample(ids, rng.randint(1, min(20, len(ids))))
                log.change({}, gone, functools.partial(collection.delete, gone))
                ids = [id_ for id_ in ids if id_ not in set(gone)]
            else:
                log.change({}, [], collection.compact)


def die_at_step(step: int) -> None:
    """Makes this process kill itself at the n-th call that reaches the disk."""
    left = step

    def one_step(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(function: Any) -> Any:
        def stepped(*arguments: Any, **keywords: Any) -> Any:
            one_step()
            result = function(*arguments, **keywords)
            one_step()
            return result

        return stepped

    for name in ("fsync", "rename", "replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, stepping(getattr(os, name)))
    replacing.exchange = stepping(replacing.exchange)  # type: ignore[attr-defined]
    from korag.collection.local import connections

    connect = connections.connect

    def traced(*arguments: Any, **keywords: Any) -> Any:
        connection = connect(*arguments, **keywords)
        connection.set_trace_callback(one_step)
        return connection

    connections.connect = traced


def write_and_die(folder: Path, log: Log, step: int) -> None:
    """A fixed course of changes, killed at the n-th step."""
    die_at_step(step)
    log.tell("open")
    with open_collection(folder) as collection:
        for number in range(5):
            added = {f"b{number}d{i}": f"글 b{number}d{i} 판0" for i in range(2)}
            log.change(added, [], functools.partial(collection.add, added.values(), ids=list(added)))
        added = {"b0d0": "글 b0d0 판1", "n": "글 n 판1"}
        log.change(added, [], functools.partial(collection.add, added.values(), ids=list(added)))
        metadata = [{"판": 1} for _ in added]  # the same texts
        log.change({}, [], functools.partial(collection.add, added.values(), ids=list(added), metadata=metadata))
        log.change({}, [], functools.partial(collection.update_metadata, collection.ids(), {"확인": True}))
        log.change({}, ["b1d0", "b1d1"], functools.partial(collection.delete, ["b1d0", "b1d1"]))
        log.change({}, [], collection.compact)
        log.change({}, ["n"], functools.partial(collection.keep_only, [id_ for id_ in collection.ids() if id_ != "n"]))
    log.tell("end")


def upgrade_and_die(folder: Path, log: Log, step: int, codec: str | None) -> None:
    """An upgrade, killed at the n-th step."""
    die_at_step(step)
    log.tell("open")
    Collection.upgrade(folder, codec=codec)
    log.tell("end")


def save_and_die(folder: Path, log: Log, step: int, how: str) -> None:
    """A save of one collection over another (or to a free place), killed at the n-th step."""
    if how == "renames":  # as where folders cannot be exchanged
        replacing.exchange = lambda *_: False  # type: ignore[attr-defined]
    with open_collection(folder / "new") as collection:
        collection.search("글")
        die_at_step(step)
        log.tell("save")
        collection.save(folder / "target", overwrite=True)
        log.tell("end")


# -- the judge --------------------------------------------------------------------------------------------


def check(collection: Collection, expected: Documents) -> list[str]:
    """Returns the problems of a collection that should contain exactly these documents."""
    problems = []
    stored = {document.id: document.text for document in collection.get()}
    if stored != expected:
        lost = [id_ for id_ in expected if stored.get(id_) != expected[id_]]
        extra = [id_ for id_ in stored if id_ not in expected]
        problems.append(f"{len(lost)} lost or old ({lost[:3]}), {len(extra)} too many ({extra[:3]})")
    if collection.count({"확인": True}) not in (0, len(stored)):
        problems.append("metadata was changed in part")
    if len(collection) != len(stored):
        problems.append(f"len is {len(collection)}, get returns {len(stored)}")
    keys = np.concatenate(
        [np.zeros(0, np.int64), *(reader.keys[reader.live] for reader in collection._reader.read().readers)]
    )
    if sorted(keys.tolist()) != collection._database.keys().tolist():
        problems.append("the live rows of the segments are not the documents")
    sample = random.Random(0).sample(sorted(stored), min(len(stored), 12))
    queries = [stored[id_] for id_ in sample]
    for using in collection.legs:
        for id_, hits in zip(sample, collection.search_many(queries, k=1, using=using), strict=True):
            if [hit.id for hit in hits] != [id_]:
                problems.append(f"{using} does not find {id_}")
    return problems


def judge(folder: Path, expected: Documents, messages: list[Any]) -> tuple[Documents, list[str]]:
    """Compares a folder with the writer's report. Returns its documents and the problems."""
    under_way: Documents | None = None
    for kind, *what in messages:
        if kind == "try":
            added, deleted = what
            under_way = {id_: text for id_, text in (expected | added).items() if id_ not in set(deleted)}
        elif kind == "done":
            assert under_way is not None
            expected, under_way = under_way, None
    with open_collection(folder) as collection:
        if under_way is not None and len(collection) and next_is_there(collection, expected, under_way):
            expected = under_way
        problems = check(collection, expected)
        collection.add(["글 뒤에 온 것"], ids=["뒤"])  # it can be written to, and clears up
        collection.delete(["뒤"])
        files = {path.name for path in (folder / "segments").iterdir()}
        if files != {info.name for info in collection._database.segments()}:
            problems.append("orphaned files are left")
        return expected, problems


def next_is_there(collection: Collection, before: Documents, after: Documents) -> bool:
    """Returns True if the change in progress at the kill was committed, judged by one of its documents."""
    changed = [id_ for id_ in before | after if before.get(id_) != after.get(id_)]
    if not changed:
        return False
    found = collection.get(changed[:1])
    return (found[0].text if found else None) == after.get(changed[0])


def run_writer(write: Callable[[Log], None], seconds: float | None) -> list[Any]:
    """Forks a writer and kills it some seconds after its first report. Returns its reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            write(Log(writing))
            status = 0
        finally:
            if status:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        first = told.readline()
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        lines = [first, *told.readlines()]
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
        raise RuntimeError("the writer failed by itself")
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def kill_at_random(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    """Kills at random moments; a new folder every tenth round."""
    rng = random.Random(seed)
    expected: Documents = {}
    counts = {"kills": 0, "changes acknowledged": 0, "kills within a change": 0, "losses": 0}
    for number in range(rounds):
        place = folder / str(number // 10)
        if number % 10 == 0:
            expected = {}
        write = functools.partial(write_at_random, place, seed=seed * 1000 + number)
        messages = run_writer(write, rng.uniform(0, 0.3))
        expected, problems = judge(place, expected, messages)
        counts["kills"] += 1
        counts["changes acknowledged"] += sum(kind == "done" for kind, *_ in messages)
        counts["kills within a change"] += messages[-1][0] == "try"
        counts["losses"] += report(f"round {number}", problems)
    return counts


def kill_at_every_step(folder: Path, every: int = 1) -> dict[str, int]:
    """Kills at each step of a fixed sequence, each time in a new folder."""
    counts = {"kills": 0, "changes acknowledged": 0, "kills within a change": 0, "losses": 0}
    step = 0
    while True:
        place = folder / str(step)
        messages = run_writer(functools.partial(write_and_die, place, step=step), None)
        _, problems = judge(place, {}, messages)
        counts["losses"] += report(f"step {step}", problems)
        if messages[-1][0] == "end":
            return counts
        counts["kills"] += 1
        counts["changes acknowledged"] += sum(kind == "done" for kind, *_ in messages)
        counts["kills within a change"] += messages[-1][0] == "try"
        shutil.rmtree(place)
        step += every


def kill_upgrades(collection: Path, folder: Path, codec: str | None) -> dict[str, int]:
    """Kills an upgrade at each step, in a new copy of the collection each; the caller looks at what they left."""
    step = 0
    while True:
        place = folder / str(step)
        shutil.copytree(collection, place)
        messages = run_writer(functools.partial(upgrade_and_die, place, step=step, codec=codec), None)
        if messages[-1][0] == "end":
            return {"kills": step, "losses": 0}
        step += 1


def kill_saves(folder: Path, how: str) -> dict[str, int]:
    """Kills a save at each step; at the target there must be one of the two collections, whole."""
    contents = {
        name: {f"{name}{i}": f"글 {name}{i} {version}" for i in range(3)} | {"둘 다": f"같은 아이디 {version}"}
        for name, version in (("new", "새"), ("target", "옛"))
    }
    place = folder / "place"
    counts = {"kills": 0, "left old": 0, "left new": 0, "losses": 0}
    for step in itertools.count():
        for name, documents in contents.items():
            if name != "target" or how != "new":
                with open_collection(place / name) as collection:
                    collection.add(documents.values(), ids=list(documents))
        messages = run_writer(functools.partial(save_and_die, place, step=step, how=how), None)
        ended = messages[-1][0] == "end"
        with open_collection(place / "target") as target, open_collection(place / "new") as source:
            stored = {document.id for document in target.get()}
            left = "new" if "new0" in stored else "target"
            problems = check(target, {} if left == "target" and how == "new" else contents[left])
            problems += check(source, contents["new"])
            if ended and left != "new":
                problems.append("a save that has returned is not there")
            source.save(place / "target", overwrite=True)
            if sorted(path.name for path in place.iterdir()) != ["new", "target"]:
                problems.append("the next save leaves something of the killed one")
        with open_collection(place / "target") as target:
            problems += check(target, contents["new"])
        counts["losses"] += report(f"step {step}", problems)
        shutil.rmtree(place)
        if ended:
            return counts
        counts["kills"] += 1
        counts["left new" if left == "new" else "left old"] += 1
    raise AssertionError


def report(place: str, problems: list[str]) -> bool:
    for problem in problems:
        sys.stderr.write(f"{place}: {problem}\n")
    return bool(problems)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", action="store_true", help="at every step of a fixed course instead")
    parser.add_argument("--upgrade", type=Path, help="the upgrade of a copy of this collection, at every step, instead")
    parser.add_argument("--codec", help="with --upgrade: that of `toy_token_codec` to store token vectors with")
    parser.add_argument("--coded", action="store_true", help="token vectors get a codebook when there are a few")
    parser.add_argument("--save", choices=["exchange", "renames", "new"], help="a save at every step instead")
    parser.add_argument("--every", type=int, default=1, help="with --steps: at each n-th step only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where; kept afterwards")
    arguments = parser.parse_args()
    merging.TIER = 4  # merge often
    if arguments.coded:
        codecs["colbert"] = "1bit+vectors"
        codebook.CENTROIDS = 4
        codebook.LEARNED_FROM = packed.LEARNED_FROM = 14  # the third change of the fixed course has so many
    folder = arguments.folder or Path(tempfile.mkdtemp())
    if arguments.upgrade:
        toy_token_codec.register()
        counts = kill_upgrades(arguments.upgrade, folder, arguments.codec)
    elif arguments.save:
        counts = kill_saves(folder, arguments.save)
    elif arguments.steps:
        counts = kill_at_every_step(folder, arguments.every)
    else:
        counts = kill_at_random(folder, arguments.rounds, arguments.seed)
    sys.stdout.write(json.dumps(counts) + "\n")
    if arguments.folder is None:
        shutil.rmtree(folder)
    sys.exit(bool(counts["losses"]))


if __name__ == "__main__":
    main()
