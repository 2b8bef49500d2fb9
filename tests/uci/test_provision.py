"""The section `provision`: what it may say, and what the service is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.uci import places, provision
from cpe_filter.uci.export import Section
from cpe_filter.uci.options import OptionError
from cpe_filter.uci.provision import Provision, arguments, lines, read

URL = "https://policy.isp.example/routers.signed"


def section(**options: str | list[str]) -> Section:
    return Section("provision", "provision", dict(options))


def test_defaults_and_values() -> None:
    assert read(section()) == Provision(True, (), "", 24, 60, "")
    found = read(section(url=[URL, f"{URL}2"], ca="/etc/ca.pem", every_hours="6", splay_minutes="0", region="north"))
    assert found == Provision(True, (URL, f"{URL}2"), "/etc/ca.pem", 6, 0, "north")
    assert read(section(url=URL, enabled="off")) == Provision(False, (URL,))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"urls": URL}, "cpe-filter.provision.urls: unknown option; known: enabled url ca"),
        ({"region": ["a", "b"]}, "cpe-filter.provision.region is a list; expected one value"),
        ({"enabled": "maybe"}, 'cpe-filter.provision.enabled is "maybe"; allowed: 0, 1'),
        ({"url": "http://x/y"}, 'cpe-filter.provision.url is "http://x/y"; allowed: https://HOST/PATH'),
        ({"url": "https:///y"}, 'cpe-filter.provision.url is "https:///y"; allowed: https://HOST/PATH'),
        ({"url": [URL] * 9}, "cpe-filter.provision.url has 9 addresses; allowed: at most 8"),
        ({"url": "https://x/\u00e4"}, "allowed: https://HOST/PATH"),
        ({"ca": "ca.pem"}, 'cpe-filter.provision.ca is "ca.pem"; allowed: the path of a file of certificates (PEM)'),
        ({"ca": "/a\n--out=/etc/passwd"}, "allowed: the path of a file of certificates (PEM)"),
        ({"region": "a\nb"}, "allowed: 1 to 64 printable ASCII characters"),
        ({"every_hours": "0"}, 'every_hours is "0"; allowed: a whole number from 1 to 720 (hours)'),
        ({"every_hours": "-1"}, "allowed: a whole number from 1 to 720 (hours)"),
        ({"splay_minutes": "1441"}, "allowed: a whole number from 0 to 1440 (minutes)"),
    ],
)
def test_mistakes(options: dict[str, str | list[str]], error: str) -> None:
    with pytest.raises(OptionError) as raised:
        read(section(**options))
    assert error in str(raised.value)


def test_each_router_has_its_own_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = read(section(url=URL, every_hours="6"))
    first = [int(lines(wanted, f"cpe-{n}")[0].split()[2]) for n in range(500)]
    assert (min(first) < 60, max(first) > 3540, max(first) < 3600) == (True, True, True)
    assert len(set(first)) > 400
    assert lines(wanted, "cpe-1") == lines(wanted, "cpe-1")
    assert lines(wanted, "cpe-1")[0].startswith("fetch 21600 ")
    monkeypatch.setattr(places, "ROOT", str(tmp_path))  # without a certificate: by its MAC
    address = tmp_path / provision._ADDRESS[1:]
    address.parent.mkdir(parents=True)
    found = set()
    for mac in ("02:00:00:00:00:01\n", "02:00:00:00:00:02\n"):
        address.write_text(mac)
        found |= {*lines(wanted, "")}
    assert len(found) == 2
    assert lines(read(section()), "cpe-1") == []
    assert lines(read(section(url=URL, enabled="0")), "cpe-1") == []


def test_arguments_are_one_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ROOT", str(tmp_path))
    words = arguments(read(section(url=URL, region="$(reboot) --out=/x")))
    assert words[:3] == ["policy", "fetch", URL]
    assert words[-1] == "--region=$(reboot) --out=/x"
    assert not [word for word in words if word.startswith("--model")]
    board = tmp_path / provision._MODEL[1:]
    board.parent.mkdir(parents=True)
    board.write_text("glinet,gl-mt300n-v2\n")
    assert arguments(read(section(url=URL)))[-1] == "--model=glinet,gl-mt300n-v2"
    board.write_text("a\nb\n")
    assert arguments(read(section(url=URL)))[-1].startswith("--service=")
