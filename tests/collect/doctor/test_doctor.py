"""`collector doctor` on deployments of which one thing at a time is broken; each with real servers."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from cpe_filter.collect.config.file import build
from cpe_filter.collect.config.keys import KEYS
from cpe_filter.collect.config.model import Config, ProvisionTable
from cpe_filter.collect.doctor import examine, files, finding, network, store
from tests.collect import streams
from tests.collect.ca import Authority
from tests.collect.cluster import Cluster
from tests.collect.enrol.isp import key_file
from tests.collect.publisher import MILD, Isp
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S, PROJECT
from tests.ports import free_port

NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """Configured, with its folder, not started."""
    made = Collector(tmp_path / "c", Authority(tmp_path / "ca"), page={"address": f"127.0.0.1:{free_port()}"})
    made.tables["page"]["login"] = "proxy"
    made.write()
    made.config.chmod(0o600)
    yield made
    made.stop()


def configured(collector: Collector, **tables: dict[str, Any]) -> Config:
    merged = {name: {**collector.tables.get(name, {}), **tables.get(name, {})} for name in {*collector.tables, *tables}}
    return build(merged, "collector.toml")


def state(findings: Iterator[finding.Finding], thing: str) -> tuple[str, str]:
    """The worst finding about a thing."""
    found = [(("fail", "warn", "ok").index(one.state), one) for one in findings if one.thing == thing]
    assert found, thing
    worst = min(found, key=lambda pair: pair[0])[1]
    return worst.state, worst.text


def doctor(collector: Collector) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cpe_filter", "collector", "--config", str(collector.config), "doctor"]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=DEADLINE_S)


def test_what_runs_is_good(collector: Collector) -> None:
    before = doctor(collector)
    assert before.returncode == 1
    assert re.search(r"^warn  store +.*collector\.db does not exist yet; `run` makes it$", before.stdout, re.MULTILINE)
    assert before.stdout.count("Connection refused; is the collector running?") == 3
    assert not (collector.folder / "collector.db").exists(), "doctor makes nothing"
    with collector:
        done = doctor(collector)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert all(re.match(r"(ok  |warn|fail)  \S.{21}  \S", line) for line in lines[:-1]), lines
    things = {line[6:28].strip() for line in lines if line.startswith("ok")}
    assert things >= {
        "configuration", "file modes", "[listen] certificate", "[listen] client_ca", "[listen] crl", "[listen] key",
        "store", "store, writing", "listener for routers", "metrics", "fleet page", "public name",
    }  # fmt: skip
    assert re.fullmatch(r"\d+ ok, \d+ to look at, 0 failed", lines[-1])


def test_all_errors_of_a_configuration_are_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c \x1b[31m.toml"
    path.write_text('[listen]\nadress = 1\n[log]\nlevel = "loud"\n')
    assert examine(str(path)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert lines[0].endswith("did you mean address?")
    assert "loud" in lines[1]
    assert all(line.startswith("fail  configuration ") and "\x1b" not in line for line in lines[:-1])
    assert lines[-1].endswith(f" {len(lines) - 1} failed")


# ── files ───────────────────────────────────────────────────────────────────────────────────────────


def test_modes(collector: Collector, tmp_path: Path) -> None:
    config = configured(collector)
    path = str(collector.config)
    assert state(files.look(config, path, NOW), "file modes")[0] == "ok"
    os.chmod(config.listen.key, 0o644)
    kind, text = state(files.look(config, path, NOW), "file modes")
    assert kind == "fail"
    assert text.startswith(f"{config.listen.key}: others can read or change it (mode 0644)")
    os.chmod(config.listen.key, 0o640)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o604)
    config = configured(collector, webhook={"url": "https://x.example/", "secret_file": str(secret)})
    assert state(files.look(config, path, NOW), "file modes")[0] == "fail"
    assert state(files.look(config, path, NOW), "subscribers, webhook")[0] == "fail"


@pytest.mark.parametrize("key", [("api", "key"), ("oidc", "client_secret_file"), ("desk", "instruction_key")])
def test_each_private_file_is_looked_at(collector: Collector, tmp_path: Path, key: tuple[str, str]) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    config = configured(collector)
    table = dataclasses.replace(getattr(config, key[0]), **{key[1]: str(secret)})
    config = dataclasses.replace(config, **{key[0]: table})
    for mode, expected in ((0o640, "ok"), (0o644, "fail")):
        secret.chmod(mode)
        assert state(files.look(config, "x", NOW), "file modes")[0] == expected
    if key[0] == "desk":
        secret.chmod(0o600)
        assert state(files.look(config, "x", NOW), "[desk] instruction_key")[0] == "fail"


def test_every_private_file_of_the_configuration_is_known() -> None:
    """A new key of this kind has to be in doctor's list."""
    source = Path(files.__file__).read_text()
    ends = ("key", "_key", "secret_file", "token_file", "password_file", "key_file", "credentials")
    names = [f"config.{key.table}.{key.name}" for key in KEYS if key.name == "key" or key.name.endswith(ends[1:])]
    assert len(names) >= 9
    assert not [name for name in names if f"{name}," not in source and f"{name}]" not in source]


def test_a_configuration_with_hashes_is_private(collector: Collector) -> None:
    config = configured(collector, page={"login": "password", "users": [USER]})
    collector.config.chmod(0o644)
    assert state(files.look(config, str(collector.config), NOW), "file modes")[0] == "fail"
    assert state(files.look(configured(collector), str(collector.config), NOW), "file modes")[0] == "ok"


USER = "anna:desk:scrypt$15$8$3$" + "A" * 22 + "==$" + "A" * 43 + "="


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0, "ok"), (8, "ok"), (10, "warn"), (28, "warn"), (31, "fail"), (-3, "fail")],
)
def test_when_a_certificate_expires(collector: Collector, days: int, expected: str) -> None:
    """It holds from 2 days ago for 30 days."""
    then = NOW + datetime.timedelta(days=days)
    assert state(files.look(configured(collector), "x", then), "[listen] certificate")[0] == expected


def test_a_list_that_is_due_and_one_that_is_none(collector: Collector) -> None:
    config = configured(collector)
    assert state(files.look(config, "x", NOW), "[listen] crl") == ("ok", "0 certificates revoked")
    collector.authority.write_crl(-1)
    assert state(files.look(config, "x", NOW), "[listen] crl")[0] == "warn"
    Path(config.listen.crl).write_text("nonsense")
    assert state(files.look(config, "x", NOW), "[listen] crl")[0] == "fail"


@pytest.mark.parametrize(("days", "expected"), [(0, "ok"), (343, "ok"), (346, "warn"), (400, "warn")])
def test_what_is_published(collector: Collector, tmp_path: Path, days: int, expected: str) -> None:
    """Its documents hold for a year."""
    isp = Isp(tmp_path)
    config = dataclasses.replace(configured(collector), provision=ProvisionTable(str(isp.web)))
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    assert state(files.look(config, "x", then), "[provision] published")[0] == "warn"
    isp.publish(MILD)
    kind, text = state(files.look(config, "x", then), "[provision] published")
    assert (kind, "policy 1" in text) == (expected, True)
    (isp.web / "index.json").write_text("{}")
    assert state(files.look(config, "x", then), "[provision] published")[0] == "fail"


def test_a_key_of_another_certificate(collector: Collector) -> None:
    config = configured(collector)
    other = collector.authority.router("r1")
    Path(config.listen.key).write_bytes(other.key.read_bytes())
    assert state(files.look(config, "x", NOW), "[listen] key")[0] == "fail"


# ── the store ───────────────────────────────────────────────────────────────────────────────────────


def test_a_store_of_an_older_program_and_of_a_newer(collector: Collector) -> None:
    config = configured(collector)
    with collector:
        assert state(store.look(config), "store")[0] == "ok"
        assert state(store.look(config), "store, writing") == ("ok", "a row was committed")
    import sqlite3

    with sqlite3.connect(config.store.path) as connection:
        last = connection.execute("SELECT max(version) FROM schema_version").fetchone()[0]
        connection.execute("DELETE FROM schema_version WHERE version = ?", (last,))
    kind, text = state(store.look(config), "store")
    assert (kind, text.partition(";")[0]) == ("warn", f"the tables are version {last - 1}, this program's {last}")
    with sqlite3.connect(config.store.path) as connection:
        connection.executemany("INSERT INTO schema_version VALUES (?, 'x', 0)", [(last,), (last + 1,)])
    kind, text = state(store.look(config), "store")
    assert kind == "fail"
    assert "newer than this program" in text


def test_a_file_that_is_no_store(collector: Collector) -> None:
    config = configured(collector)
    Path(config.store.path).write_bytes(b"x" * 4096)
    assert state(store.look(config), "store")[0] == "fail"
    config = configured(collector, store={"path": "/nonexistent/x.db"})
    assert state(store.look(config), "store")[0] == "fail"
    assert state(store.look(config), "disk room")[0] == "fail"


def test_postgresql(collector: Collector, postgres: Cluster) -> None:
    dsn = postgres.create("doctor")
    config = configured(collector, store={"engine": "postgresql", "dsn": dsn})
    assert state(store.look(config), "store")[0] == "warn", "no tables yet"
    collector.tables["store"] = {"engine": "postgresql", "dsn": dsn}
    with collector:
        assert state(store.look(config), "store, writing")[0] == "ok"
    away = configured(collector, store={"engine": "postgresql", "dsn": "host=/nonexistent dbname=x"})
    kind, text = state(store.look(away), "store")
    assert kind == "fail"
    assert text.startswith("PostgreSQL: ")


# ── the network ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [(0, "ok", "synchronized"), (5, "warn", "not synchronized by NTP"), (-1, "warn", "not known whether")],
)
def test_the_clock(answer: int, kind: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """-1 is the answer where a unit has ProtectClock=yes."""

    class Kernel:
        @staticmethod
        def adjtimex(_: object) -> int:
            return answer

    monkeypatch.setattr("ctypes.CDLL", lambda _: Kernel)
    found = network._clock()
    assert (found.state, found.text.startswith(says)) == (kind, True), found


def test_something_else_listens(collector: Collector) -> None:
    """A port that is open and speaks no TLS, and one that shows another certificate than the file has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = configured(collector, listen={"address": f"127.0.0.1:{other.getsockname()[1]}"})
        assert state(network.look(config), "listener for routers")[0] == "fail"
    with collector:
        another = collector.authority.named("another", ["collector"])
        config = configured(collector, listen={"certificate": str(another.certificate)})
        kind, text = state(network.look(config), "listener for routers")
        assert (kind, "shows another certificate" in text) == ("warn", True)


def test_a_listener_without_tls_is_said_to_be_none(collector: Collector) -> None:
    """The page's certificate is configured, and another program has its port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = threading.Thread(target=lambda: other.accept()[0].sendall(b"HTTP/1.1 400 \r\n\r\n" * 8))
        answer.start()
        config = configured(collector, page={"certificate": "/x", "key": "/x", "address": f"127.0.0.1:{port}"})
        kind, text = state(network.look(config), "fleet page")
        answer.join()
    assert kind == "fail"
    assert text == f"127.0.0.1:{port}: TLS failed (wrong version number); is the collector running?"


def test_the_api(collector: Collector) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = configured(collector, api={"address": address})
    assert state(network.look(config), "API") == ("fail", f"{address}: Connection refused; is the collector running?")
    collector.tables["api"] = {"address": address}
    with collector:
        assert state(network.look(config), "API")[0] == "ok"


def test_an_identity_provider_that_is_away(collector: Collector) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    config = configured(collector)
    oidc = dataclasses.replace(config.oidc, issuer=issuer, client_id="fleet")
    kind, text = state(network.look(dataclasses.replace(config, oidc=oidc)), "identity provider")
    assert (kind, text.startswith(f"{issuer}: ")) == ("fail", True)


# ── enrolment ───────────────────────────────────────────────────────────────────────────────────────


def enrolling(collector: Collector, **more: Any) -> dict[str, Any]:
    """[enrol] with the collector's own authority and certificate."""
    listen = collector.tables["listen"]
    own = {
        "address": f"127.0.0.1:{free_port()}", "certificate": listen["certificate"], "key": listen["key"],
        "ca": str(collector.authority.certificate), "ca_key": str(key_file(collector.authority)),
        "crl": listen["crl"], "metrics_address": "",
    }  # fmt: skip
    return {**own, **more}


def test_enrolment(collector: Collector) -> None:
    table = enrolling(collector)
    config = configured(collector, enrol=table)
    things = {one.thing: one.state for one in files.look(config, "x", NOW)}
    assert all(
        things[thing] == "ok" for thing in ("[enrol] certificate", "[enrol] ca", "[enrol] authority", "[enrol] key")
    )
    assert state(network.look(config), "enrolment") == (
        "fail", f"{table['address']}: Connection refused; is `collector est` running?",
    )  # fmt: skip
    with Collector(collector.folder / "est", collector.authority, "est", enrol=table):
        found = state(network.look(config), "enrolment")
        assert found == ("ok", f"{table['address']}: TLS, and it gives its authorities")
    assert not [one for one in network.look(configured(collector)) if one.thing == "enrolment"], "not configured"


def test_enrolment_that_the_listener_does_not_know(collector: Collector, tmp_path: Path) -> None:
    """What it issues is refused, or what it revokes is not."""
    other = Authority(tmp_path / "other", "Another")
    found = configured(collector, enrol=enrolling(collector, ca=str(other.certificate), ca_key=str(key_file(other))))
    kind, text = state(files.look(found, "x", NOW), "[listen] client_ca")
    assert (kind, text.endswith(": routers that enrol cannot report")) == ("fail", True)
    found = configured(collector, enrol=enrolling(collector), listen={"crl": ""})
    kind, text = state(files.look(found, "x", NOW), "[listen] crl")
    assert (kind, text.startswith("is empty: ")) == ("warn", True)
    found = configured(collector, enrol=enrolling(collector, crl=str(tmp_path / "elsewhere.pem")))
    kind, text = state(files.look(found, "x", NOW), "[listen] crl")
    assert (kind, text.startswith("is not [enrol] crl ")) == ("warn", True)


def test_an_authority_that_cannot_sign(collector: Collector, tmp_path: Path) -> None:
    wrong = configured(collector, enrol=enrolling(collector, ca_key=collector.tables["listen"]["key"]))
    kind, text = state(files.look(wrong, "x", NOW), "[enrol] authority")
    assert (kind, "does not belong to the first certificate of [enrol] ca" in text) == ("fail", True)
    table = enrolling(collector, ca_key="", crl="", sign_command=[str(tmp_path / "none")])
    kind, text = state(files.look(configured(collector, enrol=table), "x", NOW), "[enrol] sign_command")
    assert (kind, text) == ("fail", f"{tmp_path}/none: not a program that this user may run")
    # An authority that is near its end, and one of a factory.
    soon = configured(collector, enrol=enrolling(collector, factory_ca=str(collector.authority.certificate)))
    for thing in ("[enrol] ca", "[enrol] factory_ca"):
        assert state(files.look(soon, "x", NOW + datetime.timedelta(days=350)), thing)[0] == "warn"


def test_a_name_that_leads_nowhere(collector: Collector) -> None:
    config = configured(collector, page={"url": "https://nowhere.invalid"})
    kind, text = state(network.look(config), "public name")
    assert kind == "fail"
    assert text.startswith("nowhere.invalid: ")


def test_nats(collector: Collector) -> None:
    if streams.why_not():
        pytest.skip(streams.why_not())
    assert not [one for one in network.look(configured(collector)) if one.thing == "NATS"], "not configured"
    with streams.Streams() as running:
        tables = {"nats": {"servers": running.urls, "replicas": 3, "max_bytes": 1 << 20}}
        kind, text = state(network.look(configured(collector, **tables)), "NATS")
        assert (kind, "does not exist yet: `ingest` makes it" in text) == ("warn", True), text
        with Collector(collector.folder, collector.authority, "ingest", **tables):
            found = state(network.look(configured(collector, **tables)), "NATS")
            assert found == ("ok", "stream CPE_REPORTS takes messages")


@pytest.mark.parametrize(
    ("starttls", "expected", "says"),
    [
        ("off", "ok", "reached, in clear text"),
        ("required", "fail", "the relay does not offer STARTTLS"),
    ],
)
def test_the_relay(collector: Collector, starttls: str, expected: str, says: str) -> None:
    class Nothing:
        async def handle_DATA(self, *_: object) -> str:
            raise AssertionError("doctor sends no mail")

    controller = Controller(Nothing(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        mail = {"relay": f"127.0.0.1:{controller.port}", "from_address": "a@isp.example", "starttls": starttls}
        kind, text = state(network.look(configured(collector, mail=mail)), "mail relay")
        assert (kind, text) == (expected, f"127.0.0.1:{controller.port}: {says}")
    finally:
        controller.stop()
    kind, text = state(network.look(configured(collector, mail=mail)), "mail relay")
    assert (kind, text) == ("fail", f"127.0.0.1:{controller.port}: Connection refused")


def test_a_certificate_of_the_relay_that_cannot_be_verified(collector: Collector) -> None:
    """Its name is right, its authority is unknown; then the authority is named."""
    pair = collector.authority.server("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    controller = Controller(object(), hostname="127.0.0.1", port=free_port(), tls_context=context)
    controller.start()
    try:
        mail = {"relay": f"127.0.0.1:{controller.port}", "from_address": "a@isp.example"}
        kind, text = state(network.look(configured(collector, mail=mail)), "mail relay")
        assert (kind, "certificate: " in text) == ("fail", True), text
        mail["ca"] = str(collector.authority.certificate)
        kind, text = state(network.look(configured(collector, mail=mail)), "mail relay")
        assert (kind, text.endswith("reached, STARTTLS")) == ("ok", True), text
    finally:
        controller.stop()


def test_a_relay_where_tls_begins_at_once(collector: Collector) -> None:
    pair = collector.authority.server("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    controller = Controller(object(), hostname="127.0.0.1", port=free_port(), ssl_context=context)
    controller.start()
    try:
        mail = {"relay": f"127.0.0.1:{controller.port}", "from_address": "a@isp.example", "security": "tls"}
        mail["ca"] = str(collector.authority.certificate)
        kind, text = state(network.look(configured(collector, mail=mail)), "mail relay")
        assert (kind, text.endswith("reached, TLS at once")) == ("ok", True), text
    finally:
        controller.stop()
