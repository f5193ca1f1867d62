"""``korag doctor``: what this machine has of all that KoRAG can use, and why something is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from korag import __version__
from korag.commands.opening import add_json, check_folder
from korag.commands.options import as_json, write
from korag.errors import HubUnreachableError, IndexStateError, KoragError
from korag.paths import check_path

State = Literal["ok", "-", "!"]
"""In order; not installed or not used; wrong."""
_REQUIREMENT = re.compile(r"^(?P<name>[\w.-]+)(?:\[[^\]]*\])?\s*(?P<rule>[^;]*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"](?P<extra>[\w-]+)['\"]")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: The thing.
        state: How it is.
        detail: The facts, or the reason.
    """

    about: str
    state: State
    detail: str


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "doctor",
        help="이 컴퓨터에서 무엇을 쓸 수 있는지 봅니다. Shows what works on this machine.",
        description="모델, 선택 패키지, 버전, 오프라인 설정, 프로세서, 색인의 상태를 봅니다. Looks at models, extras, "
        "versions, offline settings, the processor and indexes. Contacts no server.",
    )
    parser.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="찾아볼 모델. Models to look for.")
    parser.add_argument("--index", nargs="+", default=[], metavar="INDEX", help="검사할 색인. Indexes to verify.")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Prints what was found.

    Raises:
        IndexStateError: If something is wrong.
    """
    findings = [*_machine(), *_packages(), *_offline(), *_models(options.models), *_indexes(options.index)]
    if options.json:
        write(as_json([asdict(finding) for finding in findings], indent=1))
    else:
        width = max(len(finding.about) for finding in findings)
        for finding in findings:
            write(f"{finding.state:<3}{finding.about:<{width}}  {finding.detail}".rstrip())
    wrong = [finding.about for finding in findings if finding.state == "!"]
    if wrong:
        listed = ", ".join(wrong)
        raise IndexStateError(
            f"고칠 것이 있습니다({len(wrong):,}): {listed}. 위의 설명대로 하세요.",
            f"Something is wrong ({len(wrong):,}): {listed}. See above for what to do.",
        )


def _machine() -> Iterator[Finding]:
    yield Finding("korag", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield Finding("processor", "ok", f"{platform.machine()}, {os.cpu_count()} cores" + _torch())
    if importlib.util.find_spec("numba") is not None:
        yield Finding("kernels", "ok", "numba: compiled loops (korag[fast])")
    else:
        yield Finding("kernels", "-", "torch, numpy, scipy; several times as fast with pip install 'korag[fast]'")
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    if threads:
        yield Finding("threads", "ok", ", ".join(f"{name}={value}" for name, value in threads.items()))


def _torch() -> str:
    if importlib.util.find_spec("torch") is None:
        return ""
    import torch

    devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    found = ", ".join(devices) or "no GPU"
    return f"; torch {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, {found}"


def _packages() -> Iterator[Finding]:
    """The packages that KoRAG's own metadata names, by extra."""
    extras: dict[str, list[tuple[str, str]]] = {}
    for text in importlib.metadata.requires("korag") or ():
        found, named = _REQUIREMENT.match(text), _EXTRA.search(text)
        if found is not None and found["name"].lower() != "korag":
            group = extras.setdefault(named["extra"] if named else "", [])
            group.append((found["name"], found["rule"].strip()))
    for extra, needed in extras.items():
        missing = [name for name, _ in needed if _version(name) is None]
        clashes = [
            f"{name} {version} (needs {rule})"
            for name, rule in needed
            if (version := _version(name)) is not None and not _fits(version, rule)
        ]
        about = f"korag[{extra}]" if extra else "packages"
        versions = ", ".join(f"{name} {_version(name)}" for name, _ in needed if _version(name) is not None)
        if clashes:
            yield Finding(about, "!", f"versions that clash: {', '.join(clashes)}; pip install -U '{_target(extra)}'")
        elif missing:
            state: State = "-" if extra else "!"
            yield Finding(about, state, f"missing: {', '.join(missing)}; pip install '{_target(extra)}'")
        else:
            yield Finding(about, "ok", versions)


def _target(extra: str) -> str:
    return f"korag[{extra}]" if extra else "korag"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(version: str, rule: str) -> bool:
    # transformers and huggingface-hub need it, too
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(rule).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _offline() -> Iterator[Finding]:
    set_here = {name: os.environ[name] for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if name in os.environ}
    listed = ", ".join(f"{name}={value}" for name, value in set_here.items())
    yield Finding("offline", "ok", listed or "no: models that are not on this machine are downloaded")
    from huggingface_hub import constants

    cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME") or constants.HF_HUB_CACHE
    yield Finding("model cache", "ok" if os.path.isdir(cache) else "-", str(cache))  # noqa: PTH112 (a text)


def _models(names: list[str]) -> Iterator[Finding]:
    from korag.checkpoints.bundled import shipped_models
    from korag.checkpoints.hub import resolve_model

    yield Finding("bundled models", "ok", ", ".join(shipped_models()))
    for name in names:
        try:
            found = resolve_model(name, local_files_only=True)
            found.fetch_weights(remote_code=False)
        except HubUnreachableError:  # its text is for those who asked for the model, and names their argument
            yield Finding(
                name,
                "!",
                "폴더에도 Hub 캐시에도 없거나 파일이 모자랍니다. doctor는 다운로드하지 않으니, 인터넷이 될 때 한 번 "
                "불러오거나 모델 폴더를 복사하세요.\nneither a folder nor in the Hub cache, or some of its files are "
                "missing; doctor downloads nothing: load it once with a connection, or copy its folder.",
            )
        except KoragError as error:
            yield Finding(name, "!", str(error))
        else:
            yield Finding(name, "ok", str(found.folder))


def _indexes(folders: list[str]) -> Iterator[Finding]:
    from korag.collection import Collection
    from korag.collection.local.stored import reading

    for name in folders:
        try:
            report = Collection.verify(check_folder("--index", name))
            with reading(check_path("index", name)) as stored:
                legs = ", ".join(f"{leg.name} {leg.model or leg.tokenizer or ''}".strip() for leg in stored.info().legs)
        except KoragError as error:
            yield Finding(name, "!", str(error))
            continue
        if report.ok:
            yield Finding(name, "ok", f"{report.documents:,} documents, {report.segments:,} segments; {legs}")
        else:
            yield Finding(name, "!", str(report.problems[0]))
