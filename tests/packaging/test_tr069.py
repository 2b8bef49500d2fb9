"""TR-069 and TR-369: the translator of UCI takes what the model allows, and not what is beyond; what the model reads is
what the ubus object answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.policy.keys import BY_TABLE
from cpe_filter.policy.model import Policy
from cpe_filter.report.document_news import Ended, News, encode, path_of
from cpe_filter.status.refusals import KINDS
from cpe_filter.uci import making
from cpe_filter.uci.making import Made, Sources
from cpe_filter.uci.tables import UciError
from tests.lab.net import PROJECT
from tests.openwrt.luci_router import REPORTING, Router
from tests.openwrt.package import BUSYBOX
from tests.uci.router import FIREWALL, LAN, WAN, section
from tools.data_model.model import FETCH, LEFT_OUT, RW, Parameter, Ubus, Uci, objects, parameters

SETTABLE = {path: one for path, one in parameters() if one.access == RW}
SETTINGS = [pytest.param(one, id=path) for path, one in SETTABLE.items()]
CONFIG = PROJECT / "openwrt" / "cpe-filter" / "files" / "cpe-filter.config"
#: Entries of lists by UCI's option.
ENTRIES = {
    "network.relays": ["192.0.2.{}", "2001:db8::{}/128"],
    "notice.helpful": ["192.0.2.{}"],
    "network.nat64": ["2001:db8:{}::/96"],
    "network.ports": ["25{}"],
    "provision.url": ["https://policy.isp.example/{}.signed"],
}


def uci_of(one: Parameter) -> Uci:
    assert isinstance(one.source, Uci)
    return one.source


def made(option: Uci, value: str | list[str]) -> Made:
    """The policy of a router with this one option. Raises `UciError`."""
    kind = "cpe-filter" if option.section == "main" else option.section
    texts = {
        "cpe-filter": section(kind, option.section, **{option.option: value}),
        "network": LAN + WAN,
        "firewall": "".join(FIREWALL),
        "dhcp": "",
    }
    exports = {name: f"package {name}\n\n{body}" for name, body in texts.items()}
    sources = Sources(exports, json.dumps({"interface": []}), {})
    return making.make(sources, making.configured(sources))


def entries(one: Parameter, number: int) -> list[str]:
    forms = ENTRIES[f"{uci_of(one).section}.{uci_of(one).option}"]
    if one.type == "unsignedInt":
        return [str(port) for port in range(1000, 1000 + number)]
    return [forms[index % len(forms)].format(index % 250 + 1) for index in range(number)]


def text(one: Parameter, size: int) -> str:
    """A text of so many characters that fits the pattern."""
    start = "https://" if one.pattern.startswith("(https") else ""
    return f"{start}{'a' * (size - len(start))}"


def good(one: Parameter) -> Iterator[str | list[str]]:
    if one.items:
        yield from (entries(one, number) for number in one.items)
        if one.low is not None:
            yield from ([str(one.low)], [str(one.high)])
    elif one.type == "boolean":
        yield from ("1", "0")
    elif one.low is not None:
        yield from (str(one.low), str(one.high))
    elif one.words:
        yield from one.words
    elif uci_of(one).option == "hours":
        yield from ("8-22", "22-8")
    else:
        yield from (text(one, one.size), text(one, one.size - 1))


def bad(one: Parameter) -> Iterator[str | list[str]]:
    if one.items:
        most = one.items[1]
        if uci_of(one).option not in ("relays", "helpful"):  # 1025 networks are refused in tests of the policy
            yield entries(one, most + 1)
        yield ["no entry"]
        if one.low is not None and one.high is not None:
            yield from ([str(one.low - 1)], [str(one.high + 1)])
    elif one.type == "boolean":
        yield from ("2", "maybe")
    elif one.low is not None and one.high is not None:
        yield from (str(one.low - 1), str(one.high + 1), "1.5", "many")
    elif one.words:
        yield from ("another", one.words[0].upper())
    elif uci_of(one).option == "hours":
        yield from ("8", "25-1", "8-8")
    else:
        yield text(one, one.size + 1)
        if one.pattern.startswith("(https"):
            yield "http://isp.example/"


@pytest.mark.parametrize("one", SETTINGS)
def test_what_the_model_allows_is_taken(one: Parameter) -> None:
    option = uci_of(one)
    for value in good(one):
        policy = made(option, value).policy
        key = BY_TABLE.get(option.section, {}).get(option.option)
        if key is None:
            continue
        found = key.value(policy)
        if one.items:
            assert len(found) == len(value)
        elif one.type == "boolean":
            assert found == (value == "1")
        else:
            assert str(found) == value


@pytest.mark.parametrize("one", SETTINGS)
def test_what_is_beyond_is_refused_and_named(one: Parameter) -> None:
    for value in bad(one):
        if uci_of(one).section == "main":
            continue  # the service takes what is not a boolean as the default
        with pytest.raises(UciError, match=re.escape(str(uci_of(one)))):
            made(uci_of(one), value)


@pytest.mark.parametrize("one", SETTINGS)
def test_the_default_is_the_one_without_the_option(one: Parameter) -> None:
    """As a value it is taken, and makes the same policy as a router without the option."""
    option = uci_of(one)
    if one.default is None:
        assert str(option) == "cpe-filter.filter.mode"
        return
    value = {"true": "1", "false": "0"}.get(one.default, one.default)
    if one.items:
        listed = [item for item in value.split(",") if item]
        policy = made(option, listed).policy if listed else Policy()
    else:
        policy = made(option, value).policy
    key = BY_TABLE.get(option.section, {}).get(option.option)
    if key is not None:
        assert key.value(policy) == key.value(Policy())


def options_of_uci() -> set[str]:
    """Each option that the package's configuration shows, by the type of its section."""
    found, kind = set(), ""
    for line in CONFIG.read_text().splitlines():
        words = line.lstrip("#").split()
        if line.lstrip("#").startswith("config "):
            kind = words[1]
        elif len(words) > 2 and words[0] in ("option", "list"):
            found.add(f"{'main' if kind == 'cpe-filter' else kind}.{words[1]}")
    return found


def test_each_option_is_a_parameter_or_left_out_with_a_reason() -> None:
    left = [option for options in LEFT_OUT.values() for option in options]
    set_ = [f"{option.section}.{option.option}" for option in map(uci_of, SETTABLE.values())]
    assert len({*left, *set_}) == len(left) + len(set_)
    assert {*left, *set_} == options_of_uci()
    known = {f"{table}.{name}" for table, keys in BY_TABLE.items() for name in keys}
    assert known <= {*left, *set_}


def test_what_is_left_out_names_no_parameter() -> None:
    """Nothing that names a device of the home, a file or a user of the router."""
    for path, one in parameters():
        if isinstance(one.source, Uci):
            key = BY_TABLE.get(one.source.section, {}).get(one.source.option)
            assert key is None or key.kind not in ("macs", "interfaces", "paths", "file", "socket", "user"), path


TYPES = {"boolean": bool, "unsignedInt": int, "unsignedLong": int, "string": str, "dateTime": str}


def at(answer: Any, key: str) -> Any:
    for name in key.split("."):
        answer = answer[name]
    return answer


@pytest.mark.skipif(not BUSYBOX, reason="no busybox here to run the plugin with")
def test_what_is_read_is_what_the_ubus_object_answers(tmp_path: Path) -> None:
    with Router(tmp_path / "root", REPORTING) as router:
        running = router.start()
        refusals = dict.fromkeys(KINDS, 1)
        policy = {**running.control.policy_facts(), "refused": "no such file"}
        running.write(notice={"quarantined": 1}, restored=2, refusals=refusals, policy=policy)
        (router.run / "config-error").write_text("filter.mode is off\n")
        news = News("0" * 16, (("policy", "1" * 16, 7),), (Ended(1, "refused", "policy", "", 0, "signature"),))
        place = Path(path_of(running.policy.state.state_file))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode(news))
        answers = {method: router.call(method) for method in ("status", "reported")}
        checked = 0
        for one in objects():
            where = at(answers[one.entries.method], one.entries.key)[0] if one.entries else None
            for parameter in one.parameters:
                if not isinstance(parameter.source, Ubus):
                    continue
                found = at(where or answers[parameter.source.method], parameter.source.key)
                assert type(found) is TYPES[parameter.type], parameter
                assert not parameter.words or found in parameter.words
                assert not parameter.pattern or re.fullmatch(parameter.pattern, str(found))
                checked += 1
        assert checked == len([one for _, one in parameters() if isinstance(one.source, Ubus)])
        values = json.dumps([one for each in answers["reported"]["reported"]["open"] for one in each.values()])
        assert not any(device["device"] in values for device in answers["status"]["status"]["devices"])


def test_the_service_has_the_instance_that_a_fetch_ends() -> None:
    script = (CONFIG.parent / "cpe-filter.init").read_text()
    assert FETCH.action.arguments == {"name": "cpe-filter", "instance": "fetch"}
    assert re.search(r"^\s+(instance|repeat\w*|for \w+ in) .*\bfetch\b", script, re.MULTILINE)


def test_files_are_the_generator_s(tmp_path: Path) -> None:
    """`python -m tools.data_model` writes them."""
    from tools.data_model.__main__ import FOLDER, files

    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == files()
