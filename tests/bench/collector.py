"""What the collector takes: reports a second and how long routers wait; and how a fleet comes back after an outage.

`python -m tests.bench.collector [--quick]`. Real processes with mTLS over loopback: `run` on SQLite, `run` on
PostgreSQL, and `ingest` and `consume` with three NATS servers and PostgreSQL; over kept connections, and with a new
connection and handshake for each report. All of it, the clients too, shares this machine's processors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import collector_load, collector_recovery
from tests.collect import cluster, streams
from tests.collect.ca import Authority
from tests.collect.running import Collector
from tests.lab.net import PROJECT

LOOSE = {"reports_burst": 100_000, "reports_per_hour": 100_000, "events_burst": 10_000_000, "waiting": 100_000}
#: How routers connect, and how many at once.
WAYS = (("keep", 4), ("keep", 64), ("new", 16))
_NAMES = {"keep": "kept connections", "new": "a handshake each"}


def load(collector: Collector, seconds: float, how: str, connections: int) -> dict[str, Any]:
    """How `collector` does under load; adds the processor time that it took for a report."""
    assert collector.process is not None
    before = _cpu(collector.process.pid)
    arguments = [str(collector.port), str(collector.authority.folder), str(connections), str(seconds), how]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.collector_load", *arguments],
        stdout=subprocess.PIPE, check=True, cwd=PROJECT, timeout=seconds + 60,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    result["server_ms"] = (_cpu(collector.process.pid) - before) / result["reports"] * 1000
    assert set(result["statuses"]) == {"200"}, result["statuses"]
    return result


def _cpu(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(name: str, how: str, connections: int, result: dict[str, Any]) -> None:
    print(
        f"{name:26}{connections:>3} {_NAMES[how]:18}{result['per_s']:>9.0f}{result['p50_ms']:>9.1f}"
        f"{result['p99_ms']:>9.1f}{result['server_ms']:>12.2f}",
        flush=True,
    )


def measure(folder: Path, seconds: float) -> None:
    authority = Authority(folder / "ca")
    for number in range(collector_load.ROUTERS):
        authority.router(f"r{number}")
    print(f"{'':48}{'reports/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms each':>12}")
    with Collector(folder / "sqlite", authority, limits=LOOSE) as collector:
        for how, connections in WAYS:
            show("SQLite", how, connections, load(collector, seconds, how, connections))
    reason = cluster.why_not()
    if reason:
        print(f"PostgreSQL left out: {reason}")
        return
    with cluster.Cluster() as database:
        tables: dict[str, Any] = {"store": {"engine": "postgresql", "dsn": database.create("bench")}, "limits": LOOSE}
        with Collector(folder / "postgresql", authority, **tables) as collector:
            for how, connections in WAYS:
                show("PostgreSQL", how, connections, load(collector, seconds, how, connections))
        reason = streams.why_not()
        if reason:
            print(f"NATS left out: {reason}")
            return
        with contextlib.ExitStack() as stack:
            servers = stack.enter_context(streams.Streams())
            tables["nats"] = {"servers": servers.urls, "max_bytes": 1 << 29}
            ingest = stack.enter_context(Collector(folder / "ingest", authority, "ingest", **tables))
            stack.enter_context(Collector(folder / "consume", authority, "consume", **tables))
            for how, connections in WAYS:
                show("NATS (3) and PostgreSQL", how, connections, load(ingest, seconds, how, connections))
                begun, waiting = time.monotonic(), servers.messages("CPE_REPORTS")
                while servers.messages("CPE_REPORTS"):
                    time.sleep(0.1)
                took = time.monotonic() - begun
                print(f"{'':26}{waiting} waited in the stream and were stored {took:.1f} s later")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.collector", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 s each, and a fleet of 50,000")
    quick = parser.parse_args().quick
    print(f"The collector under load ({os.cpu_count()} processors for all of it)")
    with tempfile.TemporaryDirectory(prefix="cpe-bench-") as folder:
        measure(Path(folder), 3 if quick else 15)
    print("\nA fleet that comes back after an outage")
    collector_recovery.table(50_000 if quick else 1_000_000, lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
