"""An index of a collection on a Qdrant server, whose vectors are fetched and not encoded again."""

from pathlib import Path
from typing import Any

import pytest
from sentences import DOCUMENTS

from korag import Collection
from korag.plaid import PlaidIndex
from korag.testing import FakeMultiVectorEncoder

pytest.importorskip("qdrant_edge", reason="the engine behind the server of these tests")
pytestmark = [pytest.mark.usefixtures("fast_plaid"), pytest.mark.allow_hosts(["127.0.0.1"])]


def test_vectors_come_from_the_server(tmp_path: Path) -> None:
    from edge_server import EdgeServer

    from korag import QdrantCollection

    encoder = FakeMultiVectorEncoder(dim=64)
    local = Collection.in_memory(encoders=[encoder], bm25=True)
    local.add([*DOCUMENTS, ""], ids=[f"글-{number}" for number in range(len(DOCUMENTS) + 1)])
    with EdgeServer(tmp_path / "edge") as server:
        remote: Any = QdrantCollection.open("docs", url=server.url, encoders=[encoder], bm25=True)
        local.export_to(remote)
        encoded = encoder.documents_encoded
        with PlaidIndex.build(remote, tmp_path / "index", device="cpu") as index:
            assert index.get() == local.get()
            for number, text in enumerate(DOCUMENTS):
                assert index.search(text, k=1)[0].id == f"글-{number}"
            remote.delete(["글-2"])
            index.sync(remote)
            assert {hit.id for hit in index.search("글", k=100)} == {f"글-{n}" for n in (0, 1, 3, 4, 5, 6, 7)}
        assert encoder.documents_encoded == encoded
        remote.close()
