"""The model as a JSON plugin, version 2, for bbfdm, and the file that makes a service of it.

Knows the plugin's form (bbfdm's docs/guide/How_to_extend_datamodel_with_JSON.md and dm-service.md). bbfdm puts the
vendor prefix that it was built with in place of `{BBF_VENDOR_PREFIX}`. Must not know XML.
"""

from __future__ import annotations

import json
from typing import Any

from tools.data_model.dm_xml import number_of, trigger
from tools.data_model.model import NAME, RW, Action, Command, Object, Parameter, Ubus, Uci, objects

PLUGIN, SERVICE = "cpe-filter.json", "cpe-filter-service.json"
#: bbfdm cuts a value that it writes to UCI at 1023 characters without a word.
MOST_WRITTEN = 1023
_BOTH, _USP, _CWMP = ["cwmp", "usp"], ["usp"], ["cwmp"]
_OBJECT = "Device.{BBF_VENDOR_PREFIX}" + NAME + "."
_NEEDS = "file:/etc/config/cpe-filter"


def plugin() -> str:
    """/usr/share/bbfdm/micro_services/cpe-filter.json."""
    root: dict[str, Any] = {}
    for one in objects():
        made = _object(one)
        if one.path:
            root[_OBJECT + one.path] = made
        else:
            root = {**made, "dependency": _NEEDS}
            for table in objects():
                if table.entries:
                    count = number_of(table)
                    root[count.name] = _parameter(count, _counted(table.entries))
    return _written({"json_plugin_version": 2, _OBJECT: root})


def service() -> str:
    """/etc/bbfdm/services/cpe-filter.json."""
    served = {"parent_dm": "Device.", "object": _OBJECT.removeprefix("Device.").rstrip(".")}
    daemon = {
        "enable": "1",
        "service_name": "cpe-filter",
        "unified_daemon": False,
        "services": [served],
        "config": {"loglevel": "3"},
    }
    return _written({"daemon": daemon})


def _written(content: dict[str, Any]) -> str:
    return json.dumps(content, indent="\t", ensure_ascii=False) + "\n"


def _object(one: Object) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "protocols": _BOTH, "access": False, "array": one.entries is not None}
    if one.entries:
        made["mapping"] = [_from_ubus(one.entries)]
    for parameter in one.parameters:
        made[parameter.name] = _parameter(parameter, _mapping(parameter, one))
    for command in one.commands:
        made[command.name] = _command(command)
        if command.trigger:
            made[command.trigger] = _parameter(trigger(command), [_called(command.action)], _CWMP)
    return made


def _parameter(one: Parameter, mapping: list[dict[str, Any]], protocols: list[str] = _BOTH) -> dict[str, Any]:
    made: dict[str, Any] = {"type": one.type, "read": True, "write": one.access == RW, "protocols": protocols}
    if one.items:
        least, most = one.items
        facts = {"datatype": one.type, "maxsize": MOST_WRITTEN, "item": {"min": least, "max": most}, **_allowed(one)}
        made |= {"type": "string", "list": facts}
    else:
        made |= _allowed(one)
    if one.default:
        made["default"] = {"true": "1", "false": "0"}.get(one.default, one.default)
    made["mapping"] = mapping
    return made


def _allowed(one: Parameter) -> dict[str, Any]:
    if one.words:
        return {"enumerations": list(one.words)}
    if one.low is not None:
        return {"range": [{"min": one.low, "max": one.high}]}
    made: dict[str, Any] = {"range": [{"min": 0, "max": min(one.size, MOST_WRITTEN)}]} if one.size else {}
    return made | ({"pattern": [f"^{one.pattern}$"]} if one.pattern else {})


def _mapping(one: Parameter, where: Object) -> list[dict[str, Any]]:
    if where.entries and isinstance(one.source, Ubus):
        return [{"data": "@Parent", "type": "json", "key": one.source.key}]
    if isinstance(one.source, Uci):
        place = {"list" if one.source.is_list else "option": {"name": one.source.option}}
        section = {"name": one.source.section}
        return [{"type": "uci", "uci": {"file": "cpe-filter", "section": section, **place}}]
    if isinstance(one.source, Ubus):
        return [_from_ubus(one.source)]
    raise ValueError(f"{one.name} has no source")


def _from_ubus(source: Ubus) -> dict[str, Any]:
    return {"type": "ubus", "ubus": {"object": "cpe-filter", "method": source.method, "args": {}, "key": source.key}}


def _counted(source: Ubus) -> list[dict[str, Any]]:
    return [_from_ubus(source._replace(key=f"{source.key}.@Count"))]


def _called(action: Action) -> dict[str, Any]:
    called = {"object": action.object, "method": action.method, "args": action.arguments}
    return {"rpc": "set", "type": "ubus", "ubus": called}


def _command(command: Command) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "command", "async": False, "protocols": _USP}
    if command.inputs:
        made["input"] = {one.name: _argument(one) for one in command.inputs}
    action = command.action
    called = {"object": action.object, "method": action.method, "args": action.arguments}
    return {**made, "mapping": [{"type": "ubus", "ubus": called}]}


def _argument(one: Parameter) -> dict[str, Any]:
    return {"type": one.type, "read": True, "write": True, "protocols": _USP, **_allowed(one)}
