"""A collector in a process of its own, and a client for it, for tests.

`Collector(folder, authority)` writes a configuration, starts `cpe-filter collector`, and waits until it says that it
has started; `post` sends as a router does.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tests.collect.ca import Authority, Pair
from tests.collect.reports import packed
from tests.lab.net import DEADLINE_S, PROJECT
from tests.ports import free_port

Tables = dict[str, dict[str, Any]]

JSON = {"Content-Type": "application/json", "Content-Encoding": "gzip"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Collector:
    """`with Collector(...) as it:`; `tables` adds to the configuration or replaces keys of it."""

    def __init__(self, folder: Path, authority: Authority, what: str = "run", **tables: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.authority, self.what = folder, authority, what
        self.port, self.metrics_port = free_port(), free_port()
        server = authority.folder / "server.pem"
        pair = Pair(server, server.with_suffix(".key")) if server.exists() else authority.server()
        self.tables: Tables = {
            "listen": {
                "address": f"127.0.0.1:{self.port}",
                "certificate": str(pair.certificate),
                "key": str(pair.key),
                "client_ca": str(authority.certificate),
                "crl": str(authority.crl),
            },
            "store": {"path": str(folder / "collector.db")},
            "metrics": {"address": f"127.0.0.1:{self.metrics_port}"},
        }
        for table, keys in tables.items():
            self.tables.setdefault(table, {}).update(keys)
        self.config = folder / f"{what}-{self.port}.toml"
        self.log = folder / f"{what}-{self.port}.log"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Collector:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def command(self, what: str | None = None) -> list[str]:
        return [sys.executable, "-m", "cpe_filter", "collector", "--config", str(self.config), what or self.what]

    def write(self) -> None:
        self.config.write_text(toml(self.tables))

    def start(self) -> None:
        self.write()
        begun = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(self.command(), stderr=log, cwd=PROJECT, env=environment)
        end = time.monotonic() + DEADLINE_S
        while '"event": "started"' not in self.log.read_bytes()[begun:].decode():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the collector did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Asks it to stop: its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """The log. Each line of it must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def metrics(self) -> dict[str, float]:
        """`name{labels}` -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
            text = response.read().decode()
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def connect(self, pair: Pair | None, authority: Authority | None = None) -> http.client.HTTPSConnection:
        """As the router of `pair`. authority: whose server it trusts, by default the collector's."""
        context: ssl.SSLContext = self.authority.client_context(pair)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE_S, context=context)

    def post(self, pair: Pair | None, value: Any, **headers: str) -> Answer:
        """One report by one connection."""
        connection = self.connect(pair)
        try:
            return post(connection, packed(value), {**JSON, **headers})
        finally:
            connection.close()


def post(
    connection: http.client.HTTPConnection, data: bytes, headers: dict[str, str], path: str = "/v1/reports"
) -> Answer:
    try:
        connection.request("POST", path, data, headers)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        pass  # it has answered before the whole body came, and what it said is there to be read
    return answer(connection)


def answer(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    data = response.read()
    kind = response.headers.get("content-type", "")
    said = json.loads(data) if kind.startswith("application/json") else data
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, said)


def toml(tables: Tables) -> str:
    """JSON's strings, numbers, flags and lists are TOML's, too."""
    return "".join(
        f"[{table}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items()) + "\n"
        for table, keys in tables.items()
    )
