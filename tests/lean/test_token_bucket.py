"""The token bucket that limits of devices, incidents and routers share."""

from __future__ import annotations

import pytest

from cpe_filter.lean.token_bucket import level


@pytest.mark.parametrize(
    ("bucket", "now", "tokens"),
    [
        (None, 5.0, 10.0),
        ((3.0, 5.0), 5.0, 3.0),
        ((3.0, 5.0), 7.0, 4.0),
        ((3.0, 5.0), 4.0, 3.0),  # the clock went back
        ((3.0, 5.0), 19.0, 10.0),
        ((3.0, 5.0), 1000.0, 10.0),
        ((12.0, 5.0), 5.0, 10.0),  # the burst was lowered
    ],
)
def test_level(bucket: tuple[float, float] | None, now: float, tokens: float) -> None:
    assert level(bucket, 10.0, 1800.0, now) == tokens
