"""The manifest of a folder from elsewhere: it decides what is loaded, never how."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.errors import IndexStateError
from korag.legs import base
from korag.testing import FakeDenseEncoder


@pytest.mark.parametrize(
    "entry", [{"trust_remote_code": True}, {"token": "hf_x"}, {"backend": "onnx"}, {"cache_folder": "/"}]
)
def test_a_manifest_cannot_set_how_a_model_is_loaded(
    tmp_path: Path, entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = FakeDenseEncoder()
    with Collection.open(tmp_path / "색인", encoders=[encoder]) as collection:
        collection.add(["보증금은 이사하는 날 돌려받는다."])
    database = sqlite3.connect(tmp_path / "색인" / "korag.sqlite3")
    legs = json.loads(database.execute("SELECT value FROM settings WHERE name = 'legs'").fetchone()[0])
    legs["dense"]["load"] |= entry
    with database:
        database.execute("UPDATE settings SET value = ? WHERE name = 'legs'", (json.dumps(legs),))
    database.close()
    monkeypatch.setattr(base, "load_encoder", lambda **_: pytest.fail("loaded"))
    with pytest.raises(IndexStateError, match=f"not allowed: {next(iter(entry))}"):
        Collection.open(tmp_path / "색인")
    with Collection.open(tmp_path / "색인", encoders=[encoder]) as collection:  # the caller says what to load
        assert len(collection.search("보증금")) == 1
