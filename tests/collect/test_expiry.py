"""When certificates expire, as /metrics has it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509

from cpe_filter.collect import expiry
from cpe_filter.collect.config.file import build
from cpe_filter.collect.metrics import Metrics
from tests.collect.ca import Authority
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S

NAME = "cpe_collector_certificate_ends_seconds"


def test_the_first_of_a_file_counts(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.router("r", ends=3)
    path = tmp_path / "both.pem"
    path.write_bytes(authority.certificate.read_bytes() + pair.certificate.read_bytes())
    ends = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).not_valid_after_utc
    assert expiry.ends(str(path)) == ends.timestamp()


def test_a_file_that_cannot_be_read_keeps_its_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority, metrics = Authority(tmp_path), Metrics()
    files = {"listen": str(authority.certificate), "page": str(tmp_path / "none")}
    expiry.look(files, metrics)
    before = metrics.registry.get_sample_value(NAME, {"file": "listen"})
    assert before is not None
    assert before > time.time() + 300 * 86400
    assert metrics.registry.get_sample_value(NAME, {"file": "page"}) in (None, 0)
    for text in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        authority.certificate.write_text(text)
        expiry.look(files, metrics)
        assert metrics.registry.get_sample_value(NAME, {"file": "listen"}) == before
    assert [record.getMessage() for record in caplog.records] == ["certificate file"] * 5


def test_which_files(tmp_path: Path) -> None:
    pair = {"certificate": "/c", "key": "/k"}
    tables = {
        "listen": {"address": "127.0.0.1:1", "client_ca": "/a", **pair},
        "page": {"address": "127.0.0.1:2", "login": "proxy"},
        "api": {"address": "127.0.0.1:3", "certificate": "/d", "key": "/k"},
        "enrol": {"address": "127.0.0.1:4", "certificate": "/e", "key": "/k", "ca": "/f", "ca_key": "/k"},
    }
    config = build(tables, "x")
    assert expiry.of_services(config) == {"client_ca": "/a", "listen": "/c", "api": "/d"}
    assert expiry.of_enrolment(config) == {"enrol": "/e", "enrol_ca": "/f"}


def test_a_running_collector_says_it(tmp_path: Path) -> None:
    with Collector(tmp_path / "c", Authority(tmp_path / "ca")) as collector:
        end = time.monotonic() + DEADLINE_S
        while not {f'{NAME}{{file="listen"}}', f'{NAME}{{file="client_ca"}}'} <= (found := collector.metrics()).keys():
            assert time.monotonic() < end
            time.sleep(0.1)
        left = found[f'{NAME}{{file="listen"}}'] - time.time()
        assert 29 * 86400 < left <= 30 * 86400
