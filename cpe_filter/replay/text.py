"""A result of replay as text of 80 columns for people.

Knows the object of `replay --json`, timelines and the width of a line. Must not judge.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.lean.log_output import one_line
from cpe_filter.replay.color import Paint
from cpe_filter.replay.stream import label
from cpe_filter.replay.timeline import Timeline, Track
from cpe_filter.status.devices import why
from cpe_filter.texts.terminal import clock, shorten, table

WIDTH = 80
#: A device's name up to this length has its numbers in the same line: a MAC has 17 characters.
_NAME = 17
_PLAIN = Paint(False)

Out = Callable[[str], None]


def show(
    result: dict[str, Any],
    out: Out,
    timeline: Timeline | None = None,
    encoding: str | None = None,
    paint: Paint = _PLAIN,
) -> None:
    """Prints a result of `replay`, with the `timeline`s where given, in characters of this encoding."""
    packets, mail = result["packets"], result["smtp_packets"]
    facts = [f"{packets} packets, {mail} of mail"]
    if result["start"] is not None:
        facts.append(f"{clock(result['start'])} to {clock(result['end'])} UTC")
    name = one_line(label(result["capture"]))
    for line in _head(name, facts):
        out(paint.title(name) + line.removeprefix(name) if line.startswith(name) else line)
    for text in _account_lines(result):
        _wrap(out, f"  {text}")
    if not result["devices"]:
        seen = bool(result.get("sessions"))
        _wrap(out, f"  {'of no connection the beginning is here' if seen else _nothing(result)}")
    else:
        _show_devices(result["devices"], out, paint)
    for device in result["devices"]:
        _show_device(device, out, paint)
        if timeline and device["device"] in timeline.tracks:
            _show_track(timeline.tracks[device["device"]], out, encoding)
    if timeline and timeline.crowded:
        out("")
        out(f"  The {timeline.limit} devices whose scores rose highest have timelines.")
    if result.get("sessions") or (result["devices"] and "sessions" in result):
        _show_sessions(result["sessions"], out, paint)


def _head(name: str, facts: Sequence[str]) -> list[str]:
    """The first lines: in as few as there is room for. A path is never broken."""
    together = f"{name}: {', '.join(facts)}"
    if len(together) <= WIDTH or len(facts) == 1:
        return [together]
    if len(f"{name}: {facts[0]}") <= WIDTH:
        return [f"{name}: {facts[0]}", f"  {facts[1]}"]
    return [f"{name}:", f"  {', '.join(facts)}"]


def _wrapped(text: str, after: str) -> list[str]:
    """The lines of a text. after: what later ones begin with."""
    if len(text) <= WIDTH:
        return [text]
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=after, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def _wrap(out: Out, text: str, after: str = "    ") -> None:
    for line in _wrapped(text, after):
        out(line)


def _account_lines(result: dict[str, Any]) -> list[str]:
    """What could not be looked into, and what was left out."""
    account, packets = result["accounting"], result["packets"]
    lines = []
    unread = sum(item["packets"] for item in account["unread"])
    if unread:
        reasons = ", ".join(f"{item['packets']} {item['meaning']}" for item in account["unread"])
        lines.append(f"{unread} of {packets} packets ({_share(unread, packets)}) could not be looked into: {reasons}")
    if account["damaged"]:
        lines.append("parts of the capture could not be read; warnings say which")
    if account["copies"]:
        lines.append(f"{account['copies']} packets are copies of others, and do not count again")
    return lines


def _share(part: int, whole: int) -> str:
    """Of 100 %, never rounded to nothing or to all."""
    share = 100 * part / whole
    if part < whole:
        return "less than 0.1%" if share < 0.1 else f"{min(share, 99.9):.1f}%"
    return "all"


def _nothing(result: dict[str, Any]) -> str:
    """The result where no device is known."""
    if result["accounting"]["complete"]:
        return "no device sent mail here"
    if result["accounting"]["read"]:
        return "no device sent mail in what could be looked into; what the rest holds is not known"
    return "nothing could be looked into; whether a device sent mail here is not known"


def _show_devices(devices: Sequence[dict[str, Any]], out: Out, paint: Paint) -> None:
    rows = [
        [
            device["device"] if len(device["device"]) <= _NAME else "",
            device["standing"],
            f"{device['score']:.1f}/{device['threshold']:g}",
            *(device[key] for key in ("connections", "sessions", "networks", "messages", "recipients")),
        ]
        for device in devices
    ]
    titles, *lines = table(
        ["device", "standing", "score", "conns", "sess", "nets", "msgs", "rcpts"], rows, right_from=2
    )
    out(f"  {titles}")
    name = max(len("device"), *(len(row[0]) for row in rows))
    for device, line in zip(devices, lines, strict=True):
        if len(device["device"]) > _NAME:
            out(f"  {device['device']}")
        word = device["standing"]
        out(f"  {line[: name + 2]}{paint.standing(word)}{line[name + 2 + len(word) :]}")


def _show_device(device: dict[str, Any], out: Out, paint: Paint) -> None:
    if not device["evidence"]:
        return
    out("")
    names = [device["name"]] if device.get("name") else []
    known = ", ".join([*names, *(shorten(address, 39) for address in device["addresses"][:4])])
    more = f" and {len(device['addresses']) - 4} more" if len(device["addresses"]) > 4 else ""
    head = "" if known == device["device"] else f" ({known}{more})"
    _wrap(out, f"  {device['device']}{head}")
    for word in ("unusual", "suspected", "compromised"):
        at = device[f"{word}_at"]
        if at:
            out(f"    {paint.standing(word)} at its connection {at['connection']}, {clock(at['time'])}")
    _wrap(out, f"    {why(device)}", "      ")
    for item in device["evidence"]:
        meaning = INDICATORS[item["indicator"]].meaning
        text = f"{item['indicator']} ({item['family']}): {meaning}"
        _wrap(out, f"    {item['weight']:+6.1f}  {item['count']:>5} x  {text}", " " * 21)


def _show_track(track: Track, out: Out, encoding: str | None) -> None:
    from cpe_filter.replay import chart

    out("")
    for line in chart.lines(track, encoding):
        _wrap(out, f"    {line}", "      ")


def _show_sessions(sessions: Sequence[dict[str, Any]], out: Out, paint: Paint) -> None:
    """A session takes up to three lines: the ends, what it was about, the server's last reply."""
    out("")
    out(paint.title(f"  {len(sessions)} {'session' if len(sessions) == 1 else 'sessions'}"))
    for session in sessions:
        port = f" port {session['server_port']}" if session["server_port"] != 25 else ""
        decision = f", {session['decision']}" if session["decision"] != "pass" else ""
        ends = f"{session['client']} > {session['server']}{port}"
        _wrap(out, f"  {clock(session['start'])[11:]}  {ends}{decision}", " " * 14)
        helo = f"HELO {session['helo']}" if session["helo"] is not None else "no HELO"
        parts = [helo, *(["TLS"] if session["tls"] else []), *_envelope(session["transactions"])]
        _wrap(out, f"            {', '.join(parts)}", " " * 14)
        if session["last_reply"]:
            out(f"            {shorten(session['last_reply'], WIDTH - 12)}")


def _envelope(transactions: Sequence[dict[str, Any]]) -> list[str]:
    """The first message and what became of it, and how many followed."""
    if not transactions:
        return []
    first = transactions[0]
    to = ", ".join(first["rcpt_to"][:2]) + (" ..." if len(first["rcpt_to"]) > 2 else "")
    more = f" and {len(transactions) - 1} more" if len(transactions) > 1 else ""
    return [f"{shorten(first['mail_from'] or '-', 40)} > {shorten(to or '-', 60)}: {first['outcome']}{more}"]
