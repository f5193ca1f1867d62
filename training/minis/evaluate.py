r"""Evaluates exported model folders on the retrieval sets under ``eval/``, and measures their speed.

    PYTHONPATH=core:. python -m training.minis.evaluate --models /tmp/minis/out --data ../shared/data \
        --output /tmp/minis/eval

Whole corpora, documents truncated at 512 tokens, BM25 over character bigrams as the baseline, and a row per ColBERT
dimension. Finished rows are kept in the output folder, so that an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

from korag import load_encoder
from korag.evaluation import evaluate, load_dataset
from training.minis.config import HEAD_DIMS

logger = logging.getLogger(__name__)

SETS = ("tydiqa-goldp-ko", "statute-title", "strategyqa-ko-facts", "reactdocs-ko")
_SPEED_SET, _SPEED_DOCUMENTS = "tydiqa-goldp-ko", 512


def find_models(folder: Path) -> dict[str, Path]:
    """Returns the model folders in a folder, by name."""
    return {path.name: path for path in sorted(folder.iterdir()) if (path / "modules.json").exists()}


def measure_speed(models: dict[str, Path], documents: list[str]) -> dict[str, dict[str, float]]:
    """Measures the documents encoded per second of wall-clock time and of CPU time.

    Args:
        models: Model folders by name.
        documents: The documents.
    """
    speeds = {}
    for name, folder in models.items():
        encoder = load_encoder(folder)
        encoder.encode_documents(documents[:32])  # warm-up: loads the weights
        started, cpu_started = time.perf_counter(), time.process_time()
        encoder.encode_documents(documents)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        speeds[name] = {"per_second": len(documents) / seconds, "per_cpu_second": len(documents) / cpu_seconds}
    return speeds


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of model folders")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for finished rows and reports")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--no-speed", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("korag").setLevel(logging.ERROR)  # truncation is intended
    models = find_models(arguments.models)
    for name in arguments.sets:
        dataset = load_dataset(arguments.data / "eval" / name)
        logger.info("%s", evaluate(dataset, models, dims=HEAD_DIMS, output=arguments.output / name))
    if not arguments.no_speed:
        documents = list(load_dataset(arguments.data / "eval" / _SPEED_SET).documents.values())[:_SPEED_DOCUMENTS]
        speeds = measure_speed(models, documents)
        (arguments.output / "speed.json").write_text(json.dumps(speeds, indent=2) + "\n", encoding="utf-8")
        logger.info("speed: %s", speeds)


if __name__ == "__main__":
    main()
