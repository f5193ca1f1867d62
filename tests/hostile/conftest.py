"""Seeded tries of hostile input: few in every test run, many by `make hostile`, which prints a table of them.

A test takes the fixture `hostile` and loops over ``hostile.tries(area, short=…, long=…)``, which yields a seed per try.
It reports what went wrong by ``hostile.failed(seed, what)`` and goes on; the fixture fails the test at its end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

LONG = os.environ.get("KORAG_HOSTILE") == "long"
_SHOWN = 20


class Hostile:
    """The tries of one test, by area."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.failures: list[tuple[str, int, str]] = []
        self._area = ""

    def tries(self, area: str, *, short: int, long: int) -> Iterator[int]:
        """Yields a seed for each try: `short` of them, or `long` under `make hostile`."""
        self._area = area
        for seed in range(long if LONG else short):
            self.count[area] += 1
            yield seed

    def failed(self, seed: int, what: str) -> None:
        """Reports a try of the current area that did not end as it must."""
        self.failures.append((self._area, seed, what))


@pytest.fixture
def hostile(request: pytest.FixtureRequest) -> Iterator[Hostile]:
    found = Hostile()
    yield found
    failed = Counter(area for area, _, _ in found.failures)
    request.node.user_properties += [
        ("hostile", f"{area}\t{count}\t{failed[area]}") for area, count in found.count.items()
    ]
    assert found.count, "no tries were made"
    if found.failures:
        shown = "\n".join(f"{area}, seed {seed}: {what}" for area, seed, what in found.failures[:_SHOWN])
        pytest.fail(f"{len(found.failures)} tries failed:\n{shown}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table: area, tries, failures."""
    tries: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) != "teardown":
                continue
            for name, value in report.user_properties:
                if name == "hostile":
                    area, count, failed = str(value).split("\t")
                    tries[area] += int(count)
                    failures[area] += int(failed)
    if LONG and tries:
        terminalreporter.section("hostile tries")
        for area, count in sorted(tries.items()):
            terminalreporter.write_line(f"{area:60} {count:>9,} tries {failures[area]:>7,} failures")
