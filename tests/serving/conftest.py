"""Servers of this package on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import DOCUMENTS

from korag import Collection

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving") / "색인"
    encoders = ["mini-dense", "mini-splade", "mini-colbert"]
    with Collection.open(folder, encoders=encoders, bm25=True) as collection:
        collection.add(list(DOCUMENTS.values()), ids=list(DOCUMENTS), metadata=[{"쪽": n} for n in range(6)])
    return folder
