"""The key and the certificate on flash: what is there after each step, and after a power cut between any two."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest

from cpe_filter.enrol.pair import Pair
from tests.collect.ca import Authority
from tests.power_cut import PowerCutError, power_cut


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def pair_of(authority: Authority, name: str) -> tuple[bytes, bytes]:
    made = authority.router(name)
    return made.key.read_bytes(), made.certificate.read_bytes()


def belongs_together(it: Pair) -> bool:
    """As TLS sees it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(it.certificate, it.key)
    return True


def place(folder: Path, one_file: bool = False) -> Pair:
    folder.mkdir(mode=0o700)
    certificate = str(folder / "router.pem")
    return Pair(certificate, certificate if one_file else str(folder / "router.key"))


@pytest.mark.parametrize("one_file", [False, True])
def test_the_first_pair_and_the_next(authority: Authority, tmp_path: Path, one_file: bool) -> None:
    it = place(tmp_path / "etc", one_file)
    assert it.held() is None
    for name in ("cpe-1", "cpe-2"):
        key, certificate = pair_of(authority, name)
        it.begin(key)
        assert it.pending() == key
        it.finish(certificate)
        assert it.pending() is None
        held = it.held()
        assert held is not None
        assert held.name == name
        assert belongs_together(it)
    assert stat.S_IMODE(os.stat(it.certificate).st_mode) == 0o600
    assert sorted(os.listdir(tmp_path / "etc")) == (["router.pem"] if one_file else ["router.key", "router.pem"])


STARTS = ("nothing", "one file", "two files", "a key alone", "a certificate alone")


@pytest.mark.parametrize("start", STARTS)
def test_a_power_cut_at_every_write(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    old, new = pair_of(authority, "old"), pair_of(authority, "new")
    for cut in range(16):
        it = place(tmp_path / str(cut))
        if start == "one file":
            it.begin(old[0])
            it.finish(old[1])
        elif start == "two files":
            Path(it.certificate).write_bytes(old[1])
        if start == "a certificate alone":
            Path(it.certificate).write_bytes(old[1])
        if start in ("two files", "a key alone"):
            Path(it.key).write_bytes(old[0])
            Path(it.key).chmod(0o600)
        with power_cut(monkeypatch, cut, "unlink", "symlink", "replace"):
            try:
                it.begin(new[0])
                it.finish(new[1])
                whole = True
            except PowerCutError:
                whole = False
        if start in ("one file", "two files") or it.held() is not None:
            held = it.held()
            assert held is not None, cut
            assert held.name in ("old", "new"), cut
            assert belongs_together(it), cut
        # After the restart it goes on.
        if not whole:
            if it.pending() is None:
                it.begin(new[0])
            it.finish(new[1])
        held = it.held()
        assert held is not None
        assert held.name == "new"
        assert belongs_together(it)
        if whole:
            assert cut > 2
            break
    else:
        pytest.fail("the steps did not end")
