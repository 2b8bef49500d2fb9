"""`cpe-filter run`, and the policy that commands work with.

Knows files and errors. Must not import argparse, because this module stays in a router's memory.
"""

from __future__ import annotations

import os

from cpe_filter.lean import plain_signal as signal
from cpe_filter.lean.log import log, warning
from cpe_filter.outcome import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy


def run_filter(path: str) -> int:
    """`cpe-filter run --policy PATH`."""
    # In a jail this is process 1, for which the kernel drops signals without a handler.
    signal.signal(signal.SIGTERM, _end)
    policy, lacks = loaded(path)
    for text in lacks:
        log(warning(text))
    from cpe_filter.live import daemon

    try:
        return daemon.run(policy, os.path.abspath(path))
    except daemon.RunError as error:
        raise UsageError(str(error)) from None


def _end(number: int, frame: object) -> None:
    """Ends a start, which undoes what it has done."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def policy_of(path: str | None) -> Policy:
    """The policy of a file; without a file all defaults."""
    if path is None:
        from cpe_filter.policy.model import Policy

        return Policy()
    return loaded(path)[0]


def loaded(path: str) -> tuple[Policy, tuple[str, ...]]:
    """The policy of a file, and lines about what it asks for that is not installed."""
    from cpe_filter.policy import load
    from cpe_filter.policy.model import PolicyError

    try:
        return load.loaded(path)
    except PolicyError as error:
        raise UsageError(str(error)) from None
