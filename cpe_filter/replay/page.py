"""The result of replay as one HTML page that needs nothing else: no script, no network, no other file.

Knows HTML and the object of `replay --json`. Must not judge. Strings of a capture go through `html.shown`. In addition
the page's Content-Security-Policy allows nothing but its own style sheet, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from typing import Any

from cpe_filter import __version__
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import CLEAR, COMPROMISED, CONVICT_AT, SUSPECT_AT, SUSPECTED, UNUSUAL
from cpe_filter.replay.axis import axis, moment, precision
from cpe_filter.replay.style import STYLE
from cpe_filter.replay.svg import description, svg
from cpe_filter.replay.timeline import Timeline, Track
from cpe_filter.replay.violations import VIOLATIONS
from cpe_filter.status.devices import why
from cpe_filter.texts.html import Column, code, count, note, pill, shown, signed, table
from cpe_filter.texts.terminal import clock

#: The most rows of a table; the page says how many are left out. `--json` has all.
DEVICES = 256
SESSIONS = 2000
#: A list of so many sessions is open from the start.
_FEW = 20
_WORST_FIRST = (COMPROMISED, SUSPECTED, UNUSUAL, CLEAR)

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


class Page:
    """Takes captures one by one, as they are judged; `text` is the complete page."""

    def __init__(self) -> None:
        self._contents: list[str] = []
        self._sections: list[str] = []
        self._standings: list[str] = []
        self._complete = True

    def failed(self, path: str, reason: str) -> None:
        """A capture that could not be used."""
        self._complete = False
        self._contents.append(f"<li>{shown(path)} <span>could not be used</span></li>")
        self._sections.append(
            f'<section class="capture"><h2>{shown(path)}</h2>'
            f'<p class="warning">Could not be used: {shown(reason)}</p></section>'
        )

    def add(self, result: dict[str, Any], timeline: Timeline, warnings: Sequence[str] = ()) -> None:
        """A capture's result, as `replay` returns it."""
        number = len(self._sections) + 1
        devices = sorted(result["devices"], key=lambda d: (_WORST_FIRST.index(d["standing"]), -d["score"]))
        standings = [device["standing"] for device in devices]
        self._standings += standings
        self._complete &= result["accounting"]["complete"]
        nothing = "no device sent mail" if result["accounting"]["complete"] else "no device known; not all was read"
        worst = pill(standings[0]) if standings else f'<span class="soft">{nothing}</span>'
        link = f'<a href="#c{number}">{shown(result["capture"])}</a>'
        found = f'<span class="found">{count(len(devices), "device")} <span>{worst}</span></span>'
        self._contents.append(f"<li>{link} {found}</li>")
        parts = [f'<section class="capture" id="c{number}"><h2>{shown(result["capture"])}</h2>', _facts(result)]
        parts += [f'<p class="warning">{shown(text)}</p>' for text in warnings]
        named = {device["device"]: f"c{number}d{at}" for at, device in enumerate(devices[:DEVICES], 1)}
        if devices:
            parts.append(_devices(devices, named))
        if timeline.crowded:
            parts.append(f'<p class="note">The {timeline.limit} whose scores rose highest have timelines.</p>')
        for device in devices[:DEVICES]:
            if device["evidence"]:
                track = timeline.tracks.get(device["device"])
                parts.append(_device(device, track, named[device["device"]]))
        if "sessions" in result:
            parts.append(_sessions(result["sessions"]))
        self._sections.append("".join([*parts, "</section>"]))

    def text(self) -> str:
        headline = _headline(self._standings, self._complete)
        contents = f'<nav aria-label="Captures"><ul class="contents">{"".join(self._contents)}</ul></nav>'
        return "".join(
            [
                '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">',
                f"<title>{headline} - cpe-filter</title><style>{STYLE}</style></head><body>",
                '<a class="skip" href="#main">To the findings</a><div class="page"><header>',
                f'<p class="over">cpe-filter replay, {count(len(self._sections), "capture")}</p><h1>{headline}</h1>',
                f'<p class="lead">A device is suspected at a score of {SUSPECT_AT:g} and compromised at '
                f"{CONVICT_AT:g}, given evidence of two families. Each capture is judged separately. "
                "All times are UTC.</p>",
                contents if len(self._sections) > 1 else "",
                '</header>\n<main id="main">',
                "\n".join(self._sections),
                f"</main>\n<footer>Written by cpe-filter {__version__}. This page loads nothing.</footer>",
                "</div></body></html>\n",
            ]
        )


def _headline(standings: Sequence[str], complete: bool) -> str:
    """complete: all captures could be looked into. If not, a good finding holds for a part."""
    for standing in _WORST_FIRST[:3]:
        number = standings.count(standing)
        if number:
            if len(standings) == 1:
                return f"One device, {standing}"
            more = standings.count(SUSPECTED) if standing == COMPROMISED else 0
            also = f", {more} suspected" if more else ""
            return f"{number} of {len(standings)} devices {'is' if number == 1 else 'are'} {standing}{also}"
    part = "" if complete else ", in what could be looked into"
    if not standings:
        return f"No device sent mail{part}"
    return f"One device, clear{part}" if len(standings) == 1 else f"All {len(standings)} devices are clear{part}"


def _facts(result: dict[str, Any]) -> str:
    start, end = result["start"], result["end"]
    facts = [("Packets", f"{result['packets']:,}"), ("Of mail", f"{result['smtp_packets']:,}")]
    if start is not None:
        facts += [("First", clock(start)), ("Last", clock(end)), ("Duration", _duration(end - start))]
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{rows}</dl>'


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    days, rest = divmod(int(seconds), 86400)
    return f"{f'{days:,} d ' if days else ''}{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"


def _devices(devices: Sequence[dict[str, Any]], named: dict[str, str]) -> str:
    counts = ("connections", "sessions", "networks", "messages", "recipients")
    rows = []
    for device in devices[:DEVICES]:
        name = f'<span class="code nowrap">{shown(device["device"])}</span>'
        if device["evidence"]:
            name = f'<a href="#{named[device["device"]]}">{name}</a>'
        score = f'{device["score"]:.1f} <span class="soft">/ {device["threshold"]:g}</span>'
        rows.append(("", [name, pill(device["standing"]), score, *(f"{device[key]:,}" for key in counts)]))
    titles = ("Connections", "Sessions", "Networks", "Messages", "Recipients")
    columns = [Column("Device"), Column("Standing"), Column("Score", "n"), *(Column(title, "n") for title in titles)]
    left = len(devices) - DEVICES
    caption = count(len(devices), "device") + (f", the first {DEVICES}" if left > 0 else "")
    return f'<div class="card loose">{table(caption, columns, rows)}</div>'


def _device(device: dict[str, Any], track: Track | None, name: str) -> str:
    known = [shown(address) for address in device["addresses"][:6] if address != device["device"]]
    known = [*([shown(device["name"])] if device.get("name") else []), *known]
    more = f" and {len(device['addresses']) - 6} more" if len(device["addresses"]) > 6 else ""
    parts = [
        f'<article class="card" id="{name}" aria-labelledby="{name}-name"><header>',
        f'<h3 id="{name}-name" class="code">{shown(device["device"])}</h3>{pill(device["standing"])}',
        f'<span class="soft">{", ".join(known)}{more}</span></header>',
        f"<p>{_standing(device)}</p>",
    ]
    if track is not None:
        parts += _timeline(track, name)
    parts.append(f"<h4>All evidence</h4>{_evidence(device['evidence'])}")
    if track is not None:
        parts.append(_points(track))
    return "".join([*parts, "</article>"])


def _standing(device: dict[str, Any]) -> str:
    sentences = [f"Score {device['score']:.1f}."]
    for standing in (UNUSUAL, SUSPECTED, COMPROMISED):
        at = device[f"{standing}_at"]
        if at:
            sentences.append(f"{standing.title()} at its connection {at['connection']:,}, {clock(at['time'])}.")
    if device["families"]:
        sentences.append(f"Families of evidence against it: {', '.join(device['families'])}.")
    reason = why(device)
    sentences.append(shown(f"{reason[:1].upper()}{reason[1:]}.", 400))
    return " ".join(sentences)


def _timeline(track: Track, name: str) -> list[str]:
    if track.peak.score < 0.05:
        return ['<p class="soft">Its score stayed at 0.0 all the time.</p>']
    drawn = axis(track)
    how = "Score in the order of evidence" if drawn.by_order else "Score over time"
    how += ", with the number of connections opened by then."
    if drawn.cut:
        how += f" Drawn until soon after the conviction; evidence went on until {clock(track.last.time)}."
    if not track.begun:
        how += " What came before was not kept."
    parts = [f"<figure>{svg(track, name)}<figcaption>{how}</figcaption></figure>"]
    movers = track.movers()
    if movers:
        step = precision([track.first, track.last])
        rows = []
        for point in movers:
            mark = track.mark(point)
            standing = mark if mark in _WORST_FIRST else ""
            then = f'<br><span class="then">{pill(mark) if standing else mark}</span>' if mark else ""
            when = moment(point.time, step) + note(f"connection {point.connection:,}")
            what = ("Not seen: " if point.absent else "") + _meaning(point.indicator) + then
            rows.append((standing, [when, what, signed(point.added), f"{point.score:.1f}"]))
        until = " until it was compromised" if COMPROMISED in track.standings else ""
        columns = [Column("Time", "nowrap"), Column("Evidence"), Column("Added", "n"), Column("Score", "n")]
        caption = f"The evidence that moved the score most{until}, in order of time"
        parts.append(f"<h4>How it came about</h4>{table(caption, columns, rows)}")
    return parts


def _meaning(indicator: str) -> str:
    """An indicator's meaning for people, with its name and family."""
    known = INDICATORS[indicator]
    family = f'<span class="narrow-off"> &middot; {known.family}</span>'
    return html.escape(known.meaning) + note(f"<code>{indicator}</code>{family}")


def _evidence(evidence: Sequence[dict[str, Any]]) -> str:
    most = max([0.1, *(abs(item["weight"]) for item in evidence)])
    rows = []
    for item in evidence:
        width = round(abs(item["weight"]) / most * 98, 1)
        side = 'class="for" x="100"' if item["weight"] > 0 else f'class="against" x="{100 - width:.1f}"'
        bar = (
            '<svg class="bar" viewBox="0 0 200 10" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect {side} y="1" width="{width}" height="8"/><line x1="100" x2="100" y2="10"/></svg>'
        )
        rows.append(("", [_meaning(item["indicator"]), f"{item['count']:,}", signed(item["weight"]), bar]))
    columns = [Column("Evidence"), Column("Times", "n"), Column("Weight", "n")]
    columns.append(Column("Lowers &middot; raises", "narrow-off middle"))
    return table("What each indicator added in all, the weightiest first", columns, rows)


def _points(track: Track) -> str:
    points = track.points()
    step = min(1.0, precision([track.first, track.last]))
    rows = []
    for point in points:
        cells = [moment(point.time, step), f"{point.connection:,}", f"<code>{point.called}</code>"]
        rows.append(("", [*cells, signed(point.added, 2), f"{point.score:.2f}"]))
    kept = f", {len(points):,} that a drawing needs" if track.count > len(points) else ""
    columns = [Column("Time", "nowrap"), Column("Conn.", "n"), Column("Indicator"), Column("Added", "n")]
    caption = f"{count(track.count, 'piece')} of evidence{kept}"
    listed = table(caption, [*columns, Column("Score", "n")], rows)
    sentences = f'<p class="note">{description(track)}</p>'
    return f"<details><summary>The chart in words and as a table</summary>{sentences}{listed}</details>"


def _sessions(sessions: Sequence[dict[str, Any]]) -> str:
    titles = ("Start", "From", "To", "HELO", "Envelope", "Outcome", "Last reply")
    rows = [("", _session(session)) for session in sessions[:SESSIONS]]
    left = f", the first {SESSIONS:,}" if len(sessions) > SESSIONS else ""
    caption = f"{count(len(sessions), 'session')}{left}"
    listed = table(caption, [Column(title) for title in titles], rows)
    opened = " open" if 0 < len(sessions) <= _FEW else ""
    return (
        f'<div class="card sessions"><h3>SMTP sessions</h3><details{opened}><summary>{caption}</summary>{listed}'
        "</details></div>"
    )


def _session(session: dict[str, Any]) -> list[str]:
    envelope = outcome = "-"
    if session["transactions"]:
        first, *others = session["transactions"]
        to = ", ".join(first["rcpt_to"][:2]) + (" ..." if len(first["rcpt_to"]) > 2 else "")
        envelope = shown(first["mail_from"] or "-") + note(f"to {shown(to or '-')}")
        outcome = shown(first["outcome"]) + (f" +{len(others)}" if others else "")
    start = clock(session["start"])[11:] + note(f"conn. {session['connection']:,}")
    device = code(session["device"])
    if session["client"] != session["device"]:
        device += note(shown(session["client"]))
    server = shown(session["server"]) + (f" port {session['server_port']}" if session["server_port"] != 25 else "")
    if session["tls"]:
        known = [shown(session[key]) for key in ("tls_server_name", "tls_fingerprint") if session[key]]
        server += note(" ".join(["TLS", *known]))
    helo = code(session["helo"]) if session["helo"] is not None else "-"
    if session["decision"] != "pass":
        outcome += note(f"{shown(session['decision'])}: {shown(session['reason'])}")
    reply = shown(session["last_reply"]) if session["last_reply"] else "-"
    if session["violations"]:
        reply += note(", ".join(_violation(name) for name in session["violations"]))
    return [start, device, server, helo, envelope, outcome, reply]


def _violation(name: str) -> str:
    """A violation's name, with its meaning and rule."""
    if name not in VIOLATIONS:
        return shown(name)
    author, meaning, source = VIOLATIONS[name]
    return f'<abbr title="{html.escape(f"{author} {meaning} ({source})")}">{name}</abbr>'
