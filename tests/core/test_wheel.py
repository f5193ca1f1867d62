"""The installed package: versions, package data, types. `make wheel-test` runs this on the built wheel."""

import importlib.metadata
from pathlib import Path

import korag
import langchain_korag
import llamaindex_korag
from korag.checkpoints.bundled import shipped_models


def test_version_is_the_distribution_s() -> None:
    assert korag.__version__ == importlib.metadata.version("korag")


def test_packages_are_typed() -> None:
    for package in (korag, langchain_korag, llamaindex_korag):
        assert package.__file__ is not None
        assert (Path(package.__file__).parent / "py.typed").exists()


def test_models_ship_with_cards_and_without_pickles() -> None:
    models = shipped_models()
    assert sorted(models) == ["mini-colbert", "mini-dense", "mini-splade"]
    for folder in models.values():
        assert (folder / "README.md").exists()
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert not [path for path in files if path.suffix in (".pt", ".bin", ".pkl")]
        assert sum(path.stat().st_size for path in files) <= 8_000_000
