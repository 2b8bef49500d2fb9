"""`cpe-filter enrol` where what it is given cannot be used: one line that says what, and nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpe_filter.enrol.command import Way, renew_at, run
from cpe_filter.lean.files import lock_folder
from cpe_filter.outcome import UsageError
from cpe_filter.report.certificate import Certificate
from tests.collect.ca import Authority
from tests.collect.enrol.isp import new_key, private
from tests.enrol.server import Router, Scripted, http


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(authority: Authority) -> Iterator[Scripted]:
    with Scripted(authority) as made:
        yield made


@pytest.fixture
def router(authority: Authority, tmp_path: Path) -> Router:
    return Router(tmp_path / "router", authority)


def refused(router: Router, way: Way, capsys: pytest.CaptureFixture[str]) -> str:
    before = router.state()
    assert run(router.policy, way, True) == 1
    assert router.state() == before
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("cpe-filter: enrol: ").removesuffix("; nothing has changed")


def test_no_identity_and_no_id(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    why = "there is no identity to show: no certificate, factory key or token"
    assert refused(router, Way(server.url, "", "cpe-0001"), capsys) == why
    with pytest.raises(UsageError, match="the router has no certificate yet; --id says its id"):
        run(router.policy, Way(server.url, ""), True)
    assert not [head for head in server.asked if head.startswith("POST")]


TOKENS = {
    "missing": (None, 0o600, "No such file or directory"),
    "for all to read": (b"secret", 0o644, "others can read or change it; allowed: 0600 or 0640"),
    "empty": (b"", 0o600, "not a token"),
    "white space": (b" \n", 0o600, "not a token"),
    "of two lines": (b"a\nb", 0o600, "not a token"),
    "binary": (b"\0\xff", 0o600, "not a token"),
}


@pytest.mark.parametrize("what", TOKENS)
def test_tokens(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str], what: str) -> None:
    data, mode, why = TOKENS[what]
    path = router.folder / "other-token"
    if data is not None:
        path.write_bytes(data)
        path.chmod(mode)
    assert refused(router, Way(server.url, "", "cpe-0001", token=str(path)), capsys) == f"{path}: {why}"
    assert server.asked == []


KEYS = {
    "missing": (None, 0o600, "No such file or directory"),
    "for all to read": (private(new_key()), 0o644, "others can read or change it; allowed: 0600 or 0640"),
    "not a key": (b"x", 0o600, "not a private key in PEM without a passphrase"),
    "a certificate": (b"-----BEGIN CERTIFICATE-----\nAAAA\n", 0o600, "not a private key in PEM without a passphrase"),
}


@pytest.mark.parametrize("what", KEYS)
def test_keys_of_the_factory(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str], what: str) -> None:
    data, mode, why = KEYS[what]
    path = router.folder / "factory.key"
    if data is not None:
        path.write_bytes(data)
        path.chmod(mode)
    server.answers["simpleenroll"] = http(b"who?", "401 No", "", 'WWW-Authenticate: CPE-Factory nonce="00aa"')
    assert refused(router, Way(server.url, "", "cpe-0001", factory_key=str(path)), capsys) == f"{path}: {why}"
    # As a key of a certificate.
    way = Way(server.url, "", "cpe-0001", factory_certificate=router.ca, factory_key=str(path))
    if what != "for all to read":
        assert refused(router, way, capsys).startswith(f"{router.ca}, {path}: ")


def test_a_server_that_asks_for_no_factory_key(
    router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 401 without a nonce is its answer; a certificate without any proof is not taken."""
    path = router.folder / "factory.key"
    path.touch(0o600)
    path.write_bytes(private(new_key()))
    way = Way(server.url, "", "cpe-0001", factory_key=str(path))
    server.answers["simpleenroll"] = http(b"who?", "401 No", "")
    assert refused(router, way, capsys) == f"{server.url}: answered 401: who?"
    del server.answers["simpleenroll"]
    assert refused(router, way, capsys) == f"{server.url}: asked for no factory key"


def test_authorities_that_cannot_be_read(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    for path, why in ((router.folder / "none", "No such file or directory"), (router.token, "no certificates in PEM")):
        way = Way(server.url, str(path), "cpe-0001", token=str(router.token))
        assert refused(router, way, capsys) == f"{path}: {why}"
    assert server.asked == []


def test_one_at_a_time(router: Router, server: Scripted) -> None:
    lock = lock_folder(str(router.folder), 0.0)
    try:
        with pytest.raises(UsageError, match="already running"):
            router.enrol(server.url)
    finally:
        os.close(lock)
    assert router.enrol(server.url) == 0


def test_a_key_that_a_power_cut_has_damaged(router: Router, server: Scripted) -> None:
    """Of the next pair: another takes its place."""
    for damage in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA", b"\0" * 300):
        (router.folder / "router.pem.next").write_bytes(damage)
        assert router.enrol(server.url) == 0
        assert b"PRIVATE KEY" in router.pem.read_bytes()


def test_a_pair_that_does_not_belong_together(router: Router, server: Scripted, authority: Authority) -> None:
    """It cannot be shown; the token is, and the new pair replaces both."""
    one, other = authority.router("cpe-0001"), authority.router("other")
    router.pem.write_bytes(one.certificate.read_bytes())
    router.key.touch(0o600)
    router.key.write_bytes(other.key.read_bytes())
    assert router.enrol(server.url) == 0
    assert "Authorization: Basic" in server.asked[-1]
    assert router.key.resolve() == router.pem


@given(st.text("abc019-._", min_size=1, max_size=20), st.integers(0, 4 * 10**9), st.integers(1, 10**9))
def test_when_it_is_renewed(name: str, begins: int, life: int) -> None:
    """After two thirds of its life, and before three quarters: always the same time for a router."""
    at = renew_at(Certificate(name, begins, begins + life), name)
    assert begins + life * 2 / 3 <= at + 1 <= begins + life * 3 / 4 + 2
    assert at == renew_at(Certificate(name, begins, begins + life), name)
