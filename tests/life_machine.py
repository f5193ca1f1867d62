"""Two processes open, write, save, move, copy, remove and are killed at random; nothing acknowledged may be lost.

Reads seeds, one per line, and answers each with a line of JSON: the number of steps, and what went wrong. The course
of a seed is the same each time, but for the moment at which a kill or the other of two simultaneous calls arrives.

A model of the folders says what must happen. An object works as long as its own collection is at its path, also after
that was moved away and back; otherwise each of its calls is an `IndexStateError`. After a kill, and for a call that
failed while a folder was moved, both outcomes are right, and the model takes the one it finds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "core")]

from korag import Collection  # noqa: E402 (the path above lets this run as a script)
from korag.collection.local import merging, replacing  # noqa: E402
from korag.collection.local.folders import exchange  # noqa: E402
from korag.errors import IndexStateError  # noqa: E402
from korag.testing import FakeDenseEncoder  # noqa: E402

Documents = dict[str, str]
PLACES = ("가", "나", "다")
STEPS = 30


def opened(folder: Path) -> Collection:
    return Collection.open(folder, encoders=[FakeDenseEncoder()], timeout=20.0)


def read(collection: Collection) -> Documents:
    """All documents, as `get` and a search find them."""
    stored = {document.id: document.text for document in collection.get()}
    found = {hit.id: hit.text for hit in collection.search("글", k=1000)}
    assert stored == found, f"get and search differ: {stored.keys() ^ found.keys()}"
    assert len(collection) == len(stored)
    return stored


# -- a process --------------------------------------------------------------------------------------------


class Worker:
    """Another process, with a few collections open."""

    def __init__(self) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            os.close(self._commands)
            os.close(self._answers)
            try:
                serve(commands, answers)
            finally:
                os._exit(0)
        os.close(commands)
        os.close(answers)
        self._lines = os.fdopen(self._answers, "r", encoding="utf-8")

    def tell(self, *command: object) -> None:
        os.write(self._commands, (json.dumps(command) + "\n").encode())

    def hear(self) -> Any:
        """The answer; None if the process was killed before it."""
        line = self._lines.readline()
        return json.loads(line) if line.endswith("\n") else None

    def ask(self, *command: object) -> Any:
        self.tell(*command)
        return self.hear()

    def kill(self) -> Any:
        """Kills it. Returns the answer it has still given to what it was told."""
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        answer = self.hear()
        os.close(self._commands)
        self._lines.close()
        return answer


def serve(commands: int, answers: int) -> None:
    """Does what it is told until killed."""
    objects: dict[int, Collection] = {}
    for line in os.fdopen(commands, "r", encoding="utf-8"):
        what, slot, *rest = json.loads(line)
        try:
            result = perform(objects, what, slot, *rest)
            answer = ["done", result]
        except IndexStateError as error:
            answer = ["refused", str(error)]
        except Exception as error:
            answer = ["failed", f"{type(error).__name__}: {error}"]
        os.write(answers, (json.dumps(answer) + "\n").encode())


def perform(objects: dict[int, Collection], what: str, slot: int, *rest: Any) -> Any:
    if what == "open":
        objects[slot] = opened(Path(rest[0]))
        return None
    collection = objects[slot]
    match what:
        case "close":
            objects.pop(slot).close()
        case "add":
            collection.add(list(rest[0].values()), ids=list(rest[0]))
        case "delete":
            collection.delete(rest[0])
        case "keep":
            collection.keep_only(rest[0])
        case "compact":
            collection.compact()
        case "save":
            replacing.exchange = exchange if rest[1] else lambda *_: False  # type: ignore[attr-defined]
            collection.save(rest[0], overwrite=True)
        case "read":
            return read(collection)
    return None


# -- the model --------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Content:
    """A collection, wherever it is."""

    documents: Documents = field(default_factory=dict)


@dataclass
class Object:
    """An open collection of a process."""

    worker: int
    slot: int
    place: str
    content: Content


class Machine:
    """A course of steps."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.rng = random.Random(seed)
        self.at: dict[str, Content] = {}
        self.workers = [Worker(), Worker()]
        self.objects: dict[tuple[int, int], Object] = {}
        self.problems: list[str] = []
        self.history: list[str] = []
        self._number = 0

    def run(self) -> dict[str, Any]:
        steps = 0
        for _ in range(STEPS):
            self.step()
            steps += 1
            if self.problems:
                break
        for worker in self.workers:
            worker.kill()
        if not self.problems:
            for place in PLACES:
                self.judge(place)
        return {"steps": steps, "problems": self.problems, "history": self.history if self.problems else []}

    def step(self) -> None:
        """Does one thing at random."""
        choices = {
            "open": 4, "write": 8, "read": 4, "save": 3, "move": 2, "copy": 1, "remove": 1, "close": 1, "kill": 1,
            "kill at work": 2, "two write": 2, "write and move": 2, "write and save over": 2,
        }  # fmt: skip
        what = self.rng.choices(list(choices), list(choices.values()))[0]
        getattr(self, what.replace(" ", "_"))()

    # -- steps --

    def open(self) -> None:
        worker, slot, place = self.rng.randrange(2), self.rng.randrange(2), self.rng.choice(PLACES)
        if known := self.objects.get((worker, slot)):
            self.call(known, "close", valid=True)
        content = self.at.setdefault(place, Content())
        self.objects[worker, slot] = Object(worker, slot, place, content)
        self.call(self.objects[worker, slot], "open", str(self.root / place))

    def write(self) -> None:
        if object_ := self.pick():
            what, argument, after = self.change(object_)
            if self.call(object_, what, *argument):
                object_.content.documents = after

    def read(self) -> None:
        if (object_ := self.pick()) and (answer := self.call(object_, "read")):
            self.compare(answer[1], object_.content.documents, "an open collection")

    def save(self) -> None:
        if object_ := self.pick():
            target = self.rng.choice(PLACES)
            if self.call(object_, "save", str(self.root / target), self.rng.random() < 0.5) and target != object_.place:
                self.at[target] = Content(dict(object_.content.documents))

    def move(self) -> None:
        if free := self.free():
            source = self.rng.choice([place for place in PLACES if place in self.at] or [free])
            if source in self.at:
                self.history.append(f"move {source} {free}")
                (self.root / source).rename(self.root / free)
                self.at[free] = self.at.pop(source)

    def copy(self) -> None:
        if (free := self.free()) and self.at:
            source = self.rng.choice(sorted(self.at))
            self.history.append(f"copy {source} {free}")
            shutil.copytree(self.root / source, self.root / free)
            self.at[free] = Content(dict(self.at[source].documents))

    def remove(self) -> None:
        if self.at:
            place = self.rng.choice(sorted(self.at))
            self.history.append(f"remove {place}")
            shutil.rmtree(self.root / place)
            del self.at[place]

    def close(self) -> None:
        if object_ := self.pick():
            self.call(object_, "close", valid=True)
            del self.objects[object_.worker, object_.slot]

    def kill(self) -> None:
        worker = self.rng.randrange(2)
        self.history.append(f"kill {worker}")
        self.workers[worker].kill()
        self.restart(worker)

    def kill_at_work(self) -> None:
        if not (object_ := self.pick()):
            return
        place = object_.place
        is_valid = self.at.get(place) is object_.content
        if self.rng.random() < 0.5:
            what, argument, after = self.change(object_)
            outcomes = [object_.content.documents, after]
        else:
            place = self.rng.choice(PLACES)
            what, argument = "save", [str(self.root / place), self.rng.random() < 0.5]
            before = self.at[place].documents if place in self.at else None
            outcomes = [before, before if place == object_.place else object_.content.documents]
        self.history.append(f"kill {object_.worker} at {what} {argument} by {object_.place}")
        worker = self.workers[object_.worker]
        worker.tell(what, object_.slot, *argument)
        time.sleep(self.rng.choice([0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.05]))
        answer = worker.kill()
        self.restart(object_.worker)
        if not is_valid:
            if answer and answer[0] != "refused":
                self.problems.append(f"{answer} where another collection is")
            self.judge(place)
        else:
            if answer and answer[0] != "done":
                self.problems.append(f"{answer} before a kill")
            self.settle(place, outcomes[1:] if answer else outcomes, new=what == "save" and place != object_.place)

    def two_write(self) -> None:
        pairs = [
            (one, two)
            for one in self.objects.values()
            for two in self.objects.values()
            if one.worker == 0 and two.worker == 1 and one.content is two.content and self.is_valid(one, two)
        ]
        if not pairs:
            return
        one, two = self.rng.choice(pairs)
        first, second = self.new(3), self.new(3)
        self.history.append(f"two write in {one.place}")
        self.workers[0].tell("add", one.slot, first)
        self.workers[1].tell("add", two.slot, second)
        for worker in self.workers:
            if (answer := worker.hear())[0] != "done":
                self.problems.append(f"one of two that write: {answer}")
        one.content.documents |= first | second

    def write_and_move(self) -> None:
        object_, free = self.pick(), self.free()
        if object_ and free and self.is_valid(object_):
            added = self.new(5)
            self.history.append(f"write and move {object_.place} {free}")
            self.workers[object_.worker].tell("add", object_.slot, added)
            time.sleep(self.rng.choice([0, 0.001, 0.003, 0.006, 0.01]))
            (self.root / object_.place).rename(self.root / free)
            answer = self.workers[object_.worker].hear()
            self.at[free] = self.at.pop(object_.place)
            before = object_.content.documents
            if answer[0] == "failed":
                self.problems.append(f"write and move: {answer}")
            self.settle(free, [before | added] if answer[0] == "done" else [before, before | added], new=False)

    def write_and_save_over(self) -> None:
        pairs = [
            (writer, saver)
            for writer in self.objects.values()
            for saver in self.objects.values()
            if writer.worker != saver.worker and writer.place != saver.place and self.is_valid(writer, saver)
        ]
        if not pairs:
            return
        writer, saver = self.rng.choice(pairs)
        self.history.append(f"write to {writer.place} and save {saver.place} over it")
        self.workers[writer.worker].tell("add", writer.slot, self.new(5))
        time.sleep(self.rng.choice([0, 0.002, 0.005]))
        saved = self.workers[saver.worker].ask("save", saver.slot, str(self.root / writer.place), True)
        written = self.workers[writer.worker].hear()
        if saved[0] != "done" or written[0] == "failed":
            self.problems.append(f"write and save over: {saved} {written}")
        self.at[writer.place] = Content(dict(saver.content.documents))
        self.judge(writer.place)

    # -- helpers --

    def pick(self) -> Object | None:
        return self.rng.choice(list(self.objects.values())) if self.objects else None

    def free(self) -> str | None:
        return next((place for place in self.rng.sample(PLACES, len(PLACES)) if place not in self.at), None)

    def is_valid(self, *objects: Object) -> bool:
        return all(self.at.get(object_.place) is object_.content for object_ in objects)

    def new(self, count: int) -> Documents:
        ids = [f"문서{self._number + n}" for n in range(self.rng.randint(1, count))]
        self._number += count
        return {id_: f"글 {id_} 판0" for id_ in ids}

    def change(self, object_: Object) -> tuple[str, list[Any], Documents]:
        """A change, its argument, and the documents after it."""
        documents = object_.content.documents
        drawn = self.rng.random()
        if drawn < 0.2 and documents:
            gone = self.rng.sample(sorted(documents), self.rng.randint(1, min(3, len(documents))))
            left = {id_: text for id_, text in documents.items() if id_ not in gone}
            return ("delete", [gone], left) if drawn < 0.1 else ("keep", [list(left)], left)
        if drawn < 0.3:
            return "compact", [], documents
        self._number += 1
        some = self.rng.sample(sorted(documents), min(2, len(documents))) if drawn < 0.5 else []
        same = {id_: documents[id_] for id_ in some[:1]}  # one whose text stays
        added = self.new(3) | {id_: f"글 {id_} 판{self._number}" for id_ in some} | same
        return "add", [added], documents | added

    def call(self, object_: Object, what: str, *arguments: Any, valid: bool | None = None) -> Any:
        """Calls an object. Returns the answer if the call was to work and did."""
        valid = self.is_valid(object_) if valid is None else valid
        state = "" if valid else " (another is there, or none)"
        self.history.append(f"{object_.worker}.{object_.slot} in {object_.place}: {what} {arguments}{state}")
        answer = self.workers[object_.worker].ask(what, object_.slot, *arguments)
        if answer is None or answer[0] != ("done" if valid else "refused"):
            self.problems.append(f"{self.history[-1]}: {answer}")
        return answer if valid and answer and answer[0] == "done" else None

    def restart(self, worker: int) -> None:
        self.workers[worker] = Worker()
        self.objects = {key: object_ for key, object_ in self.objects.items() if object_.worker != worker}

    def settle(self, place: str, outcomes: list[Documents | None], *, new: bool) -> None:
        """Takes the one of two outcomes that is there."""
        if None in outcomes and not (self.root / place).exists():
            return
        try:
            with opened(self.root / place) as collection:
                found = read(collection)
        except Exception as error:
            self.problems.append(f"{place}: {type(error).__name__}: {error}")
            return
        if found not in [outcome or {} for outcome in outcomes]:
            self.problems.append(f"{place}: {sorted(found)} is neither of {[sorted(o or {}) for o in outcomes]}")
        if new and found != outcomes[0]:
            self.at[place] = Content(found)
        elif place in self.at:
            self.at[place].documents = found
        else:
            self.at[place] = Content(found)

    def judge(self, place: str) -> None:
        """Compares a folder with the model."""
        if place not in self.at:
            if (self.root / place).exists():
                self.problems.append(f"{place} came from nowhere")
            return
        self.settle(place, [self.at[place].documents], new=False)

    def compare(self, found: Documents, expected: Documents, where: str) -> None:
        if found != expected:
            self.problems.append(f"{where}: {found.keys() ^ expected.keys()}")


def main() -> None:
    merging.TIER = 3  # merge often
    for line in sys.stdin:
        root = Path(tempfile.mkdtemp())
        sys.stdout.write(json.dumps(Machine(root, int(line)).run()) + "\n")
        sys.stdout.flush()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
