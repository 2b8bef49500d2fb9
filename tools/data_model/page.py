"""The model as tables of docs/tr069.md."""

from __future__ import annotations

from collections.abc import Iterator

from tools.data_model.dm_xml import number_of, trigger
from tools.data_model.model import LEFT_OUT, RW, Parameter, objects

SETTING_HEADER = "| parameter | type | default | allowed | UCI option |\n|---|---|---|---|---|\n"
STATUS_HEADER = "| parameter, read only | type | ubus method of `cpe-filter`, and what of its answer |\n|---|---|---|\n"
COMMAND_HEADER = "| command (USP) | arguments | in place of it (CWMP) | ubus |\n|---|---|---|---|\n"
LEFT_HEADER = "| UCI options | why they are not parameters |\n|---|---|\n"


def setting_rows() -> str:
    """What can be set."""
    return "\n".join(
        f"| `{path}` | {_type(one)} | {_code(one.default)} | {allowed(one)} | `{one.source}` |"
        for path, one in _all()
        if one.access == RW
    )


def status_rows() -> str:
    """What can be read alone."""
    return "\n".join(f"| `{path}` | {_type(one)} | `{one.source}` |" for path, one in _all() if one.access != RW)


def command_rows() -> str:
    rows = []
    for one in objects():
        for command in one.commands:
            names = ", ".join(f"`{argument.name}`" for argument in command.inputs)
            instead = f"set `{one.path}{trigger(command).name}` to true" if command.trigger else "none"
            rows.append(f"| `{one.path}{command.name}` | {names} | {instead} | `{command.action}` |")
    return "\n".join(rows)


def left_rows() -> str:
    """What is left out, and why."""
    return "\n".join(f"| {' '.join(f'`{one}`' for one in options)} | {why} |" for why, options in LEFT_OUT.items())


def _all() -> Iterator[tuple[str, Parameter]]:
    for one in objects():
        for parameter in one.parameters:
            yield one.path + parameter.name, parameter
        if one.entries:
            count = number_of(one)
            yield count.name, count._replace(source=one.entries._replace(key=f"{one.entries.key}, its length"))


def _type(one: Parameter) -> str:
    return f"list of {one.type}" if one.items else one.type


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def allowed(one: Parameter) -> str:
    """In words."""
    if one.type == "boolean":
        return "true, false"
    if one.words:
        return ", ".join(one.words)
    texts = []
    if one.items:
        least, most = one.items
        texts.append(f"{least} to {most} entries")
    if one.low is not None:
        texts.append(f"{one.low} to {one.high}{f' {one.unit}' if one.unit else ''}")
    if one.size:
        texts.append(f"at most {one.size} characters")
    if one.pattern:
        texts.append(f"`{one.pattern.replace('|', chr(92) + '|')}`")
    return ", ".join(texts)
