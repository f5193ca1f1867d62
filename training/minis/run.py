"""Trains the three models, from the data to the bundled folders.

    PYTHONPATH=core:. python -m training.minis.run --data ../shared/data --work /tmp/minis/work --out /tmp/minis/out
    PYTHONPATH=core:. python -m training.minis.run --start FOLDER …  # continues exported models with a teacher

Stages whose results are in the work folder are skipped, and training phases resume from their last checkpoint, so the
command can be interrupted and run again at any time.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from training.minis.config import MEANS, PHASES, Folders, Phase
from training.minis.data import prepare_pairs
from training.minis.export import export_models
from training.minis.heads import refine_heads
from training.minis.initialise import initialise_embeddings, initialise_term_bias
from training.minis.lessons import prepare_lessons
from training.minis.start import check_same_start, copy_tokenizer, rare_terms, write_start
from training.minis.table import load_teacher, write_table
from training.minis.taught import LAST_SHARES, QUERY_TOKENS, TAUGHT_PHASES
from training.minis.tokenizer import train_tokenizer
from training.minis.train import average_phases, train_phase

logger = logging.getLogger(__name__)


def run(folders: Folders, threads: int) -> None:
    """Runs all stages without a result yet, then exports.

    Args:
        folders: The folders.
        threads: CPU threads for training.
    """
    work = folders.work
    _prepare(folders)
    _train(PHASES, work, threads)
    for name, phases in MEANS.items():
        _make(work / f"{name}.pt", partial(average_phases, work, phases))
    _make(work / "heads.pt", lambda path: refine_heads(work, path, threads))
    export_models(folders)


def run_taught(folders: Folders, start: Path, names: Sequence[str], threads: int) -> None:
    """Runs all stages of the run with a teacher that have no result yet, then exports.

    Args:
        folders: The folders.
        start: The exported models of an earlier run, whose training is continued.
        names: The models to train; what is exported is the mean of their weights before and after.
        threads: CPU threads for training.
    """
    data, work = folders.data, folders.work
    work.mkdir(parents=True, exist_ok=True)
    _make(work / "tokenizer.json", partial(copy_tokenizer, start))
    if not (work / "candidates.parquet").exists():
        write_table(data, work, load_teacher(work))
    _make(work / "lessons.npz", lambda path: prepare_lessons(work, path))
    means: dict[str, str] = {}
    for name in names:
        check_same_start(start, name, work)
        rare = rare_terms(work) if name == "mini-splade" else None
        _make(work / f"{name}.pt", partial(write_start, start, name, work, rare=rare))
        _train(TAUGHT_PHASES[name], work, threads)
        last, share = TAUGHT_PHASES[name][-1].name, LAST_SHARES[name]
        shares = (1 - share, share)
        _make(work / f"{last}-mean.pt", partial(average_phases, work, (name, last), shares=shares))
        means[name] = f"{last}-mean"
    export_models(folders, means, query_length=QUERY_TOKENS, expanded=False)


def _prepare(folders: Folders) -> None:
    """Makes the tokenizer, the pairs and the initial weights."""
    data, work = folders.data, folders.work
    work.mkdir(parents=True, exist_ok=True)
    tokenizer, pairs = work / "tokenizer.json", work / "pairs.npz"
    _make(tokenizer, lambda path: train_tokenizer(data, path))
    _make(pairs, lambda path: prepare_pairs(data, tokenizer, path))
    _make(work / "embeddings.npy", lambda path: initialise_embeddings(data, tokenizer, pairs, path))
    _make(work / "term_bias.npy", lambda path: initialise_term_bias(pairs, path))


def _train(phases: Iterable[Phase], work: Path, threads: int) -> None:
    """Trains the phases without a result, in order."""
    for phase in phases:
        if not (work / f"{phase.name}.pt").exists():
            train_phase(phase, work, threads)


def _make(path: Path, make: Callable[[Path], None]) -> None:
    """Creates a file atomically, unless it exists."""
    if path.exists():
        return
    started = time.perf_counter()
    unfinished = path.with_name(f"unfinished-{path.name}")
    make(unfinished)
    unfinished.replace(path)
    logger.info("%s: %.0f s", path.name, time.perf_counter() - started)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train_mix, text and eval")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder for the exported models")
    parser.add_argument("--start", type=Path, help="exported models to continue with a teacher")
    parser.add_argument("--models", nargs="+", default=list(TAUGHT_PHASES), choices=list(TAUGHT_PHASES))
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for training")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("korag").setLevel(logging.ERROR)  # truncation is intended
    folders = Folders(data=arguments.data, work=arguments.work, out=arguments.out)
    if arguments.start is None:
        run(folders, arguments.threads)
    else:
        run_taught(folders, arguments.start, arguments.models, arguments.threads)


if __name__ == "__main__":
    main()
