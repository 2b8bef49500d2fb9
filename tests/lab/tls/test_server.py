"""The lab's server that notes what TLS shows: records are cut as they are on the wire, and a session is noted whole."""

from __future__ import annotations

import json
import smtplib
import ssl
import threading
from argparse import Namespace
from pathlib import Path

import pytest

from tests.lab.peers import Certificate
from tests.lab.tls.__main__ import cipher_list, fingerprints_table
from tests.lab.tls.server import Handler, Server, records


@pytest.mark.parametrize("cut", range(12))
def test_records_come_in_any_pieces(cut: int) -> None:
    data = b"\x16\x03\x01\x00\x02hi" + b"\x17\x03\x03\x00\x00"
    first, rest = records(data[:cut])
    second, rest = records(rest + data[cut:])
    assert first + second == [(22, 2), (23, 0)]
    assert rest == b""


@pytest.mark.parametrize("oldest", [False, True])
def test_a_session_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, oldest: bool) -> None:
    files = Certificate(tmp_path).files
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    if oldest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    log = tmp_path / "log"
    monkeypatch.setattr(Handler, "options", Namespace(log=str(log), breaks=False), raising=False)
    monkeypatch.setattr(Handler, "context", context, raising=False)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # the end waits for them
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with smtplib.SMTP("127.0.0.1", server.server_address[1], timeout=20) as smtp:
            smtp.starttls()
            refused = smtp.sendmail(
                "a@home.example", ["nobody@b.example", "ben@b.example"], "Subject: x\n\n" + 900 * "x"
            )
        server.shutdown()
    noted = json.loads(log.read_text())
    assert [*refused] == ["nobody@b.example"]
    assert noted["refused"] == ["550"]
    assert noted["messages"] == 1
    assert noted["ja4"].startswith("t13")
    sizes = [size for way, kind, size in noted["records"] if (way, kind) == (">", 23)]
    assert max(sizes) > 900


def test_a_table_counts_fingerprints_and_lists() -> None:
    one, resumed, other = "t13i87_aa_bb", "t13i87_aa_cc", "t12i28_dd_bb"
    assert cipher_list(one) == "aa"
    lines = list(fingerprints_table({"p": {"TLS 1.3": [one, resumed], "TLS 1.2": [one]}, "q": {"TLS 1.3": [other]}}))
    assert lines[0].split() == ["p", "2", "JA4,", "1", "lists"]
    assert lines[1].strip() == f"TLS 1.3: {one} x1, {resumed} x1"
    assert lines[-1] == "2 programs, 3 JA4, 2 lists; programs with each list: {'aa': 1, 'dd': 1}"
