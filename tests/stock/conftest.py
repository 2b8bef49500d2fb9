"""One bare system of each suite that has a turn, for a file of tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.stock.system import SUITES, System, why_not

#: Files whose tests have each system also in CI.
EACH = {"test_newcomer"}
TURNS = SUITES if os.environ.get("STOCK") == "all" else SUITES[:1]


@pytest.fixture(params=SUITES, scope="module")
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    if request.param not in TURNS and request.path.stem not in EACH:
        pytest.skip("has its turn in `make stock`")
    reason = why_not()
    if reason and LIVE_REQUIRED and os.geteuid() == 0:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    folder: Path = tmp_path_factory.mktemp("stock")
    with System(request.param, folder) as running:
        yield running
