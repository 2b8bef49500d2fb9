"""The templates for OpenWISP, rendered by its netjsonconfig: the UCI translator makes the expected policy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from netjsonconfig import OpenWrt

from cpe_filter.signed import signify
from cpe_filter.uci import export, making
from cpe_filter.uci.enrol import Enrol
from cpe_filter.uci.making import Made, Sources
from cpe_filter.uci.provision import Provision
from cpe_filter.uci.tables import UciError
from tests.signed.making import key
from tests.uci.router import FIREWALL, LAN, WAN

FOLDER = Path(__file__).parents[2] / "packaging" / "openwisp"
PAGE = Path(__file__).parents[2] / "docs" / "openwisp.md"
DESK = key("desk").public.decode().splitlines()[1]
VARIABLES = {
    "mail_filter_version": "north-7",
    "mail_filter_mode": "limit",
    "mail_relay_ipv4": "192.0.2.25",
    "mail_relay_ipv6": "2001:db8::25",
    "notice_language": "de",
    "provider": "Example ISP",
    "help_url": "https://help.isp.example/mail",
    "collector_url": "https://collector.isp.example",
    "collector_ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    "policy_key": DESK,
    "detector_key": DESK,
    "desk_key": DESK,
    "id": "7c3a0b9e-1f7e-4b0e-9a38-3f0f4f6f2a11",
    "enrol_url": "https://collector.isp.example:8444",
    "factory_key": "/etc/factory.key",
    "policy_url": "https://policy.isp.example/routers.signed",
    "table_url": "https://policy.isp.example/table.signed",
    "region": "north",
}
_VARIABLE = re.compile(r"{{ (\w+) }}")


def rendered(name: str, **variables: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """The package cpe-filter as `uci export` prints it, and mode and content of each file by path."""
    template = json.loads((FOLDER / name).read_text())
    made = OpenWrt(template, context=variables)
    made.validate()
    text: str = made.render(files=False)
    files = {one["path"]: (one["mode"], one["contents"]) for one in made.config["files"]}
    return text, files


def policy(text: str) -> Made:
    found = sources(text)
    return making.make(found, making.configured(found))


def sources(text: str) -> Sources:
    texts = {"network": LAN + WAN, "firewall": "".join(FIREWALL), "dhcp": ""}
    exports = {"cpe-filter": text, **{name: f"package {name}\n\n{body}" for name, body in texts.items()}}
    return Sources(exports, json.dumps({"interface": []}), {})


def test_the_policy_is_the_expected_one() -> None:
    made = policy(rendered("cpe-filter.json", **VARIABLES)[0])
    got = made.policy
    assert not made.notes
    assert (got.filter.version, got.filter.mode, got.filter.fail) == ("north-7", "limit", "open")
    assert tuple(map(str, got.network.relays)) == ("192.0.2.25/32", "2001:db8::25/128")
    assert (got.network.lan, got.network.wan) == (("br-lan",), ("eth1",))
    assert (got.notice.language, got.notice.provider) == ("de", "Example ISP")
    assert got.notice.help_url == "https://help.isp.example/mail"
    assert got.report.url == "https://collector.isp.example"
    assert (got.report.ca, got.report.key) == ("/etc/cpe-filter/collector-ca.pem", "/etc/cpe-filter/router.key")


def test_certificate_and_documents_are_got_as_expected() -> None:
    found = sources(rendered("cpe-filter.json", **VARIABLES)[0])
    assert making.enrolled(found) == Enrol(
        url=VARIABLES["enrol_url"], id=VARIABLES["id"], factory_key=VARIABLES["factory_key"]
    )
    assert making.provisioned(found) == Provision(
        urls=(VARIABLES["policy_url"], VARIABLES["table_url"]), region="north"
    )
    without = ("enrol_url", "factory_key", "policy_url", "table_url", "region")
    found = sources(rendered("cpe-filter.json", **{**VARIABLES, **dict.fromkeys(without, "")})[0])
    making.configured(found)  # which refuses what cannot be used
    assert making.enrolled(found) == Enrol(id=VARIABLES["id"])
    assert making.provisioned(found) == Provision()


@pytest.mark.parametrize("gone", ["mail_relay_ipv6", "provider", "help_url", "collector_url", "mail_filter_version"])
def test_what_an_isp_does_not_have_is_left_empty(gone: str) -> None:
    made = policy(rendered("cpe-filter.json", **{**VARIABLES, gone: ""})[0])
    assert made.policy.filter.mode == "limit"
    assert len(made.policy.network.relays) == (1 if gone == "mail_relay_ipv6" else 2)


def test_files_are_where_the_filter_looks_for_them() -> None:
    _, files = rendered("cpe-filter.json", **VARIABLES)
    assert set(files) == {
        "/etc/cpe-filter/collector-ca.pem",
        *(f"/etc/cpe-filter/keys/{purpose}/isp.pub" for purpose in ("policy", "detector", "desk")),
    }
    assert {mode for mode, _ in files.values()} == {"0644"}
    assert files["/etc/cpe-filter/collector-ca.pem"][1] == VARIABLES["collector_ca"] + "\n"
    found = signify.public_key(files["/etc/cpe-filter/keys/desk/isp.pub"][1].encode())
    assert found == signify.public_key(key("desk").public)
    _, files = rendered("cpe-filter-certificate.json", router_certificate="CERT", router_key="KEY")
    assert files["/etc/cpe-filter/router.pem"] == ("0644", "CERT\n")
    assert files["/etc/cpe-filter/router.key"] == ("0600", "KEY\n")


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"mail_filter_mode": "off"}, "filter.mode is"),
        ({"mail_relay_ipv4": "mx.isp.example"}, "network.relays"),
        ({"collector_url": "http://collector.isp.example"}, "report.url"),
        ({"notice_language": "xx"}, "notice.language"),
        ({"enrol_url": "http://collector.isp.example"}, "enrol.url"),
        ({"policy_url": "policy.isp.example"}, "provision.url"),
    ],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], problem: str) -> None:
    with pytest.raises(UciError, match=problem):
        policy(rendered("cpe-filter.json", **{**VARIABLES, **variables})[0])


def test_a_variable_that_nothing_sets_is_refused() -> None:
    """netjsonconfig leaves it as it is."""
    left = {name: value for name, value in VARIABLES.items() if name != "mail_filter_mode"}
    with pytest.raises(UciError, match=r"filter\.mode is"):
        policy(rendered("cpe-filter.json", **left)[0])


def test_a_single_quote_is_not_escaped_by_netjsonconfig() -> None:
    """So the page warns of it. If this fails a later version escapes it, and the warning can go."""
    text, _ = rendered("cpe-filter.json", **{**VARIABLES, "provider": "L'ISP"})
    with pytest.raises((UciError, export.ExportError)):
        policy(text)
    assert "single quote" in PAGE.read_text()


def test_each_variable_is_on_the_page() -> None:
    templates = "".join(path.read_text() for path in FOLDER.glob("*.json"))
    used: set[Any] = set(_VARIABLE.findall(templates))
    assert used == {*VARIABLES, "router_certificate", "router_key"}
    assert used == set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
