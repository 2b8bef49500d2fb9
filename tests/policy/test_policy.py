"""The policy file: every key's default, bounds and types; every error says where, what and what is allowed.

`load` and `build` give a `Policy` or a `PolicyError`, whatever they are given.
"""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpe_filter.enforce import ruleset
from cpe_filter.enforce.ruleset_names import NATIVE
from cpe_filter.policy.file import build, load
from cpe_filter.policy.keys import AT_START, KEYS
from cpe_filter.policy.kinds import MAX_LIST
from cpe_filter.policy.model import Policy, PolicyError, parse_mac
from cpe_filter.toml_file import MAX_FILE_BYTES, Key
from tests.lab.net import PROJECT

PATH = "some/policy.toml"

_quiet = settings(
    derandomize=True, deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Load = Callable[[str | bytes], Policy]


@pytest.fixture
def policy(tmp_path: Path) -> Load:
    """Text of a policy file -> what `load` makes of it."""

    def read(text: str | bytes) -> Policy:
        path = tmp_path / "policy.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(str(path))

    return read


def refused(data: dict[str, Any]) -> str:
    """The one line that `build` refuses with."""
    with pytest.raises(PolicyError) as caught:
        build(data, PATH)
    text = str(caught.value)
    assert text.startswith(f"{PATH}: ")
    assert "\n" not in text
    assert len(text) < 400
    return text


# ── keys ────────────────────────────────────────────────────────────────────────────────────────

#: Values of each kind that are right, and of other types.
RIGHT: dict[str, list[Any]] = {
    "flag": [True, False],
    "text": ["/x", "/var/run/a file.json"],
    "file": ["", "/x", "/var/run/a file.prom"],
    "socket": ["/x", "/" + "x" * 106, "/" + "ü" * 53],
    "sentence": ["", "x", 'Mail is refused here: 100 % of it, "all"!', "x" * 400],
    "url": ["", "https://isp.example", "https://isp.example:8443/mail?line=1#why", "https://h/" + "x" * 190],
    "title": ["", "x", "Bürgernetz Köln & Söhne", "İnternet A.Ş.", "x" * 60],
    "user": ["nobody", "_explain", "a-1_b", "x" * 32],
    "version": ["", "7", "2027-01-31.2", "v1.0+isp_3", "x" * 64],
    "hours": ["0-24", "8-22", "22-6", "08-09"],
    "macs": [[], ["02:00:00:12:34:56"], ["0A-00-00-12-34-56", "0a:00:00:12:34:56"], ["02:00:00:12:34:56"] * 64],
    "interfaces": [["br-lan"], ["a", "b.7", "wg_0", "eth0@if2"], ["x" * 15], ["lo", "lo"]],
    "paths": [[], ["/x"], ["/tmp/dhcp.leases", "/a b"], ["/x", "/x"]],
    "ports": [[25], [1], [65535], [25, 26, 2525], [25, 25]],
    "replies": [
        [],
        ["unknown-user: no such person"],
        ["residential-line: =pbl + 5xx + !spf", "content: 5.6.*", "policy: 550 + =zz 12*", "dnsbl-listed:=ends here $"],
        ["greylisted: wait"] * 200,
    ],
    "prefixes": [[], ["64:ff9b:1::/48"], ["2001:db8:64::/96", "2001:db8:64::1/96"], ["2001:db8::/32"] * 8],
    "networks": [[], ["192.0.2.25"], ["2001:db8::/48", "10.0.0.1/8"], ["::/0", "0.0.0.0/0"]],
}
WRONG: dict[str, list[Any]] = {
    "word": ["", "MONITOR", "monitor ", 0, True, None, ["block"], {"block": 1}, 1.5, datetime.date(2027, 1, 1)],
    "flag": [0, 1, "true", "yes", [], {}, 1.0, datetime.date(2027, 1, 1)],
    "number": ["1", True, False, 1.0, [], {}, float("nan"), float("inf"), 10**50, -(10**9999), datetime.time(1, 2)],
    "text": ["", "relative/path", "/nul\0", 1, ["/x"], {}, True],
    "file": ["relative/path", "/nul\0", 1, ["/x"], {}, True],
    "socket": ["", "relative", "/nul\0", "/" + "x" * 107, "/" + "ü" * 54, 1, ["/x"], {}, True],
    "sentence": [" x", "x ", "a\nb", "a\r\n250 ok", "a\tb", "a\0b", "für", 1, ["x"], {}, True],
    "url": [
        *("http://isp.example", "isp.example", "https://", "https:///x", "https://a b", "https://a/\r\nx", "HTTPS://a"),
        *("https://isp.example@evil.example", "https://a..b", "https://a:", "https://a:x", 'https://a/"', "https://ü"),
        *("javascript:x", " https://a", 1, ["https://a"], {}, True),
    ],
    "version": ["a b", "v1/2", "ü", "٣", "a\n", "x" * 65, 1, 1.5, ["1"], {}, True],
    "title": [" x", "x ", "a\nb", "a\tb", "a\0b", "a\u202eb", "x" * 61, 1, ["x"], {}, True],
    "user": ["", "root", "No", "1a", "-a", "a b", "a/b", "a\n", "x" * 33, "ü", 0, ["nobody"], {}, True],
    "hours": ["", "8", "8-8", "8-25", "-1-4", "8-22-23", "8:00-9:00", " 8-22", "٣-٤", "8-08", 8, ["8-22"], {}, True],
    "macs": [
        *("02:00:00:12:34:56", [""], ["02:00:00:12:34"], ["02:00:00:12:34:5g"], ["tv"], [1], [None], {}),
        ["02:00:00:12:34:56"] * 65,
    ],
    "interfaces": ["br-lan", [], [""], ["x" * 16], ["a b"], ["a/b"], ["."], [".."], [1], [None], {}, ["ä"], 1],
    "paths": ["/x", [""], ["x"], ["/nul\0"], [1], [["/x"]], [None], {}, [f"/{n}" for n in range(9)]],
    "ports": [25, [], [0], [65536], [-1], ["25"], [True], [25.0], [587], [25, 465], list(range(1, 10)), {}, [[25]]],
    "replies": [
        "unknown-user: no such person",
        [1],
        [None],
        [""],
        ["no such person"],
        ["user-unknown: no such person"],
        ["unknown-user:"],
        ["unknown-user: ab"],
        ["unknown-user: no such person +"],
        ["unknown-user: !domain"],
        ["unknown-user: domain + !!user"],
        ["unknown-user: =a"],
        ["unknown-user: 12345"],
        ["unknown-user: utilisateur inexistant\u00e9"],
        ["unknown-user: a b c\nd e f"],
        ["unknown-user: " + "a" * 201],
        ["unknown-user: " + " + ".join(["abc"] * 7)],
        ["greylisted: wait"] * 201,
    ],
    "prefixes": [
        *("64:ff9b::/96", ["64:ff9b::"], ["64:ff9b::/95"], ["10.0.0.0/32"], ["64:ff9b::%1/96"], [""], [1], [None], {}),
        [f"2001:db8:{n}::/96" for n in range(9)],
    ],
    "networks": ["192.0.2.25", ["mail.example"], [""], ["192.0.2.256"], ["192.0.2.0/33"], [1], [["::1"]], [None], {}],
}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_defaults_are_allowed_by_their_own_rules(key: Key) -> None:
    default = list(key.value(Policy())) if isinstance(key.value(Policy()), tuple) else key.value(Policy())
    assert key.value(build({key.table: {key.name: default}}, PATH)) == key.value(Policy())


def test_an_empty_policy_is_all_defaults(policy: Load) -> None:
    assert policy("") == Policy()
    fields = [(table, name) for table in Policy._fields[:-2] for name in getattr(Policy(), table)._fields]
    assert [(key.table, key.name) for key in KEYS] == fields


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        pytest.param(key, value, good, id=f"{key.name}={value}")
        for key in KEYS
        if key.kind == "number"
        for value, good in ((key.low, True), (key.high, True), (key.low - 1, False), (key.high + 1, False))
    ],
)
def test_bounds(key: Key, value: int, good: bool) -> None:
    data = {key.table: {key.name: value}}
    if good:
        assert key.value(build(data, PATH)) == value
    else:
        text = refused(data)
        assert text.startswith(f"{PATH}: [{key.table}] {key.name} is {value}; allowed: ")
        assert f"{key.low} to {key.high} ({key.unit})" in text


@pytest.mark.parametrize("key", [key for key in KEYS if key.kind != "number"], ids=lambda key: key.name)
def test_right_values(key: Key) -> None:
    other = {"lan": {"wan": ["other"]}, "wan": {"lan": ["other"]}}.get(key.name, {})
    for value in key.words or RIGHT[key.kind]:
        found = key.value(build({key.table: {key.name: value, **other}}, PATH))
        assert len(found) <= len(value) if isinstance(value, list) else found == value


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_wrong_values_are_refused_with_place_finding_and_what_is_allowed(key: Key) -> None:
    for value in WRONG[key.kind]:
        text = refused({key.table: {key.name: value}})
        assert f"[{key.table}] {key.name} " in text, value
        assert "allowed: " in text or "expected" in text, value
        if isinstance(value, str) and value.isprintable():
            assert f'"{value[:40]}' in text


@pytest.mark.parametrize(("name", "value"), [("text", "x" * 401), ("url", "https://h/" + "x" * 191)])
def test_texts_have_an_end(name: str, value: str) -> None:
    assert getattr(build({"explain": {name: value[:-1]}}, PATH).explain, name) == value[:-1]
    assert f'[explain] {name} is "{value[:40]}..."; allowed: ' in refused({"explain": {name: value}})


@pytest.mark.parametrize("key", [key for key in KEYS if key.kind in ("interfaces", "networks")], ids=lambda k: k.name)
def test_lists_have_an_end(key: Key) -> None:
    values = [f"10.0.{n >> 8}.{n & 255}" if key.kind == "networks" else f"eth{n}" for n in range(MAX_LIST + 1)]
    assert len(key.value(build({key.table: {key.name: values[:-1]}}, PATH))) == MAX_LIST
    assert f"at most {MAX_LIST}" in refused({key.table: {key.name: values}})


@pytest.mark.parametrize(
    "name",
    [
        'br"lan',
        "br\nlan",
        "a;drop",
        "a{b",
        "a}b",
        "$x",
        "a'b",
        "a b",
        "a\tb",
        "a\\b",
        "*",
        "a*b",
        "a#b",
        "a\0b",
        "a,b",
        "é",
    ],
)
@pytest.mark.parametrize("key", ["lan", "wan"])
def test_interface_names_that_could_leave_their_quotes_are_refused(key: str, name: str) -> None:
    assert f"[network] {key} has " in refused({"network": {key: [name]}})


@pytest.mark.parametrize(
    "text", ['fe80::1%"; flush ruleset; #', "fe80::%\n}", "fe80::1%eth0", "fe80::/64%eth0", "::1%a/128"]
)
def test_a_zone_smuggles_nothing_into_the_ruleset(text: str) -> None:
    assert "[network] relays has " in refused({"network": {"relays": [text]}})
    assert "destination has " in refused({"exempt": [{"destination": text}]})


def test_an_interface_is_lan_or_wan() -> None:
    text = refused({"network": {"lan": ["a", "b"], "wan": ["b", "c"]}})
    assert text == f"{PATH}: [network] lan and wan both name b; an interface is one or the other"
    assert "wan" in refused({"network": {"lan": ["wan"]}}), "the default counts, too"


# ── unknown names ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"filter": {"mod": "block"}}, '[filter] unknown key "mod"; did you mean mode?'),
        ({"filter": {"Mode": "block"}}, "did you mean mode?"),
        ({"filter": {"queue_lenght": 1}}, "did you mean queue_length?"),
        ({"limits": {"connection_per_hour": 1}}, "did you mean connections_per_hour?"),
        ({"limits": {"zzzzzzzzzzzzzzzz": 1}}, "known: connections_per_hour, connections_burst,"),
        ({"network": {"mode": "block"}}, '[network] unknown key "mode"; it belongs in [filter]'),
        ({"filter": {"relays": []}}, "it belongs in [network]"),
        ({"filter": {"port": 25}}, "it belongs in [explain]"),
        ({"network": {"port": 25}}, '[network] unknown key "port"; did you mean ports?'),
        ({"status": {"until": 1}}, "it belongs in [[exempt]]"),
        ({"mode": "block"}, 'unknown table or key "mode"; it belongs in [filter]'),
        ({"device": "block"}, "it belongs in [[exempt]]"),
        ({"fliter": {}}, 'unknown table or key "fliter"; did you mean [filter]?'),
        ({"exemp": []}, "did you mean [[exempt]]?"),
        (
            {"something": {}},
            "known: [filter], [network], [limits], [detect], [status], [state], [explain], [report], [notice], "
            "[[exempt]]",
        ),
        ({"x" * 5000: {}}, 'unknown table or key "xxx'),
        ({"a\nb": {}}, 'unknown table or key "a?b"'),
        ({"filter": 1}, "filter is 1; expected a table [filter]"),
        ({"filter": [{}]}, "filter is a list; expected a table [filter]"),
        ({"exempt": {}}, "exempt is a table; expected tables [[exempt]]"),
        ({"exempt": [1]}, "[[exempt]] number 1 is 1; expected a table"),
        ({"exempt": [{"device": "any", "devise": ""}]}, '[[exempt]] number 1 unknown key "devise"; did you mean'),
    ],
)
def test_unknown_names(data: dict[str, Any], says: str) -> None:
    assert says in refused(data)


# ── exemptions ──────────────────────────────────────────────────────────────────────────────────

MAC = "02:00:00:12:34:56"


@pytest.mark.parametrize(
    ("until", "seconds"),
    [
        ("1970-01-01", 86399.0),  # to the end of the day
        ("2027-01-31", 1801440000.0 - 1),
        ("1970-01-02T00:00:00Z", 86400.0),
        ("1970-01-02T00:00:00", 86400.0),  # no zone: UTC
        ("1970-01-02 02:00:00+02:00", 86400.0),
        ("1970-01-01T23:00:00-01:00", 86400.0),
        ("1969-12-31T23:59:59Z", -1.0),
        ("9999-12-31T23:59:59Z", 253402300799.0),
    ],
)
def test_until(until: str, seconds: float, policy: Load) -> None:
    (rule,) = policy(f'[[exempt]]\ndevice = "{MAC}"\nuntil = {until}\n').exempt
    assert rule.until == seconds


def test_an_exemption_in_full(policy: Load) -> None:
    rules = policy(f"""
        [[exempt]]
        device = "{MAC.upper().replace(":", "-")}"
        destination = "198.51.100.25/24"
        reason = "the NAS, ticket 4711"
        [[exempt]]
        destination = "2001:db8::25"
    """).exempt
    assert rules[0] == (parse_mac(MAC), ip_network("198.51.100.0/24"), None, "the NAS, ticket 4711")
    assert rules[1] == (None, ip_network("2001:db8::25"), None, "")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("", "exempts every device for every destination"),
        ('device = "any"\ndestination = "any"', "name a device or a destination"),
        ('device = "02:00:00:12:34"', 'device is "02:00:00:12:34"; allowed: a MAC'),
        ('device = "02:00:00:12:34:5"', "allowed: a MAC"),
        ('device = "02:00:00:12:34:zz"', "allowed: a MAC"),
        ('device = "02:00:00:12:34:5６"', "allowed: a MAC"),
        ('device = "020000123456"', "allowed: a MAC"),
        ("device = 1", "device is 1; allowed: a MAC"),
        ("device = []", "device is a list; allowed: a MAC"),
        ('destination = "mx.example"', 'destination has "mx.example"; allowed: an address or network'),
        ("destination = 1", "destination has 1; allowed"),
        (f'device = "{MAC}"\nuntil = "2027-01-31"', 'until is "2027-01-31"; allowed: a date'),
        (f'device = "{MAC}"\nuntil = 12:00:00', "until is a date or time; allowed: a date"),
        (f'device = "{MAC}"\nuntil = 1801440000', "until is 1801440000; allowed: a date"),
        (f'device = "{MAC}"\nuntil = 0001-01-01T00:00:00+01:00', "allowed: a date from the years 1 to 9999"),
        (f'device = "{MAC}"\nuntil = 9999-12-31T23:59:59-01:00', "allowed: a date from the years 1 to 9999"),
        (f'device = "{MAC}"\nreason = "two\\nlines"', "one line of at most 200 characters"),
        (f'device = "{MAC}"\nreason = "{"x" * 201}"', "one line of at most 200 characters"),
        (f'device = "{MAC}"\nreason = 5', "reason is 5; allowed: one line"),
    ],
)
def test_wrong_exemptions(entry: str, says: str, policy: Load) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(f'[[exempt]]\ndevice = "{MAC}"\n[[exempt]]\n{entry}\n')
    assert "policy.toml: [[exempt]] number 2 " in str(caught.value)
    assert says in str(caught.value)


def test_exemptions_have_an_end() -> None:
    entry = {"device": MAC}
    assert len(build({"exempt": [entry] * MAX_LIST}, PATH).exempt) == MAX_LIST
    assert f"at most {MAX_LIST}" in refused({"exempt": [entry] * (MAX_LIST + 1)})


# ── files ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'[filter]\nmode = "block"\nmode = "limit"\n', "not TOML: Cannot overwrite a value (at line 3"),
        (b"[filter]\n[filter]\n", "not TOML: "),
        (b"[filter\n", "not TOML: "),
        (b"mode: block\n", "not TOML: "),
        (b'[filter]\nmode = "bl\xfcck"\n', "not UTF-8 text (byte 19)"),
        (b"\xff\xfe[\0f\0", "not UTF-8 text (byte 0)"),
        (b"\0" * 100, "not TOML: "),
        (b"x = " + b"[" * 100000, "not TOML: "),
        (b"x = " + b"{a=" * 100000, "not TOML: "),
        (b"[filter]\nqueue = " + b"9" * 5000, "not TOML: "),
        (b"[filter]\nqueue = 0x" + b"9" * 5000, "[filter] queue is a huge number; allowed: a whole number from 0"),
        (b"[[exempt]]\nuntil = 2027-02-30\n", "not TOML: "),
        (b"#" * (MAX_FILE_BYTES + 1), f"at most {MAX_FILE_BYTES}"),
    ],
    ids=range(13),
)
def test_unusable_files(content: bytes, says: str, policy: Load) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(content)
    assert "policy.toml: " in str(caught.value)
    assert says in str(caught.value)


def test_the_largest_file_is_read(policy: Load) -> None:
    text = b'[filter]\nmode = "limit"\n'
    assert policy(text + b"#" * (MAX_FILE_BYTES - len(text))).filter.mode == "limit"


def test_missing_file_and_directory(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(PolicyError) as caught:
            load(str(path))
        assert str(caught.value) == f"{path}: {says}"


def test_a_pipe_that_says_too_much_is_not_read_in_part(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def fill() -> None:
        with open(pipe, "wb", buffering=0) as file:
            try:
                file.write(b"#\n" * MAX_FILE_BYTES)
            except BrokenPipeError:
                pass

    writer = threading.Thread(target=fill)
    writer.start()
    try:
        with pytest.raises(PolicyError, match="at most"):
            load(str(pipe))
    finally:
        writer.join()


# ── anything ────────────────────────────────────────────────────────────────────────────────────

_names = st.sampled_from([key.name for key in KEYS] + ["device", "destination", "until", "reason"]) | st.text(
    max_size=5
)
_scalars = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["any", MAC, "192.0.2.1", "::/0", "block", "open", "/x", "fe80::1%x"])
    | st.datetimes(timezones=st.none() | st.just(datetime.timezone(datetime.timedelta(hours=14))))
    | st.dates()
    | st.times()
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4), max_leaves=8
)
_tables = st.sampled_from(["filter", "network", "limits", "status", "exempt"]) | _names
_policies = st.dictionaries(
    _tables, st.dictionaries(_names, _values, max_size=4) | _values, max_size=4
) | st.fixed_dictionaries({"exempt": st.lists(st.dictionaries(_names, _scalars, max_size=4), max_size=3)})


@_quiet
@given(data=_policies)
def test_anything_gives_a_policy_or_an_error(data: dict[str, Any]) -> None:
    found, refusal = Policy(), f"{PATH}: "
    try:
        found = build(data, PATH)
    except PolicyError as error:
        refusal = str(error)
    assert refusal.startswith(f"{PATH}: ")
    assert "\n" not in refusal
    assert isinstance(found, Policy)
    for rule in found.exempt:
        assert rule.until is None or isinstance(rule.until, float)


@_quiet
@given(
    lan=st.lists(st.text(alphabet=st.sampled_from('a.-_@"\n{};$#%\\'), max_size=8), max_size=3),
    relay=st.text(alphabet=st.sampled_from('0:f./%"\n{};'), max_size=12),
)
def test_what_is_accepted_cannot_leave_its_place_in_the_ruleset(lan: list[str], relay: str) -> None:
    try:
        found = build({"network": {"lan": lan, "relays": [relay]}}, PATH)
    except PolicyError:
        return
    for text in (*found.network.lan, *map(str, found.network.relays)):
        assert not set(text) & set("\"'\n{};$#%\\ ")


def test_the_renderer_is_given_what_was_accepted() -> None:
    """The test above looks at values; this one, that they stand in the ruleset as they are."""
    found = build({"network": {"lan": ["br-lan.7"], "relays": ["2001:db8::25"]}}, PATH)
    text = ruleset.render(found, NATIVE)
    assert '"br-lan.7"' in text
    assert "2001:db8::25" in text


_lines = st.lists(
    st.sampled_from(
        ["[filter]", "[network]", "[limits]", "[[exempt]]", "[status]", "[filter", "]]"]
        + [
            f"{key.name} = {value}"
            for key in KEYS
            for value in ("1", '"block"', "true", '["::"]', "[25]", "2027-01-31")
        ]
        + [f"device = '{MAC}'", "until = 2027-01-31", "until = 1e5", "destination = '::/0'", '"\\u00"', "=", "#"]
    ),
    max_size=8,
)


@_quiet
@given(text=_lines.map("\n".join) | st.text(max_size=60), raw=st.binary(max_size=4))
def test_any_file_gives_a_policy_or_an_error(text: str, raw: bytes, policy: Load) -> None:
    for content in (text.encode("utf-8", "surrogatepass"), text.encode("utf-8", "replace") + raw):
        refusal = ""
        try:
            assert isinstance(policy(content), Policy)
        except PolicyError as error:
            refusal = str(error)
        assert not refusal or "policy.toml: " in refusal


# ── what a reload changes ───────────────────────────────────────────────────────────────────────


def test_what_waits_for_a_restart_is_in_the_documents() -> None:
    text = (PROJECT / "docs" / "operate.md").read_text()
    start = text.index("waits for a\nrestart: ")
    told = text[start : text.index(". The responder", start)]
    for key in AT_START:
        assert (f"`[explain] {key.name}`" if key.table == "explain" else f"`{key.name}`") in told
    assert told.count("`") == 2 * len(AT_START)
