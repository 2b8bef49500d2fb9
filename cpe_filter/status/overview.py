"""A status object as lines of text for a terminal.

Knows the status object and how wide the terminal is. Must not judge, read files or ask the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.status.devices import why
from cpe_filter.texts.terminal import clock, shorten, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import Posix

_WORST_FIRST = (COMPROMISED, UNUSUAL, SUSPECTED, CLEAR)
#: Exemptions that are shown.
_EXEMPTIONS = 8
#: The kernel's counters in the order in which they are shown; others follow by their own names.
_COUNTED = ("observed", "queued", "known", "refused", "blocked", "limited", "explained", "undecided", "flooded")


def describe(
    content: dict[str, Any],
    now: Posix,
    width: int | None = None,
    config_error: str | None = None,
    notes: Sequence[str] = (),
) -> list[str]:
    """Lines of at most `width` characters; None: of any length. now: POSIX seconds.

    config_error: why the service does not use its configuration, if it does not. notes: what else it reports.

    Raises ArithmeticError, AttributeError, LookupError, TypeError or ValueError if the content is not a status.
    """
    up = int(content["updated"] - content["since"])
    age = max(0.0, now - content["updated"])
    lines = [
        f"cpe-filter is running (pid {content['pid']}, up {up // 3600}:{up % 3600 // 60:02}:{up % 60:02}), "
        f"mode {content['mode']}, queue {content['queue']} by {content['handoff']}",
        f"{content['mail_packets']} packets of mail looked at, {content['flows']} connections open, "
        f"{content['failures']} failures; as of {age:.0f} s ago",
        *_documents(content),
        *([f"configuration: not used, the policy is an earlier one: {config_error}"] if config_error else []),
        *(f"note: {note}" for note in notes),
        *_fares(content),
    ]
    lines = [part for line in lines for part in _folded(line, width)]
    devices = sorted(content["devices"], key=lambda one: (_WORST_FIRST.index(one["standing"]), -one["score"]))
    if not devices:
        return [*lines, *_folded("No device has sent mail straight to a stranger's server.", width)]
    lines.append("")
    lines += _table(devices, width)
    for device in devices:
        if device["standing"] in (COMPROMISED, UNUSUAL):
            lines += ["", *(part for line in _held_against(device) for part in _folded(line, width))]
    return lines


def _documents(content: dict[str, Any]) -> list[str]:
    """The ISP's signed documents in force."""
    names = [f"{kind} {name.partition(' ')[0]}" for kind, name in content.get("signed", {}).items()]
    return [f"signed documents in force: {', '.join(names)}"] if names else []


def _fares(content: dict[str, Any]) -> list[str]:
    """Lines about kernel, queue and rules. An older filter's status does not have them."""
    return [
        *_kernel(content),
        *(_way_out(way) for way in content.get("unwatched") or ()),
        *(_unlisted(network) for network in content.get("unlisted") or ()),
        *(_submission(one) for one in content.get("submission") or () if one["many"]),
        *(_serving(one) for one in content.get("serving") or ()),
        *_queue(content),
        *_rules_and_policy(content),
        *_exempt(content),
        *_notice(content),
        *_devices(content),
    ]


def _kernel(content: dict[str, Any]) -> list[str]:
    kernel = content.get("kernel")
    if not kernel:
        return []
    others = sorted(name for name in kernel if name not in (*_COUNTED, "unobserved"))
    named = [name for name in _COUNTED if name in kernel] + others
    counts = ", ".join(f"{kernel[name][0]} {name}" for name in named)
    return [f"kernel: {counts} (packets)", _not_observed(content)]


def _queue(content: dict[str, Any]) -> list[str]:
    queue, memory = content.get("queue_state"), content.get("memory")
    parts = []
    if queue:
        parts.append(f"{queue['waiting']} packets wait, {queue['dropped_queue'] + queue['dropped_socket']} lost")
    if memory:
        parts.append(f"memory {memory / 1e6:.1f} MB")
    return ["queue: " + "; ".join(parts)] if parts else []


def _rules_and_policy(content: dict[str, Any]) -> list[str]:
    lines = []
    if content.get("restored"):
        lines.append(f"rules: restored {content['restored']} times after other programs had changed them")
    policy = content.get("policy")
    if policy and policy.get("refused"):
        lines.append(f"policy: as it was read {clock(policy['read'])} UTC; a reload was refused: {policy['refused']}")
    return lines


def _exempt(content: dict[str, Any]) -> list[str]:
    lines = []
    exempt = (content.get("exempt") or [])[:_EXEMPTIONS]
    for one in exempt:
        until = f" until {clock(one['until'])} UTC" if one["until"] is not None else ""
        reason = f" ({one['reason']})" if one["reason"] else ""
        lines.append(f"exempt: device {one['device']} to {one['destination']}{until}{reason}")
    more = content.get("exempt_count", 0) - len(exempt)
    if more > 0:
        lines.append(f"exempt: {more} more (cpe-filter exempt list)")
    return lines


def _notice(content: dict[str, Any]) -> list[str]:
    """To which compromised devices the notice was shown, when, and what was answered."""
    lines = []
    notice = content.get("notice") or {}
    if notice and not notice["served"]:
        lines.append("notice: not served (cpe-filter explain does not answer)")
    for one in notice.get("devices", ())[:_EXEMPTIONS]:
        shown = (
            f"opened {one['times_shown']} times, last {clock(one['shown_at'])} UTC" if one["shown_at"] else "not opened"
        )
        answer = f"answered {clock(one['answered_at'])} UTC: {one['answer']}" if one["answer"] else "not answered"
        leads = ", its HTTP leads there" if one["leads"] else ""
        if one.get("shut_out"):
            leads = ", the firewall keeps it from there"
        lines.append(f"notice: device {one['device']}: {shown}, {answer}{leads}{_quarantine(one)}")
    return lines


def _quarantine(one: dict[str, Any]) -> str:
    if one.get("quarantine") == "held":
        since, ends = clock(one["quarantined_at"]), clock(one["quarantine_ends_at"])
        return f", in quarantine since {since} UTC until {ends} UTC, {one['releases']} releases by its users left"
    if one.get("quarantine"):
        return f", released from quarantine {clock(one['quarantine_ended_at'])} UTC by {one['quarantine']}"
    return ""


def _devices(content: dict[str, Any]) -> list[str]:
    standings = [device["standing"] for device in content["devices"]]
    counted = [f"{standings.count(standing)} {standing}" for standing in _WORST_FIRST if standing in standings]
    return ["devices: " + ", ".join(counted)] if counted else []


def _way_out(way: dict[str, Any]) -> str:
    """An interface by which mail leaves that is not looked at."""
    families = " and ".join([f"IPv{family}" for family in way["families"]])
    parts = []
    if way["last"] is not None:
        parts.append(f"mail left there: {way['connections']} connections, last {clock(way['last'])} UTC")
    for kind, words in (("default_route", "a default route"), ("standby_route", "a default route of lower priority")):
        if way[kind]:
            parts.append(f"{words} leads there ({' and '.join([f'IPv{family}' for family in way[kind]])})")
    leaves = "can leave"
    if way["last"] is not None or way["default_route"]:
        leaves = "leave" if len(way["families"]) > 1 else "leaves"
    return (
        f"not watched: {families} {leaves} by {way['interface']}, since {clock(way['since'])} UTC; {'; '.join(parts)}"
    )


def _unlisted(network: dict[str, Any]) -> str:
    """A network that is not in the policy, whose mail leaves by a watched interface."""
    families = " and ".join([f"IPv{family}" for family in network["families"]])
    last = f"{network['connections']} connections, last {clock(network['last'])} UTC"
    return f"not watched: {families} mail of {network['interface']}, since {clock(network['since'])} UTC; {last}"


def _submission(one: dict[str, Any]) -> str:
    """A device with many submission servers."""
    name = f" ({one['name']})" if one.get("name") else ""
    return (
        f"submission (ports 465, 587, 2525): {one['device']}{name}, since {clock(one['since'])} UTC: "
        f"{one['servers']} servers, {one['failures']} of {one['connections']} connections failed; nothing is blocked"
    )


def _serving(one: dict[str, Any]) -> str:
    """A device that takes mail from outside."""
    return f"takes mail from outside: {one['device']}, last {clock(one['last'])} UTC"


def _not_observed(content: dict[str, Any]) -> str:
    """How much mail was not observed, and when last."""
    parts = []
    for count, cause, at in (
        (content["kernel"].get("unobserved", (0,))[0], "beyond the rate guard", content.get("unobserved_at")),
        (content.get("lost", 0), "lost, the filter was busy", content.get("lost_at")),
    ):
        if count:
            parts.append(f"{count} packets {cause}" + (f" (last {clock(at)} UTC)" if at else ""))
    if not parts:
        return f"not observed: nothing since {clock(content['since'])} UTC"
    return f"not observed since {clock(content['since'])} UTC: " + ", ".join(parts)


def _table(devices: list[dict[str, Any]], width: int | None) -> list[str]:
    """One line a device. If the table is too wide, a shorter one of 75 characters, with names in place of MACs."""
    lines = _wide_table(devices)
    if width is None or max(map(len, lines)) <= width:
        return lines
    titles = ["device", "standing", "mode", "score", "conns", "refused", "mails", "rcpts"]
    rows = [
        [
            shorten(device.get("name") or device["device"], 17),
            device["standing"],
            device["mode"],
            f"{device['score']:.1f}",
            device["connections"],
            device["refused"],
            device["messages"],
            device["recipients"],
        ]
        for device in devices
    ]
    return [line[:width].rstrip() for line in table(titles, rows, right_from=3)]


def _wide_table(devices: list[dict[str, Any]]) -> list[str]:
    titles = ["device", "standing", "mode now", "score", "connections", "refused", "networks", "messages", "recipients"]
    rows = [
        [
            device["device"],
            device["standing"],
            device["mode"],
            f"{device['score']:.1f}/{device['threshold']:g}",
            device["connections"],
            device["refused"],
            device["networks"],
            device["messages"],
            device["recipients"],
        ]
        for device in devices
    ]
    named = any(device.get("name") for device in devices)
    if named:
        titles.insert(1, "name")
        for row, device in zip(rows, devices, strict=True):
            row.insert(1, device.get("name") or "-")
    return table(titles, rows, right_from=3 + named)


def _held_against(device: dict[str, Any]) -> list[str]:
    unusual = device["standing"] == UNUSUAL
    at = device.get("unusual_at") if unusual else device["compromised_at"]
    since = f" since {clock(at['time'])} UTC, its connection {at['connection']}" if at else ""
    kind = f"{device['class']} by DHCP" if device.get("class") else ""
    known = ", ".join([part for part in (device.get("name"), kind, *device["addresses"][:4]) if part])
    lines = [f"{device['device']} ({known}) is {device['standing']}{since}:", f"  {why(device)}"]
    if unusual:
        mac = device["device"].partition(" ")[0]  # of a host behind a second router: that router's
        lines.append(f"  Is this your mail server? Then exempt it: cpe-filter exempt add --device {mac}")
        return lines
    for item in device["evidence"][:5]:
        indicator = INDICATORS.get(item["indicator"])
        if indicator and item["weight"] > 0:
            lines.append(f"  {item['weight']:+6.1f}  {item['count']:>5} x  {indicator.meaning}")
    return lines


def _folded(line: str, width: int | None) -> Sequence[str]:
    """A line wrapped between words, with a hanging indent."""
    if width is None or len(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip()) + 2
    out, rest = [], line
    while len(rest) > width:
        cut = rest.rfind(" ", indent + 1, width + 1)
        if cut < 0:
            cut = width
        out.append(rest[:cut].rstrip())
        rest = " " * indent + rest[cut:].lstrip()
    return [*out, rest]
