"""The settings' page against the policy's own table: no key is missing, none has other bounds; what is saved counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cpe_filter.policy.file import build
from cpe_filter.policy.keys import KEYS
from cpe_filter.policy.model import Policy, PolicyError
from cpe_filter.toml_file import Key, parse
from cpe_filter.uci import enrol, provision
from cpe_filter.uci.export import Section
from cpe_filter.uci.options import OptionError
from tests.openwrt import package
from tests.openwrt.luci_pages import Pages, shipped
from tests.openwrt.luci_po import catalogue
from tests.openwrt.luci_router import Router
from tests.openwrt.luci_server import LuciServer
from tests.openwrt.package import BUSYBOX
from tests.openwrt.test_uci import quoted
from tests.policy.test_policy import RIGHT, WRONG
from tests.texts.browser import PROGRAM, Browser

pytestmark = pytest.mark.skipif(not (PROGRAM and BUSYBOX), reason="no chromium or no busybox here")

LISTS = ("interfaces", "ports", "networks", "prefixes", "paths", "replies", "macs")
#: What the service has beside the policy's keys (cpe_filter/uci), and what it has of an exemption.
SERVICE = {
    ("main", "enabled"): "1",
    ("main", "policy_file"): "",
    ("main", "jail"): "1",
    ("network", "lan_network"): "",
    ("network", "wan_network"): "",
}
#: Sections that are the service's alone, with their defaults, and how each is read.
SECTIONS: dict[str, tuple[NamedTuple, Callable[[Section], object]]] = {
    enrol.KIND: (enrol.Enrol(), enrol.read),
    provision.KIND: (provision.Provision(), provision.read),
}
#: Values of their options that are allowed, and that are not.
TRIED: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "provision.url": (
        ("https://isp.example/a.signed", "https://isp.example:8443", ["https://a/b"] * 8),
        ("http://isp.example/a", "https://", "https:///a", "https://isp.example/ä", ["https://a/b"] * 9),
    ),
    "provision.region": (("north", "a b!", "x" * 64), ("ä", "x" * 65, " north", "a\nb")),
    "enrol.url": (
        ("https://isp.example", "https://isp.example:8444/", "https://[2001:db8::1]:8444", "https://[::1]", "https://a:1"),
        ("http://isp.example", "https://", "https://isp.example/est", "https://a:0", "https://a:65536", "https://a:x",
         "https://u@a", "https://:8444", "https://a?b", "https://ä", "https://a b"),
    ),
    "enrol.id": (("cpe-0001", "02:00:00:12:34:56", "A", "x" * 64), ("-x", "a b", "x" * 65, "ä", "$(id)")),
    **dict.fromkeys(
        ("provision.ca", "enrol.ca", "enrol.factory_key", "enrol.token"),
        (("/etc/a.pem", "/a b"), ("a.pem", "/ä", "/a\nb", "/" + "x" * 1024)),
    ),
    "provision.every_hours": (("1", "720"), ("0", "721", "-1", "1.5", "x")),
    **dict.fromkeys(("provision.splay_minutes", "enrol.splay_minutes"), (("0", "1440"), ("1441", "-1", "x"))),
}  # fmt: skip
EXEMPT = ("device", "destination", "until", "reason")
#: All options as the page has them.
_OPTIONS = """
stub.maps[0].children.flatMap(section => section.children.map(option => ({
  section: section.section || section.sectiontype, name: option.option, widget: option.kind.widget, title: option.title,
  description: option.description, default: option.default ?? null, placeholder: option.placeholder ?? null,
  choices: (option.choices || []).map(choice => choice[0])})))
"""
#: What the page has against a value of an option, as UCI has it.
_FAULT = """
((section, name, value) => {
  const place = stub.maps[0].children.find(one => (one.section || one.sectiontype) == section);
  const kind = place.children.find(one => one.option == name).kind;
  return Array.isArray(value) ? value.map(kind.check).find(Boolean) || kind.many(value) : kind.check(value);
})(%s)
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("settings")
    with Router(folder / "root") as router, LuciServer(router, shipped()) as server, Browser() as browser:
        browser.size(1000, 900)
        yield Pages(browser, server)


@pytest.fixture
def page(pages: Pages) -> Pages:
    pages.server.uci.sections = shipped()
    pages.server.uci.applied = 0
    pages.open("settings")
    return pages


def options(page: Pages) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["section"], one["name"]): one for one in page.ask(_OPTIONS)}


def fault(page: Pages, key: Key, value: Any) -> str:
    """What the page has against it. Empty: nothing."""
    return str(page.ask(_FAULT % ", ".join(map(json.dumps, (key.table, key.name, value)))))


def in_uci(key: Key, value: Any) -> Any:
    """A value of TOML as UCI has it; None for one that UCI cannot have."""
    if isinstance(value, bool):
        return str(int(value)) if key.kind == "flag" else None
    if key.kind in LISTS:
        if not isinstance(value, list) or not value or not all(isinstance(item, str | int) for item in value):
            return None
        if key.kind != "ports" and not all(isinstance(item, str) for item in value):
            return None
        return None if any(isinstance(item, bool) for item in value) else [str(item) for item in value]
    return value if isinstance(value, str) else None


def test_every_key_is_there_as_the_table_has_it(page: Pages) -> None:
    found = options(page)
    service = {(one.KIND, name) for one in (enrol, provision) for name in one.OPTIONS}
    exempt = {("exempt", name) for name in EXEMPT}
    assert set(found) == {(key.table, key.name) for key in KEYS} | set(SERVICE) | service | exempt
    for key in KEYS:
        one = found[key.table, key.name]
        assert one["description"] == key.meaning
        widget = {"flag": "Flag", "word": "ListValue"}.get(key.kind, "DynamicList" if key.kind in LISTS else "Value")
        assert one["widget"] == widget
        # Without a mode UCI's default depends on the relays, so "not set" can be chosen, and is kept.
        unset = [""] if (key.table, key.name) == ("filter", "mode") else []
        assert one["choices"] == [*unset, *key.words]
        default = "" if unset else key.value(Policy())
        if key.kind in LISTS:
            # Which devices are the home's and the Internet's follows from networks.
            default = "" if key.kind == "interfaces" else ", ".join(map(str, default))
        default = str(int(default)) if key.kind == "flag" else str(default)
        assert one["default" if key.kind in ("flag", "word") else "placeholder"] == default
    for place, default in SERVICE.items():
        assert found[place]["default" if found[place]["widget"] in ("Flag", "ListValue") else "placeholder"] == default
    page.clean()


def test_the_service_s_own_sections_have_their_defaults(page: Pages) -> None:
    found = options(page)
    for section, (defaults, _) in SECTIONS.items():
        for name, default in defaults._asdict().items():
            one = found[section, "url" if name == "urls" else name]
            said = one["default" if one["widget"] == "Flag" else "placeholder"]
            assert said == (str(int(default)) if isinstance(default, bool) else str(default or ""))


@pytest.mark.parametrize("place", TRIED)
def test_values_of_the_service_s_own_sections_are_judged_as_the_service_judges_them(page: Pages, place: str) -> None:
    section, _, name = place.partition(".")
    for good, values in zip((True, False), TRIED[place], strict=True):
        for value in values:
            asked = [value] if place == "provision.url" and isinstance(value, str) else value
            said = page.ask(_FAULT % ", ".join(map(json.dumps, (section, name, asked))))
            assert (said == "") == good, value
            try:
                SECTIONS[section][1](Section(section, section, {name: value}))
                judged = True
            except OptionError:
                judged = False
            assert judged == good, value


def test_the_basic_ones_come_first(page: Pages) -> None:
    """Two tabs, and no option in neither; a section that few need has none."""
    found = page.ask(
        "stub.maps[0].children.map(one => [one.section || '', (one.tabs || []).map(tab => tab.name),"
        " one.children.map(option => [option.option, option.tab || ''])])"
    )
    by_section = {name: (tabs, options) for name, tabs, options in found if name}
    assert list(by_section)[:4] == ["main", "filter", "network", "notice"]
    for name, (tabs, options) in by_section.items():
        assert tabs == ([] if name in ("status", "state") else ["basic", "advanced"])
        assert {tab for _, tab in options} == set(tabs or [""])
    assert dict(by_section["filter"][1]) | {"mode": "basic", "queue": "advanced"} == dict(by_section["filter"][1])
    page.press("Filter")
    seen = "[...document.querySelectorAll('[data-tab]')].filter(e => e.getClientRects().length).map(e => e.dataset.tab)"
    assert page.ask(seen) == ["basic"]
    page.press("Advanced")
    assert page.ask(seen) == ["advanced"]
    assert "Kernel queue" in page.words()
    page.clean()


def test_every_option_has_a_title_of_its_own(page: Pages) -> None:
    titles: dict[str, set[str]] = {}
    for (section, _), one in options(page).items():
        assert one["title"] not in titles.setdefault(section, set())
        titles[section].add(one["title"])
        assert one["title"] != one["description"]


@pytest.mark.parametrize("key", [key for key in KEYS if key.kind == "number"], ids=lambda key: key.name)
def test_bounds_are_the_table_s(page: Pages, key: Key) -> None:
    for value in (key.low, key.high, (key.low + key.high) // 2):
        assert fault(page, key, str(value)) == ""
    says = f"Allowed: a whole number from {key.low} to {key.high}"
    for wrong in (str(key.low - 1), str(key.high + 1), "1.5", "x", "0x10", " 7", "1e3", "٣", "007", "9" * 30):
        assert fault(page, key, wrong) == says


@pytest.mark.parametrize(
    "key", [key for key in KEYS if key.kind != "number"], ids=lambda key: f"{key.table}.{key.name}"
)
def test_values_are_judged_as_the_filter_judges_them(page: Pages, key: Key) -> None:
    tried = 0
    for value in (*RIGHT.get(key.kind, key.words), *WRONG.get(key.kind, ())):
        asked = in_uci(key, value)
        if asked is None or asked == "":  # what is empty is not set
            continue
        # An interface of the default's home is none of the Internet's.
        others = {"lan": ["home"]} if key.name == "wan" else {}
        try:
            build({key.table: {**others, key.name: value}}, "policy")
            good = True
        except ValueError:
            good = key.kind == "ports" and asked == ["25"]  # in UCI a port is a text
        assert (fault(page, key, asked) == "") == good, (value, good)
        tried += 1
    assert tried > 1


def test_all_defaults_are_allowed(page: Pages) -> None:
    for key in KEYS:
        default = key.value(Policy())
        value = str(int(default)) if isinstance(default, bool) else default
        asked = [str(item) for item in value] if isinstance(value, tuple) else str(value)
        if asked:
            assert fault(page, key, asked) == "", key


# ── what is saved ───────────────────────────────────────────────────────────────────────────────────


def field(section: str, name: str) -> str:
    return f'[id="widget.cbid.cpe-filter.{section}.{name}"]'


def saved(page: Pages, folder: Path) -> Policy:
    """UCI as it is now, as the service makes a policy of it."""
    lines = []
    for name, section in page.server.uci.sections.items():
        lines.append(f"config {section['.type']} '{name}'")
        for option, value in section.items():
            if not option.startswith("."):
                values = value if isinstance(value, list) else [value]
                kind = "list" if isinstance(value, list) else "option"
                lines += [f"\t{kind} {option} {quoted(item)}" for item in values]
    router = package.Router(folder)
    router.config("cpe-filter", "\n".join(lines) + "\n")
    done = router.policy()
    assert done.returncode == 0, done.stderr
    return build(parse(done.stdout, "policy", PolicyError), "policy")


def test_what_is_saved_is_what_the_filter_goes_by(page: Pages, tmp_path: Path) -> None:
    page.put(field("filter", "mode"), "monitor")
    page.put(field("limits", "messages_burst"), "7")
    page.put(field("network", "relays"), "192.0.2.0/24")
    page.ask(f"document.querySelector('{field('network', 'relays')}').nextElementSibling.click()")
    page.put(field("network", "relays"), "2001:db8::25")  # not pressed: it counts all the same
    page.put(field("notice", "provider"), "Bürgernetz <Köln> & Söhne's")
    page.ask(f"document.querySelector('{field('filter', 'escalate')}').click()")
    page.press("Fixed exemptions")
    page.press("Add a fixed exemption")
    page.until(f"document.querySelector('{field('cfg000001', 'device')}')")
    assert page.server.uci.applied == 0
    page.put(field("cfg000001", "device"), "02:00:00:12:34:56")
    page.put(field("cfg000001", "until"), "2027-01-31")
    page.put(field("cfg000001", "reason"), 'it\'s "ours"')
    page.press("Save & Apply")
    page.until("document.querySelector('.cbi-button-apply:not(.spinning)')")
    assert page.server.uci.applied == 1
    policy = saved(page, tmp_path)
    assert (policy.filter.mode, policy.filter.escalate, policy.limits.messages_burst) == ("monitor", False, 7)
    assert list(map(str, policy.network.relays)) == ["192.0.2.0/24", "2001:db8::25/128"]
    assert policy.notice.provider == "Bürgernetz <Köln> & Söhne's"
    (exempt,) = policy.exempt
    assert (exempt.device, exempt.destination, exempt.reason) == (bytes.fromhex("020000123456"), None, 'it\'s "ours"')
    default = Policy()
    set_here = {"mode", "escalate", "messages_burst", "relays", "provider"}
    assert all(key.value(policy) == key.value(default) for key in KEYS if key.name not in set_here)
    page.clean()


def test_nothing_changed_is_every_default(page: Pages, tmp_path: Path) -> None:
    page.press("Save")
    page.until("document.querySelector('.cbi-button-save').disabled == false")
    policy = saved(page, tmp_path)
    assert policy.filter.mode == "monitor"  # what it is without relays, and not `block`, which nobody has chosen
    assert not page.server.uci.sections["filter"].get("mode")
    assert all(key.value(policy) == key.value(Policy()) for key in KEYS if key.name != "mode")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("limits", "messages_burst"), "0", "Allowed: a whole number from 1 to 100000"),
        (("explain", "url"), "http://isp.example", "Allowed: an address that begins with https://"),
        (("report", "user"), "root", "Allowed: the name of a user, not root"),
    ],
)
def test_what_is_wrong_is_not_saved(page: Pages, place: tuple[str, str], value: str, says: str) -> None:
    before = json.dumps(page.server.uci.sections)
    page.put(field(*place), value)
    assert "cbi-input-invalid" in page.ask(f"document.querySelector('{field(*place)}').className")
    page.press("Save & Apply")
    page.says(says, "#modal_overlay")
    title = options(page)[place]["title"]
    assert f'Option "{title}" contains an invalid input value.' in page.words("#modal_overlay")
    assert json.dumps(page.server.uci.sections) == before
    assert page.server.uci.applied == 0


@pytest.mark.parametrize(
    ("options_", "says"),
    [
        ({"ports": ["25", "587"]}, "but never 465 and 587"),
        ({"ports": [str(port) for port in range(1, 10)]}, "Allowed: 1 to 8 entries"),
        ({"lan": ["br-lan", "eth0"], "wan": ["eth0"]}, "eth0 is in the home already"),
        ({"relays": ["192.0.2.0/33"]}, "Allowed: addresses and networks"),
        ({"nat64": ["64:ff9b::/95"]}, "Allowed: prefixes of 32, 40, 48, 56, 64 or 96 bits"),
    ],
)
def test_a_list_is_looked_at_as_a_whole(page: Pages, options_: dict[str, list[str]], says: str) -> None:
    page.server.uci.sections["network"].update(options_)
    page.open("settings")
    page.press("Save")
    page.says(says, "#modal_overlay")


def test_who_may_only_look(page: Pages) -> None:
    page.open("settings", role="viewer")
    assert page.ask("[...document.querySelectorAll('#view input, #view select')].every(e => e.disabled)") is True
    assert page.ask("[...document.querySelectorAll('.cbi-page-actions button')].every(e => e.disabled)") is True
    page.browser.visit(page.server.url("settings", "subscriber"))
    assert "not for this session" in page.words("body")


@pytest.mark.parametrize("lang", ["de", "nl", "tr"])
def test_in_other_languages(page: Pages, lang: str) -> None:
    page.open("settings", lang=lang)
    said = catalogue(lang)
    for one in page.ask(_OPTIONS):
        assert one["title"] in said.values()
        assert one["description"] in said.values()
