"""Payload indexes of filters: what exists with another type is not ignored."""

from __future__ import annotations

from typing import Any

import pytest
from edge_server import EdgeServer

from korag.errors import FingerprintError


def test_a_field_that_is_indexed_as_another_type_is_an_error(server: EdgeServer, open_new: Any) -> None:
    open_new("색인된", bm25=True, filter_fields={"연도": "integer", "부서": "keyword"})
    open_new("색인된", bm25=True, filter_fields={"연도": "integer", "담당": "keyword"})
    before = server["색인된"].describe()["payload_schema"]
    with pytest.raises(FingerprintError, match=r"'연도'.*integer.*keyword.*delete_payload_index"):
        open_new("색인된", bm25=True, filter_fields=["새것", "연도"])
    assert server["색인된"].describe()["payload_schema"] == before
