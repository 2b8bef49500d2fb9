"""The section `enrol`: what it may say, and what the service is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.uci import places
from cpe_filter.uci.enrol import Enrol, read, started
from cpe_filter.uci.export import Section
from cpe_filter.uci.options import OptionError
from tests.policies import make_policy

URL = "https://collector.isp.example:8444"


def section(**options: str | list[str]) -> Section:
    return Section("enrol", "enrol", dict(options))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "ROOT", str(tmp_path))
    return tmp_path


def address(root: Path, interface: str, mac: str) -> None:
    path = root / f"sys/class/net/{interface}/address"
    path.parent.mkdir(parents=True)
    path.write_text(f"{mac}\n")


def test_defaults_and_values() -> None:
    assert read(section()) == Enrol(True, "", "", "", "", "", "", 60)
    found = read(
        section(
            url=URL,
            ca="/ca.pem",
            id="cpe-0001",
            factory_key="/k",
            factory_certificate="/c",
            token="/t",
            splay_minutes="0",
        )
    )
    assert found == Enrol(True, URL, "/ca.pem", "cpe-0001", "/k", "/c", "/t", 0)
    assert read(section(url=URL, enabled="no")) == Enrol(False, URL)


@pytest.mark.parametrize(
    "url", ["https://a", "https://a/", "https://[2001:db8::1]:8444", "https://[::1]", "https://a:1"]
)
def test_servers(url: str) -> None:
    assert read(section(url=url)).url == url


@pytest.mark.parametrize(
    "url",
    [
        *("http://a", "https://", "https://a/b", "https://a:0", "https://a:65536", "https://a:x", "https://u@a"),
        *("https://a b", "https://a\nb", "https://\u00e4", "https://a?b", "https://:8444", f"https://{'a' * 1020}"),
    ],
)
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(OptionError, match=r"^cpe-filter\.enrol\.url is .*; allowed: "):
        read(section(url=url))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"key": "/k"}, "cpe-filter.enrol.key: unknown option; known: enabled url ca id factory_key"),
        ({"url": [URL]}, "cpe-filter.enrol.url is a list; expected one value"),
        ({"enabled": "2"}, 'cpe-filter.enrol.enabled is "2"; allowed: 0, 1'),
        ({"id": "-x"}, 'cpe-filter.enrol.id is "-x"; allowed: letters, digits and . _ : @ -, a letter or digit first'),
        ({"id": "a b"}, "allowed: letters, digits"),
        ({"id": "a" * 65}, "allowed: 1 to 64 printable ASCII characters"),
        ({"id": "\u0661"}, "allowed: 1 to 64 printable ASCII characters"),
        ({"factory_key": "k"}, 'factory_key is "k"; allowed: the path of the factory\'s private key (PEM)'),
        ({"factory_certificate": "/c"}, 'factory_certificate is "/c"; allowed: only with factory_key'),
        ({"token": "secret"}, 'token is "secret"; allowed: the path of a file with a one-time token'),
        ({"ca": "/a\n--now"}, "allowed: the path of a file of certificates (PEM)"),
        ({"splay_minutes": "1441"}, "allowed: a whole number from 0 to 1440 (minutes)"),
    ],
)
def test_mistakes(options: dict[str, str | list[str]], error: str) -> None:
    with pytest.raises(OptionError) as raised:
        read(section(**options))
    assert error in str(raised.value)


def test_what_it_is_started_with(root: Path) -> None:
    address(root, "br-lan", "02:00:00:12:34:56")
    policy = make_policy(report_certificate=str(root / "router.pem"))
    line, words = started(read(section(url=URL, id="cpe-1", factory_key="/k $(id)", splay_minutes="0")), policy)
    assert line == "enrol 21600 0"
    assert words == [
        *("enrol", f"--policy={root}/var/run/cpe-filter/policy.toml", f"--url={URL}", "--id=cpe-1"),
        "--factory-key=/k $(id)",
    ]
    assert started(read(section(url=URL, enabled="0")), policy) == started(read(section()), policy) == ("", [])


def test_each_router_has_its_own_second(root: Path) -> None:
    firsts = [int(started(Enrol(url=URL, id=f"cpe-{n}"), make_policy())[0].split()[2]) for n in range(500)]
    assert (min(firsts) < 60, max(firsts) > 3540, max(firsts) < 3600) == (True, True, True)
    assert len(set(firsts)) > 400


def test_before_its_first_certificate_a_router_is_called_by_its_mac(root: Path) -> None:
    policy = make_policy(report_certificate=str(root / "router.pem"), network_lan=("lan1", "lan2"))
    wanted = Enrol(url=URL)
    assert started(wanted, policy) == ("", [])  # no interface is there yet
    address(root, "lan1", "00:00:00:00:00:00")
    assert started(wanted, policy) == ("", [])
    address(root, "lan2", "02:00:00:AB:CD:EF")
    assert "--id=020000abcdef" in started(wanted, policy)[1]
    address(root, "br-lan", "02:00:00:00:00:01")
    assert "--id=020000000001" in started(wanted, policy)[1]
    (root / "router.pem").write_text("")
    assert not [word for word in started(wanted, policy)[1] if word.startswith("--id")]
