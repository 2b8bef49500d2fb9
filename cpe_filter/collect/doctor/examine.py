"""All that doctor looks at, in order: printed as it is found, with a count at the end.

Knows the other parts of this room. Must not look itself.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from cpe_filter.collect import log
from cpe_filter.collect.config.file import ConfigError, load, problems
from cpe_filter.collect.doctor import files, network, store
from cpe_filter.collect.doctor.finding import Finding, fail, ok, warn


def examine(path: str) -> int:
    """Prints a line for each thing. Returns 0, or 1 if something failed."""
    log.set_up("error")
    counts = {"ok": 0, "warn": 0, "fail": 0}
    for finding in _all(path):
        print(finding.line(), flush=True)
        counts[finding.state] += 1
    print(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
    return 1 if counts["fail"] else 0


def _all(path: str) -> Iterator[Finding]:
    if wrong := problems(path):
        yield from (fail("configuration", each) for each in wrong)
        return
    try:
        config = load(path)
    except ConfigError as error:  # changed in between
        yield fail("configuration", str(error))
        return
    yield ok("configuration", path)
    for renamed in config.renamed:
        yield warn("configuration", renamed)
    yield from files.look(config, path, datetime.datetime.now(datetime.timezone.utc))
    yield from store.look(config)
    yield from network.look(config)
