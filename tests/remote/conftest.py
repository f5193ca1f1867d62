"""The only tests with sockets: servers on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait as often as they do, a hundredth as long."""
    from korag.remote import transport

    real = transport.pause
    monkeypatch.setattr(transport, "pause", lambda attempt: real(attempt) / 100)
