"""UCI -> policy, by the package's own command with `uci` and `ubus`: each key, networks, and errors with UCI's names.

tests/uci has the parts: odd and hostile values, zones, devices.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.policy.file import build
from cpe_filter.policy.keys import BY_TABLE, KEYS
from cpe_filter.policy.model import Policy, PolicyError
from cpe_filter.toml_file import Key, parse
from cpe_filter.uci import enrol, provision
from tests.conftest import LIVE_REQUIRED
from tests.lab.net import PROJECT
from tests.openwrt.package import FILES, Router
from tests.policies import changed_policy, make_policy

UCI_ONLY = {("network", "lan_network"), ("network", "wan_network")}
EMPTY = "".join(f"config {table} '{table}'\n\n" for table in BY_TABLE)


def quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def section(table: str, name: str, value: str | list[str]) -> str:
    """A configuration with one option, or one list."""
    values = value if isinstance(value, list) else [value]
    kind = "list" if isinstance(value, list) else "option"
    return f"config {table}\n" + "".join(f"\t{kind} {name} {quoted(item)}\n" for item in values)


def rendered(router: Router, config: str) -> dict[str, Any]:
    """The TOML of a configuration, parsed."""
    router.config("cpe-filter", config)
    done = router.policy()
    assert done.returncode == 0, done.stderr.decode()
    return parse(done.stdout, "policy", PolicyError)


def policy(router: Router, config: str) -> Policy:
    return build(rendered(router, config), "policy")


def refused(router: Router, config: str) -> str:
    """What the service says of a configuration that cannot be used."""
    router.config("cpe-filter", config)
    router.init("start")
    path = router.path("/var/run/cpe-filter/config-error")
    assert path.exists(), router.log
    return path.read_text().rstrip("\n")


# ── the keys ────────────────────────────────────────────────────────────────────────────────────────


#: Without relays nothing is refused yet.
BARE = make_policy(mode="monitor")


def test_nothing_said_is_every_default_but_the_mode(router: Router) -> None:
    assert policy(router, "") == policy(router, EMPTY) == BARE


#: What the package is set up with that the program alone is not: a router without LuCI tells its subscriber, too.
SHIPPED = make_policy(notice_page="/tmp/cpe-filter/notice/index.html")


def test_the_shipped_configuration_is_every_default_but_the_page(router: Router) -> None:
    """As it is, and with each line at its word."""
    shipped = (FILES / "cpe-filter.config").read_text()
    assert policy(router, shipped) == changed_policy(SHIPPED, mode="monitor")
    said = re.sub(r"^#(?=\toption|\tlist)", "", shipped[: shipped.index("#config exempt")], flags=re.MULTILINE)
    lists = "relays|nat64|replies|emergency|helpful"
    said = re.sub(rf"^\toption policy_file.*\n|^\tlist (?:{lists}).*\n", "", said, flags=re.MULTILINE)
    assert policy(router, said) == SHIPPED


def test_the_shipped_configuration_names_every_key_and_no_other() -> None:
    shipped = (FILES / "cpe-filter.config").read_text()
    named, kinds, table = set(), {}, ""
    for line in shipped.splitlines():
        words = line.lstrip("#\t").split()
        if words[:1] == ["config"] and len(words) > 1:
            table = words[1]
        elif re.match(r"#?\t(option|list) ", line):
            named.add((table, words[1]))
            kinds[table, words[1]] = words[0]
    keys = {(key.table, key.name) for key in KEYS}
    exempt = {("exempt", name) for name in ("device", "destination", "until", "reason")}
    main = {("cpe-filter", name) for name in ("enabled", "policy_file", "jail")}
    service = {(section.KIND, name) for section in (provision, enrol) for name in section.OPTIONS}
    assert named == keys | exempt | main | service | UCI_ONLY
    lists = {(key.table, key.name) for key in KEYS if isinstance(key.value(Policy()), tuple)}
    assert {place for place, kind in kinds.items() if kind == "list"} == lists | {("provision", "url")} | UCI_ONLY


def samples(key: Key) -> Sequence[tuple[str | list[str], Any]]:
    """Values of UCI, and what the policy then has."""
    if key.kind == "number":
        return [(str(key.low), key.low), (str(key.high), key.high)]
    if key.kind == "flag":
        return [*((word, True) for word in ("1", "on", "true", "yes", "enabled")), ("0", False), ("no", False)]
    if key.kind == "word":
        return [(word, word) for word in key.words]
    if key.kind == "interfaces":
        return [(["a", "b-1.2@x"], ("a", "b-1.2@x")), ("a b", ("a", "b"))]
    if key.kind == "ports":
        return [(["1", "65535"], (1, 65535)), ("25 2525", (25, 2525))]
    if key.kind == "replies":
        return [(["unknown-user: no such person", "content: =a b"], ("unosuchperson", "c_a_b_"))]
    if key.kind == "paths":
        return [(["/a b", "/c"], ("/a b", "/c")), ([""], ()), ('/x"y', ('/x"y',))]
    if key.kind == "url":
        return [("https://isp.example:8443/a?b=%20&c", "https://isp.example:8443/a?b=%20&c")]
    if key.kind in ("text", "file", "socket"):
        return [(path, path) for path in ("/", "/a \"b\" $(id) `id` \\n'c'", "/grüße/\U0001f4ee", "/tab\there")]
    if key.kind == "sentence":
        return [('"quoted", \\backslash\\ and $HOME `id` it\'s', '"quoted", \\backslash\\ and $HOME `id` it\'s')]
    others: dict[str, Sequence[tuple[str | list[str], Any]]] = {
        "user": [("mail_9", "mail_9")],
        "hours": [("22-6", "22-6")],
        "macs": [(["02-00-00-12-34-5A"], ("02:00:00:12:34:5a",)), ("", ())],
        "version": [("2026.11-a+b", "2026.11-a+b"), ("007", "007")],
        "title": [('Müller & Söhne "Netz" \\o/', 'Müller & Söhne "Netz" \\o/')],
    }
    return others[key.kind]


@pytest.mark.parametrize("table", BY_TABLE)
def test_each_key(router: Router, table: str) -> None:
    for key in BY_TABLE[table].values():
        if key.kind in ("networks", "prefixes"):
            continue  # these become networks: see below
        for value, wanted in samples(key):
            config = section(table, key.name, value)
            assert key.value(policy(router, config)) == wanted, config


def test_prefixes_of_nat64(router: Router) -> None:
    prefixes = ["64:ff9b:1::/96", "2001:db8:64::/56"]
    assert list(map(str, policy(router, section("network", "nat64", prefixes)).network.nat64)) == prefixes


def test_relays(router: Router) -> None:
    relays = ["192.0.2.25", "198.51.100.7/24", "2001:db8::25", "2001:db8:1::/48"]
    found = policy(router, section("network", "relays", relays)).network.relays
    assert list(map(str, found)) == ["192.0.2.25/32", "198.51.100.0/24", "2001:db8::25/128", "2001:db8:1::/48"]


# ── values that are meant to break out: see tests/uci/test_tables.py ────────────────────────────────


def test_bytes_that_are_no_text(router: Router) -> None:
    assert (
        refused(router, section("state", "state_file", "/a\udcff")) == "cpe-filter.state.state_file is not UTF-8 text"
    )


def test_exemptions(router: Router) -> None:
    many = "".join(
        f"config exempt\n\toption device '02:00:00:00:{n >> 8:02x}:{n & 255:02x}'\n"
        "\toption destination '192.0.2.0/24'\n"
        f"\toption until '2027-01-31'\n\toption reason 'number \"{n}\"'\n"
        for n in range(600)
    )
    found = policy(router, many).exempt
    assert len(found) == 600
    assert found[599].reason == 'number "599"'
    assert found[0].until == 1801439999.0
    times = ("2027-01-31T18:00:00Z", "2027-01-31 18:00:00", "2027-01-31T18:00:00.5+02:00")
    one = "config exempt 'named'\n\toption destination '192.0.2.1'\n\toption until "
    assert [policy(router, f"{one}{quoted(text)}\n").exempt[0].until for text in times] == [
        1801418400.0,
        1801418400.0,
        1801411200.0,
    ]


# ── mistakes, in UCI's names ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (
            section("limits", "connections_burst", "0"),
            "cpe-filter.limits.connections_burst is 0; allowed: a whole number from 1 to 100000 (connections)",
        ),
        (
            section("limits", "messages_burst", "-5"),
            'cpe-filter.limits.messages_burst is "-5"; allowed: a whole number',
        ),
        (section("filter", "escalate", "maybe"), 'cpe-filter.filter.escalate is "maybe"; allowed: true, false'),
        (section("filter", "mod", "block"), 'cpe-filter.filter: unknown key "mod"; did you mean mode?'),
        ("config limit\n", 'cpe-filter: unknown table or key "limit"; did you mean [limits]?'),
        (section("network", "ports", ["25", "587"]), "cpe-filter.network.ports has 587; allowed: any but 465 and 587"),
        (
            section("network", "relays", "mail.example"),
            'cpe-filter.network.relays has "mail.example"; allowed: an address',
        ),
        (section("filter", "mode", ["block"]), "cpe-filter.filter.mode is a list; allowed: monitor"),
        (
            "config exempt\n\toption destination '192.0.2.1'\n" + section("exempt", "device", "x"),
            'cpe-filter.@exempt[1].device is "x"; allowed: a MAC',
        ),
        (section("exempt", "devise", "x"), 'cpe-filter.@exempt[0]: unknown key "devise"; did you mean device?'),
        (section("exempt", "until", "2027-13-01"), "cpe-filter.@exempt[0].until is not a date; allowed"),
        ("config filter 'a'\nconfig filter 'b'\n", "cpe-filter.b: a second section of type filter; one is expected"),
        ("config cpe-filter 'main'\n\toption enable '1'\n", "cpe-filter.main.enable: unknown option; known: enabled"),
        ("config cpe-filter 'x'\n\toption enabled '0'\n", "cpe-filter.x: a section of type cpe-filter is called main"),
        ("config a]b\n\toption x '1'\n", ": the section's type is unknown"),
        ("config filter\n\toption mode 'monitor\n", "/etc/config/cpe-filter: Parse error (EOF with unterminated ')"),
        (section("network", "lan_network", "nosuch"), "cpe-filter.network.lan_network: no device is known of nosuch"),
        (section("network", "wan_network", "a b;c"), "wan_network: no network can have such a name"),
        (
            "config cpe-filter 'main'\n\toption policy_file '/nosuch'\n",
            "cpe-filter.main.policy_file: /nosuch cannot be read",
        ),
    ],
)
def test_mistakes_are_told_in_ucis_names(router: Router, config: str, error: str) -> None:
    assert error in refused(router, config)


def test_a_mistake_in_the_isps_file_names_that(router: Router) -> None:
    file = router.root / "isp.toml"
    file.write_text("[limits]\nmessages_burst = 0\n")
    said = refused(router, f"config cpe-filter 'main'\n\toption policy_file '{file}'\n")
    assert said.startswith(f"{file}: [limits] messages_burst is 0; allowed")


# ── networks and their devices ──────────────────────────────────────────────────────────────────────

WANS = """
config interface 'lan'
	option device 'br-lan'
	option proto 'static'
config interface 'wan'
	option device 'eth1'
	option proto '{proto}'
config interface 'wan6'
	option device '@wan'
	option proto 'dhcpv6'
config interface 'tunnel'
	option proto '6in4'
config interface 'modem'
	option proto 'qmi'
	option device '/dev/cdc-wdm0'
config interface 'loop'
	option proto 'dhcp'
	option device '@loop'
"""


@pytest.mark.parametrize(
    ("proto", "up", "there", "networks", "wan"),
    [
        ("dhcp", {}, ["eth1"], [], ("eth1",)),
        ("dhcp", {}, [], [], ("eth1",)),  # the service waits for it
        ("pppoe", {}, [], [], ("pppoe-wan",)),
        ("pppoe", {"wan": "pppoe-wan"}, ["pppoe-wan"], [], ("pppoe-wan",)),
        ("pppoe", {"wan": "ppp9"}, ["ppp9"], [], ("ppp9",)),
        ("dhcp", {}, ["eth1"], ["wan", "tunnel"], ("eth1", "6in4-tunnel")),  # by the name that it will get
        ("dhcp", {"tunnel": "6in4-tunnel"}, ["eth1", "6in4-tunnel"], ["wan", "tunnel"], ("eth1", "6in4-tunnel")),
        ("dhcp", {"modem": "wwan0"}, ["eth1", "wwan0"], ["wan", "modem"], ("eth1", "wwan0")),
        ("dhcp", {}, ["eth1"], ["wan", "modem", "loop", "nosuch"], ("eth1", "wwan0")),
    ],
)
def test_networks(
    router: Router, proto: str, up: dict[str, str], there: list[str], networks: list[str], wan: tuple[str, ...]
) -> None:
    router.config("network", WANS.format(proto=proto))
    router.devices("br-lan", *there)
    for network, device in up.items():
        router.up(network, device)
    config = section("network", "wan_network", networks) if networks else ""
    assert policy(router, config).network.wan == wan
    assert policy(router, config).network.lan == ("br-lan",)


def test_networks_and_devices_together(router: Router) -> None:
    router.config("network", WANS.format(proto="dhcp"))
    config = "config network 'network'\n\tlist lan_network 'lan'\n\tlist lan 'br-guest'\n\tlist lan 'br-lan'\n"
    assert policy(router, config).network.lan == ("br-guest", "br-lan")


# ── the scripts themselves ──────────────────────────────────────────────────────────────────────────


def test_shellcheck() -> None:
    files = [FILES / name for name in ("cpe-filter.init", "cpe-filter.defaults", "cpe-filter-send")]
    files.append(FILES / "cpe-filter-repeat")
    files += [PROJECT / "tests/openwrt/stand_in" / name for name in ("rc.common",)]
    try:
        done = subprocess.run(["shellcheck", "-s", "dash", "-x", *files], capture_output=True, text=True)
    except FileNotFoundError:
        if LIVE_REQUIRED:
            raise
        pytest.skip("needs shellcheck (package shellcheck)")
    assert done.stdout == ""


def test_the_checks_own_words(tmp_path: Path) -> None:
    """`check --service`, which the init script reads."""
    path = tmp_path / "policy.toml"
    path.write_text('[filter]\nfail = "closed"\n[report]\nurl = "https://isp.example"\n[network]\nleases = ["/x/y"]\n')
    done = subprocess.run(
        [sys.executable, "-m", "cpe_filter", "check", "--service", str(path)], capture_output=True, text=True
    )
    words = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [word for word, _ in words] == [
        *("run", "explain", "send", "fail", "nat64", "lan", "wan", "write", "write", "read")
    ]
    assert [value for _, value in words[2:]] == [
        *("/var/run/cpe-filter/report/spool", "closed", "/var/run/cpe-filter/nat64", "br-lan", "wan"),
        *("/var/run/cpe-filter", "/etc/cpe-filter", "/x"),
    ]


def test_a_package_that_uci_cannot_read_is_noted(router: Router) -> None:
    router.config("firewall", "config zone\n\toption name 'wan\n")
    router.config("cpe-filter", "")
    router.init("start")
    assert "/etc/config/firewall is not used: Parse error (" in router.log
    router.path("/etc/config/firewall").unlink()
    router.init("reload")
    assert "is not used" not in router.text("/var/run/cpe-filter/notes")
