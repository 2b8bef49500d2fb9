"""The model as DM-XML: cwmp-datamodel-1-8.xsd, TR-106.

Knows the schema. Must not know where a value comes from. Device:2.16 is extended because `Device.` is all that is
needed of it; an agent with a later one can take the same object.
"""

from __future__ import annotations

from xml.etree import ElementTree as xml

from tools.data_model.model import NAME, Command, Object, Parameter, objects

_DM, _XSI = "urn:broadband-forum-org:cwmp:datamodel-1-8", "http://www.w3.org/2001/XMLSchema-instance"
_LOCATION = f"{_DM} https://www.broadband-forum.org/cwmp/cwmp-datamodel-1-8.xsd"
_BASE, _FILE, _SPEC = "Device:2.16", "tr-181-2-16-0-{}.xml", "urn:broadband-forum-org:tr-181-2-16-0-{}"
PROTOCOLS = ("cwmp", "usp")


def file_name(protocol: str) -> str:
    return f"cpe-filter-1-0-0-{protocol}.xml"


def document(protocol: str, vendor: str) -> str:
    """For `cwmp` or `usp`. vendor: the prefix without its last underscore, `X_EXAMPLE-COM`."""
    xml.register_namespace("dm", _DM)
    xml.register_namespace("xsi", _XSI)
    owner = vendor.removeprefix("X_").lower()
    root = xml.Element(f"{{{_DM}}}document", {
        f"{{{_XSI}}}schemaLocation": _LOCATION,
        "spec": f"urn:{owner}:cpe-filter-1-0-0-{protocol}",
        "file": file_name(protocol),
    })  # fmt: skip
    _described(root, "cpe-filter as an extension of Device:2, made by tools/data_model.")
    imported = xml.SubElement(root, "import", file=_FILE.format(protocol), spec=_SPEC.format(protocol))
    xml.SubElement(imported, "model", name=_BASE)
    model = xml.SubElement(root, "model", name=f"{vendor}_Device:1.0", base=_BASE)
    top = f"Device.{vendor}_{NAME}."
    for one in objects():
        _object(model, top, one, protocol)
    xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{xml.tostring(root, encoding="unicode")}\n'


def _object(model: xml.Element, top: str, one: Object, protocol: str) -> None:
    bounds = {"minEntries": "1", "maxEntries": "1"}
    if one.entries:
        bounds = {
            "minEntries": "0",
            "maxEntries": "unbounded",
            "numEntriesParameter": f"{one.path.partition('.')[0]}NumberOfEntries",
        }
    made = xml.SubElement(model, "object", {"name": top + one.path, "access": "readOnly", **bounds})
    _described(made, one.meaning)
    if one.unique:
        xml.SubElement(xml.SubElement(made, "uniqueKey"), "parameter", ref=one.unique)
    for parameter in one.parameters:
        _parameter(made, parameter, access=parameter.access)
    if not one.path:
        for table in objects():
            if table.entries:
                _parameter(made, number_of(table), access="readOnly")
    for command in one.commands:
        if protocol == "usp":
            _command(made, command)
        elif command.trigger:
            _parameter(made, trigger(command), access="readWrite")


def number_of(table: Object) -> Parameter:
    """The parameter that counts a table's entries; it stands in the object above."""
    name = table.path.partition(".")[0]
    meaning = f"The number of entries in the {name} table."
    return Parameter(f"{name}NumberOfEntries", "unsignedInt", meaning, table.entries)


def trigger(command: Command) -> Parameter:
    """What CWMP has in place of a command."""
    meaning = f"Set to true: {command.meaning[0].lower()}{command.meaning[1:]} It reads false."
    return Parameter(command.trigger, "boolean", meaning, command.action, "readWrite", "false")


def _command(parent: xml.Element, command: Command) -> None:
    made = xml.SubElement(parent, "command", name=command.name)
    _described(made, command.meaning)
    if command.inputs:
        group = xml.SubElement(made, "input")
        for argument in command.inputs:
            _parameter(group, argument, mandatory=argument.default is None)


def _parameter(parent: xml.Element, one: Parameter, access: str = "", mandatory: bool = False) -> None:
    facts = {"name": one.name}
    if access:
        facts["access"] = access
    if mandatory:
        facts["mandatory"] = "true"
    made = xml.SubElement(parent, "parameter", facts)
    _described(made, f"{one.meaning} {{{{units}}}}" if one.unit else one.meaning)
    syntax = xml.SubElement(made, "syntax")
    if one.items:
        least, most = one.items
        xml.SubElement(syntax, "list", minItems=str(least), maxItems=str(most))
    kind = xml.SubElement(syntax, one.type)
    if one.size and not one.words:
        xml.SubElement(kind, "size", maxLength=str(one.size))
    for word in one.words:
        xml.SubElement(kind, "enumeration", value=word)
    if one.pattern:
        xml.SubElement(kind, "pattern", value=one.pattern)
    if one.low is not None and one.high is not None:
        xml.SubElement(kind, "range", minInclusive=str(one.low), maxInclusive=str(one.high))
    if one.unit:
        xml.SubElement(kind, "units", value=one.unit)
    if one.default is not None and access != "readOnly":
        value = f"[{one.default}]" if one.items else one.default
        xml.SubElement(syntax, "default", type="factory" if access else "parameter", value=value)


def _described(parent: xml.Element, text: str) -> None:
    xml.SubElement(parent, "description").text = text
