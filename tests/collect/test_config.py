"""The configuration file: what is taken, and how errors are said."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.config.file import ConfigError, build, load
from cpe_filter.collect.config.keys import KEYS, TABLES
from cpe_filter.collect.config.model import Config
from tests.collect.ca import Authority
from tests.collect.running import Collector, toml
from tests.lab.net import DEADLINE_S, PROJECT

LEAST: dict[str, Any] = {"listen": {"certificate": "/c", "key": "/k", "client_ca": "/a"}}


def test_every_key_has_a_field_and_a_valid_default() -> None:
    tables = [field.name for field in dataclasses.fields(Config) if field.name != "renamed"]
    assert list(TABLES) == tables
    for table in tables:
        assert list(TABLES[table]) == [field.name for field in dataclasses.fields(getattr(Config(), table))]
    for key in KEYS:
        default = key.value(Config())
        assert key.read(list(default) if isinstance(default, tuple) else default) == default, key
        assert key.meaning.endswith("."), key


def test_values_arrive_in_their_table() -> None:
    data = {**LEAST, "limits": {"body_s": 7}, "nats": {"servers": ["tls://a:1", "tls://b:2"]}}
    config = build(data, "f")
    assert (config.limits.body_s, config.limits.idle_s) == (7, 30)
    assert config.nats.servers == ("tls://a:1", "tls://b:2")
    assert config.listen.client_ca == "/a"
    assert config.renamed == ()


def test_cases_may_be_kept_as_long_as_incidents() -> None:
    assert build(changed("retention", case_days=400), "f").retention.case_days == 400


def test_old_names_are_accepted_and_reported() -> None:
    config = build({"listen": {**LEAST["listen"], "max_of_one": 9}, "hop": {"address": "127.0.0.1:9"}}, "f")
    assert (config.listen.max_per_source, config.tls_proxy.address) == (9, "127.0.0.1:9")
    assert config.renamed == ("[hop] is now [tls_proxy]", "[listen] max_of_one is now [listen] max_per_source")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**LEAST, "hop": {}, "tls_proxy": {}}, "f: [hop] is the old name of [tls_proxy]; use [tls_proxy] alone"),
        (
            {"listen": {**LEAST["listen"], "max_of_one": 1, "max_per_source": 1}},
            "f: [listen] max_of_one is the old name of [listen] max_per_source",
        ),
        (
            {"listen": {**LEAST["listen"], "max_of_one": 0}},
            "f: [listen] max_per_source is 0; allowed: a whole number",
        ),
    ],
)
def test_old_names_are_checked_like_the_new_ones(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        build(data, "f")


def test_an_error_names_what_the_file_calls_by_an_old_name() -> None:
    """Its text has the new name, which the file does not have."""
    with pytest.raises(ConfigError, match=re.escape("[tls_proxy] header is 1;")) as caught:
        build({**LEAST, "hop": {"header": 1}}, "f")
    assert str(caught.value).endswith(" ([hop] is now [tls_proxy])")
    with pytest.raises(ConfigError) as caught:
        build({**LEAST, "tls_proxy": {"header": 1}}, "f")
    assert "is now" not in str(caught.value)


def test_least_configuration() -> None:
    config = build(LEAST, "f")
    assert (config.store.engine, config.retention.evidence_days) == ("sqlite", 7)
    assert config.tls_proxy.trusted == ("127.0.0.1/32", "::1/128")


def changed(table: str, **keys: Any) -> dict[str, Any]:
    return {**LEAST, table: {**LEAST.get(table, {}), **keys}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "f: [listen] certificate is missing"),
        ({"lisen": {}}, 'f: unknown table or key "lisen"; did you mean [listen]?'),
        ({"listen": 1}, "f: listen is 1; expected a table [listen]"),
        (changed("listen", adress="x"), 'f: [listen] unknown key "adress"; did you mean address?'),
        (changed("listen", address="localhost:1"), 'f: [listen] address is "localhost:1"; allowed: 192.0.2.1:8443'),
        (changed("listen", address="[::1]:70000"), "allowed: 192.0.2.1:8443"),
        (changed("listen", address="::1:8443"), "allowed: 192.0.2.1:8443"),
        (changed("listen", address="unix:/x"), "use [tls_proxy] for that"),
        (changed("listen", address=""), "configure a listener for routers"),
        (changed("listen", id_from="mac"), "allowed: cn, san-dns, san-uri"),
        (changed("listen", certificate="c.pem"), "allowed: an absolute path"),
        (changed("listen", reuse_port=1), "allowed: true, false"),
        (changed("tls_proxy", trusted=["10.0.0.1/8"]), "allowed: a list of networks"),
        (changed("tls_proxy", trusted="10.0.0.0/8"), "allowed: a list of networks"),
        (changed("tls_proxy", header="X Y"), "the name of a header"),
        (changed("tls_proxy", address_header="x-router-id"), "are the same"),
        (changed("store", engine="mysql"), 'is "mysql"; allowed: sqlite, postgresql'),
        (changed("store", engine="postgresql"), "[store] dsn is missing"),
        (changed("store", path=""), "[store] path is missing"),
        (changed("limits", reports_burst=0), "allowed: a whole number from 1 to 100000 (reports)"),
        (changed("limits", reports_burst=True), "is true"),
        (changed("limits", reports_burst=10**40), "huge"),
        (changed("nats", servers=[]), "a list of nats://host:port"),
        (changed("nats", servers=["http://x:1"]), "a list of nats://host:port"),
        (changed("answer", policy_version="<b>"), "letters, digits"),
        (changed("retention", case_days=500), "case_days is more than incident_days"),
        (
            changed("subscribers", file="/m", url="https://x.example/{router}"),
            "file and url are both set",
        ),
        (changed("subscribers", url="https://x.example/"), "with {router} in it"),
        (changed("subscribers", url="http://x.example/{router}"), "an https URL (http on this machine only)"),
        (changed("subscribers", url="http://127.0.0.1.x.example/{router}"), "an https URL"),
        (changed("subscribers", url="http://localhost@x.example/{router}"), "an https URL"),
        (changed("webhook", url="http://x.example/"), "an https URL (http on this machine only)"),
        (changed("webhook", url="https://user:pw@x.example/"), "an https URL"),
        (changed("webhook", url="file:///etc/passwd"), "an https URL"),
        (changed("webhook", url="https://x.example/"), "[webhook] secret_file is missing"),
        (changed("export", contact="abuse"), "an e-mail address"),
        (changed("export", domain="isp"), "allowed: a domain"),
        (changed("export", org="a\nb"), "at most 200 characters"),
        (changed("log", level="loud"), "info, debug, warning, error"),
    ],
)
def test_errors_say_what_is_allowed(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(data, "f")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff", b"[", b"a = " + b"[" * 5000, b"#" * (1 << 21)])
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml"):
        load(str(path))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cpe_filter", "collector", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=DEADLINE_S)


def test_check(tmp_path: Path) -> None:
    collector = Collector(tmp_path / "c", Authority(tmp_path / "ca"), "check")
    collector.write()
    done = run("--config", str(collector.config), "check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{collector.config}: good. TLS at 127.0.0.1:")
    assert done.stdout.endswith("store sqlite, 0 certificates revoked.\n")


def test_check_says_all_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "collector.toml"
    path.write_text('[listen]\naddres = "x"\n[store]\nengine = "oracle"\n[mail]\nautomatic = true\n')
    done = run("check", "--config", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    wanted = (
        "[listen] unknown key",
        '[store] engine is "oracle"',
        "[listen] certificate is missing",
        "[mail] autom",
    )
    for line, begin in zip(done.stderr.splitlines(), wanted, strict=True):
        assert line.startswith(f"cpe-filter: {path}: {begin}"), line


@pytest.mark.parametrize("what", ["certificate", "key", "client_ca", "crl"])
@pytest.mark.parametrize("command", ["check", "run"])
def test_unusable_files_are_one_line(tmp_path: Path, what: str, command: str) -> None:
    collector = Collector(tmp_path / "c", Authority(tmp_path / "ca"))
    wrong = tmp_path / "wrong"
    for content in (b"rubbish", None):
        if content is None:
            wrong.unlink()
        else:
            wrong.write_bytes(content)
        collector.tables["listen"][what] = str(wrong)
        collector.config.write_text(toml(collector.tables))
        done = run("--config", str(collector.config), command)
        assert done.returncode == 2
        assert [line for line in done.stderr.splitlines() if not line.startswith("{")] == [
            line for line in done.stderr.splitlines() if line.startswith("cpe-filter: ") and str(wrong) in line
        ]
        assert "Traceback" not in done.stderr
        assert str(wrong) in done.stderr


def test_store_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    collector = Collector(tmp_path / "c", Authority(tmp_path / "ca"), store={"path": "/nonexistent/c.db"})
    collector.write()
    for command in ("run", "migrate", "retain"):
        done = run("--config", str(collector.config), command)
        assert (done.returncode, done.stderr) == (2, "cpe-filter: /nonexistent/c.db: No such file or directory\n")


def test_address_that_is_taken_is_one_line(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with Collector(tmp_path / "c", authority) as first:
        second = Collector(tmp_path / "d", authority, listen={"address": f"127.0.0.1:{first.port}"})
        second.write()
        done = run("--config", str(second.config))
        assert done.returncode == 2
        assert done.stderr.endswith(f"cpe-filter: 127.0.0.1:{first.port}: Address already in use\n")
        assert "Traceback" not in done.stderr


def test_migrate_and_retain(tmp_path: Path) -> None:
    collector = Collector(tmp_path / "c", Authority(tmp_path / "ca"))
    collector.write()
    for command, event in (("migrate", "schema is up to date"), ("retain", "retention")):
        done = run("--config", str(collector.config), command)
        assert done.returncode == 0
        assert f'"event": "{event}"' in done.stderr
