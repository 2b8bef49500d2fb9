"""The homes under attack, built once, and the table at the end of `make attacks`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.attacks.home import Home
from tests.attacks.variants import ALL


@pytest.fixture(scope="package")
def both_homes(live: None) -> Iterator[tuple[Home, Home]]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(contextlib.closing(Home())), stack.enter_context(contextlib.closing(Home()))


@pytest.fixture
def home(both_homes: tuple[Home, Home]) -> Iterator[Home]:
    """The home that the filter is to protect."""
    yield both_homes[0]
    both_homes[0].end()


@pytest.fixture
def unfiltered(both_homes: tuple[Home, Home]) -> Iterator[Home]:
    """A home without a filter, for controls."""
    yield both_homes[1]
    both_homes[1].end()


class _Table:
    """Kind of attack (a test's function) -> variants tried, held, broken, and those whose control failed."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if (
            "tests/attacks/" not in report.nodeid
            or "test_rawtcp" in report.nodeid
            or (report.when != "call" and not report.failed)
        ):
            return
        module, _, name = report.nodeid.partition("::")
        kind = f"{module.rpartition('/')[2][5:-3]}: {name.partition('[')[0][5:]}".replace("_", " ")
        row = self.rows.setdefault(kind, [0, 0, 0, 0, 0])
        row[0] += 1
        failed_control = report.failed and "ControlError" in report.longreprtext
        row[1 if report.passed else 2 if report.skipped else 4 if failed_control else 3] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not ALL or not self.rows:
            return
        width = max(map(len, self.rows))
        write = terminalreporter.write_line
        write(f"{'kind':{width}}  variants  held  skipped  broken  control failed")
        for kind, (tried, held, skipped, broken, control) in self.rows.items():
            write(f"{kind:{width}}{tried:10}{held:6}{skipped:9}{broken:8}{control:16}")
        sums = [sum(row[at] for row in self.rows.values()) for at in range(5)]
        write(f"{'all':{width}}{sums[0]:10}{sums[1]:6}{sums[2]:9}{sums[3]:8}{sums[4]:16}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Table())
