"""The data models for TR-069 and TR-369: rules of TR-106, the form of bbfdm's plugin, the same content in all files.

The schema itself is the Broadband Forum's and not part of the project: CPE_FILTER_DM_SCHEMA names a copy of
cwmp-datamodel-1-8.xsd, and xmllint holds the models against it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest

from tools.data_model import bbfdm, dm_xml
from tools.data_model.__main__ import FOLDER, VENDOR, files, main
from tools.data_model.model import RW, Uci, objects, parameters

TOP = f"Device.{VENDOR}_CpeFilter."
PREFIXED = "Device.{BBF_VENDOR_PREFIX}CpeFilter."
PROTOCOLS = pytest.mark.parametrize("protocol", dm_xml.PROTOCOLS)


def model(protocol: str) -> dict[str, xml.Element]:
    """The objects of a model by their path."""
    found = xml.fromstring(dm_xml.document(protocol, VENDOR)).find("model")  # noqa: S314 - our own
    assert found is not None
    return {one.get("name", ""): one for one in found.findall("object")}


def plugin() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(bbfdm.plugin())
    return made


def leaves(where: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parameters and commands of the plugin, by their path."""
    for name, one in where.items():
        if isinstance(one, dict) and one.get("type") == "object":
            yield from leaves(one, name)
        elif isinstance(one, dict) and "type" in one:
            yield path + name, one


# ── DM-XML ──────────────────────────────────────────────────────────────────────────────────────────


@PROTOCOLS
def test_names_are_the_vendor_s_and_unique(protocol: str) -> None:
    found = model(protocol)
    for path, one in found.items():
        assert re.fullmatch(re.escape(TOP) + r"([A-Z][A-Za-z0-9]*\.)?({i}\.)?", path)
        names = [parameter.get("name", "") for parameter in one.findall("parameter")]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch("[A-Z][A-Za-z0-9]*", name) for name in names)
    assert list(found) == [TOP + one.path for one in objects()]


@PROTOCOLS
def test_each_parameter_has_its_access_and_a_description(protocol: str) -> None:
    found = model(protocol)
    for path, parameter in parameters():
        parent, name = (TOP + path).rsplit(".", 1)
        (made,) = [one for one in found[f"{parent}."].findall("parameter") if one.get("name") == name]
        assert made.get("access") == parameter.access
        description = made.find("description")
        assert description is not None
        assert description.text


@PROTOCOLS
def test_a_default_is_allowed_by_its_own_facets(protocol: str) -> None:
    checked = 0
    for one in model(protocol).values():
        for syntax in one.iter("syntax"):
            default = syntax.find("default")
            if default is None or syntax.find("list") is not None:
                continue
            value = default.get("value", "")
            words = [word.get("value") for word in syntax.iter("enumeration")]
            assert not words or value in words
            for bounds in syntax.iter("range"):
                assert int(bounds.get("minInclusive", "")) <= int(value) <= int(bounds.get("maxInclusive", ""))
            for pattern in syntax.iter("pattern"):
                assert re.fullmatch(pattern.get("value", ""), value)
            checked += 1
    assert checked > 40


@PROTOCOLS
def test_a_table_has_its_count_and_its_key(protocol: str) -> None:
    found = model(protocol)
    tables = [one for path, one in found.items() if path.endswith("{i}.")]
    above = {one.get("name") for one in found[TOP].findall("parameter")}
    assert [one.get("numEntriesParameter") in above for one in tables] == [True, True]
    for table in tables:
        (key,) = table.findall("uniqueKey/parameter")
        assert key.get("ref") in [one.get("name") for one in table.findall("parameter")]


def test_commands_are_usp_s_and_cwmp_has_a_parameter_in_their_place() -> None:
    usp, cwmp = model("usp"), model("cwmp")
    commands = {one.get("name") for each in usp.values() for one in each.findall("command")}
    assert commands == {"Release()", "FetchPolicy()"}
    assert not [one for each in cwmp.values() for one in each.iter("command")]
    triggers = [one.get("name") for one in cwmp[f"{TOP}Provision."].findall("parameter")]
    assert "FetchPolicy" in triggers
    assert "FetchPolicy" not in [one.get("name") for one in usp[f"{TOP}Provision."].findall("parameter")]


@pytest.mark.parametrize("protocol", dm_xml.PROTOCOLS)
def test_valid_by_the_schema(protocol: str) -> None:
    schema = os.environ.get("CPE_FILTER_DM_SCHEMA")
    if not schema or shutil.which("xmllint") is None:
        pytest.skip("CPE_FILTER_DM_SCHEMA names no copy of cwmp-datamodel-1-8.xsd, or there is no xmllint")
    words = ["xmllint", "--noout", "--schema", schema, str(FOLDER / dm_xml.file_name(protocol))]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ── bbfdm ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_plugin_has_the_documented_form() -> None:
    made = plugin()
    assert made.pop("json_plugin_version") == 2
    assert list(made) == [PREFIXED]
    for path, one in leaves(made[PREFIXED], PREFIXED):
        assert one["protocols"] in (["cwmp", "usp"], ["cwmp"], ["usp"]), path
        (mapping,) = one["mapping"]
        assert mapping["type"] in ("uci", "ubus", "json"), path
        if mapping["type"] == "uci":
            assert set(mapping["uci"]) in ({"file", "section", "option"}, {"file", "section", "list"})
            assert ("list" in mapping["uci"]) == ("list" in one), path
        if mapping["type"] == "ubus":
            assert {"object", "method", "args"} <= set(mapping["ubus"])
        if one["type"] != "command":
            assert {"read", "write"} <= set(one), path


def test_an_object_below_another_has_its_whole_path() -> None:
    """bbfdm passes over a shorter one without a word."""
    below = [name for name, one in plugin()[PREFIXED].items() if isinstance(one, dict) and one.get("type") == "object"]
    assert below == [PREFIXED + one.path for one in objects() if one.path]
    assert all(plugin()[PREFIXED][name]["array"] == ("{i}" in name) for name in below)


def test_the_plugin_has_what_the_models_have() -> None:
    found = dict(leaves(plugin()[PREFIXED], PREFIXED))
    for protocol in dm_xml.PROTOCOLS:
        names = set()
        for path, one in model(protocol).items():
            for kind in ("parameter", "command"):
                names |= {path + made.get("name", "") for made in one.findall(kind)}
        served = {path.replace(PREFIXED, TOP) for path, one in found.items() if protocol in one["protocols"]}
        assert served == names


def test_a_setting_is_written_where_the_table_says() -> None:
    found = dict(leaves(plugin()[PREFIXED], PREFIXED))
    for path, one in parameters():
        made = found[PREFIXED + path]
        assert made["write"] == (one.access == RW)
        if isinstance(one.source, Uci):
            uci = made["mapping"][0]["uci"]
            place = uci.get("option") or uci["list"]
            assert (uci["file"], uci["section"]["name"], place["name"]) == ("cpe-filter", *one.source[:2])


def test_bounds_of_bbfdm_are_kept() -> None:
    """It has room for 15 words, 127 characters of a key of ubus, and 1023 of a value that it writes."""
    for path, one in leaves(plugin()[PREFIXED], PREFIXED):
        facts = one.get("list", one)
        assert len(facts.get("enumerations", [])) < 16, path
        for mapping in one["mapping"]:
            assert len(mapping.get("ubus", {}).get("key", "")) < 128, path
        if one.get("write") and one["type"] == "string":
            most = facts["maxsize"] if "list" in one else facts.get("range", [{"max": 64}])[0]["max"]
            assert most <= 1023, path


def test_the_service_serves_the_plugin_s_object() -> None:
    daemon = json.loads(bbfdm.service())["daemon"]
    assert f"{bbfdm.PLUGIN}" == f"{daemon['service_name']}.json"
    assert [f"{one['parent_dm']}{one['object']}." for one in daemon["services"]] == [PREFIXED]


# ── another vendor ──────────────────────────────────────────────────────────────────────────────────


def test_an_isp_makes_them_with_its_own_prefix(tmp_path: Path) -> None:
    assert main([str(tmp_path / "out"), "--vendor", "X_ISP-EXAMPLE"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(files())
    text = (tmp_path / "out" / dm_xml.file_name("usp")).read_text()
    assert "Device.X_ISP-EXAMPLE_CpeFilter." in text
    assert VENDOR not in text


@pytest.mark.parametrize("vendor", ["EXAMPLE", "X_", "X_isp", "X_ISP_EXAMPLE", 'X_A"', "X_A.B", "X_A-"])
def test_a_prefix_that_is_none_is_refused(vendor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--vendor", vendor])
    assert "allowed: X_ and an OUI or a domain" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
