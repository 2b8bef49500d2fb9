"""The subscriber's page: one HTML file that needs nothing else, in one of the languages of texts.notice.

Knows HTML, the texts' keys and `devices.Entry`. Must not judge. A device's name of its own is hostile: it goes through
`html.shown`. The page has no script and no form, loads nothing (the Content-Security-Policy allows only the style
sheet, by its hash), and has no e-mail address and no link except the provider's help_url and the router's own notice
that can be answered. This module is loaded only in
the child process that makes the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cpe_filter.detect.score import COMPROMISED, UNUSUAL
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.notice import card
from cpe_filter.notice.devices import Entry
from cpe_filter.notice.style import HASH, STYLE
from cpe_filter.texts.html import escape, shown
from cpe_filter.texts.notice import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import Posix

#: How many devices are shown in full, and how many are only named.
SHOWN, NAMED = 32, 64
_POLICY = f"default-src 'none'; style-src '{HASH}'; base-uri 'none'; form-action 'none'"
#: Of `Entry.past`.
RELEASED = "released"


class PageSettings(NamedTuple):
    """language: of notice_text. provider, help_url: may be empty. mode: of every device at least. reports: the provider
    gets reports of incidents; names: with the devices' own names, too. phone: for help, may be empty. answer_at: URLs
    of the notice that is served, one for each address of the router; empty where none is."""

    language: str
    provider: str
    help_url: str
    mode: str
    reports: bool
    names: bool
    phone: str = ""
    answer_at: tuple[str, ...] = ()


def page(settings: PageSettings, entries: Sequence[Entry], now: Posix) -> str:
    """now: POSIX seconds. Times are shown in local time."""
    words = Words(settings.language, settings.provider)
    groups: tuple[list[Entry], ...] = ([], [], [])
    for entry in entries:
        groups[_group(entry)].append(entry)
    urgent, watched, others = (sorted(group, key=order) for group, order in zip(groups, _ORDERS, strict=True))
    asked = any(one.standing == UNUSUAL for one in watched)
    title = _title(words, len(urgent), asked)
    lead = "lead_action" if urgent else "lead_question" if asked else "lead_none"
    detailed = [*urgent, *watched]
    parts = [
        f'<!DOCTYPE html>\n<html lang="{settings.language}"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
        f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{STYLE}</style></head><body>',
        f'<header class="{"action" if urgent else "calm"}"><div><p class="over">{_said(words, "title")}</p>',
        f"<h1>{title}</h1><p>{_said(words, lead)}</p></div></header>\n<main>",
        *(_card(words, settings, one) for one in detailed[:SHOWN]),
        _others(words, [*detailed[SHOWN:], *others], bool(detailed)),
        _rights(words, settings),
        f"</main>\n<footer><p>{_as_of(words, now)}</p></footer></body></html>\n",
    ]
    return "\n".join(parts)


def _group(entry: Entry) -> int:
    """What to do something about, what to know of, and the rest: the place in `_ORDERS`."""
    if entry.standing == COMPROMISED:
        return 0
    return 1 if entry.standing == UNUSUAL or entry.past else 2


#: Order within each group: the latest first.
_ORDERS: tuple[Callable[[Entry], float], ...] = (
    lambda entry: -(entry.first or 0.0),
    lambda entry: -max(entry.first or 0.0, entry.past_at if entry.past else 0.0),
    lambda entry: -entry.last,
)


def _title(words: Words, urgent: int, asked: bool) -> str:
    if not urgent:
        return _said(words, "h_question" if asked else "h_none")
    return _said(words, "h_action_one" if urgent == 1 else "h_action_many", count=urgent)


def _card(words: Words, settings: PageSettings, one: Entry) -> str:
    urgent, asked = one.standing == COMPROMISED, one.standing == UNUSUAL
    since = f' <span class="since">{_said(words, "since", time=_local(words, one.first))}</span>' if one.first else ""
    parts = [
        f'<article class="{"action" if urgent else "calm"}"><div class="top"><h2>{_name(words, one)}</h2>',
        f'<p class="standing"><strong class="mark">{_said(words, _mark(one))}</strong>',
        f"{since if urgent or asked else ''}</p></div>{_marks(words, one)}<p>{_standing(words, one)}</p>",
    ]
    if urgent or asked or one.past == RELEASED:
        indicators = () if asked else one.indicators
        parts.append(card.facts(words, indicators, one.first, one.last, one.counts, one.mode))
    if urgent:
        parts.append(_steps(words, settings, one))
    elif asked:
        parts.append(f'<h3>{_said(words, "h_own")}</h3><p class="steps">{_said(words, "own")}</p>')
    return "".join([*parts, "</article>"])


def _mark(one: Entry) -> str:
    """The key of the words that say whether there is something to do."""
    if one.standing == COMPROMISED:
        return "action"
    return "h_question" if one.standing == UNUSUAL else "no_action"


def _standing(words: Words, one: Entry) -> str:
    if one.standing not in (COMPROMISED, UNUSUAL):  # it is here for its past
        return _said(words, one.past, time=_local(words, one.past_at))
    return _said(words, f"standing_{one.standing}")


def _steps(words: Words, settings: PageSettings, one: Entry) -> str:
    if one.place in ("router", "home"):
        return f'<p class="steps">{_said(words, f"step_{one.place}")}</p>'
    then = _said(words, card.afterwards(settings.mode, one.mode))
    links = " &middot; ".join(f'<a href="{escape(url)}">{escape(url)}</a>' for url in settings.answer_at)
    # Only the device itself can answer there, not a host behind a second router.
    there = f" {_said(words, 'answer_there')} {links}" if links and not one.place else ""
    return (
        f'<h3>{_said(words, "h_steps")}</h3><ol class="steps"><li>{_said(words, "step_1")}</li>'
        f"<li>{_said(words, 'step_2')}</li><li>{_said(words, 'step_3')}{there} {then}</li></ol>"
    )


def _others(words: Words, others: Sequence[Entry], some: bool) -> str:
    if not others:
        return "" if some else f"<section><p>{_said(words, 'nothing')}</p></section>"
    items = "".join(
        f'<li><span class="name">{_name(words, one)}</span> '
        f'<span class="mark">{_said(words, _mark(one))}</span>'
        f"{_marks(words, one)}</li>"
        for one in others[:NAMED]
    )
    left = len(others) - NAMED
    more = f"<p>{_said(words, 'more_devices', count=left)}</p>" if left > 0 else ""
    return f'<section><h2>{_said(words, "h_others")}</h2><ul class="others">{items}</ul>{more}</section>'


def _rights(words: Words, settings: PageSettings) -> str:
    """What is allowed, how to object, and what the filter sees."""
    keys = ["privacy", "privacy_reports" if settings.reports else "privacy_local"]
    if settings.reports and settings.names:
        keys.append("privacy_names")
    privacy = " ".join(_said(words, key) for key in keys)
    url = escape(settings.help_url)
    link = f'<p>{_said(words, "help")} <a href="{url}" rel="noreferrer">{url}</a></p>' if url else ""
    phone = f"<p>{_said(words, 'phone')} <strong>{escape(settings.phone)}</strong></p>" if settings.phone else ""
    general = f"<p>{_said(words, 'blocked_all')}</p>" if settings.mode == "block" else ""
    return (
        f"<section><h2>{_said(words, 'h_own')}</h2>{general}<p>{_said(words, 'own')}</p></section>"
        f"<section><h2>{_said(words, 'h_object')}</h2><p>{_said(words, 'object')}</p>{link}{phone}</section>"
        f"<section><h2>{_said(words, 'h_privacy')}</h2><p>{privacy}</p></section>"
    )


def _name(words: Words, one: Entry) -> str:
    if one.place in ("router", "home"):
        return _said(words, one.place)
    return shown(one.name) if one.name else _said(words, "unnamed")


def _marks(words: Words, one: Entry) -> str:
    """What else distinguishes it."""
    marks = []
    if one.place == "behind":
        marks.append(_said(words, "behind"))
    if one.oui:
        marks.append(_said(words, "maker", oui=one.oui))
    if one.random:
        marks.append(_said(words, "random"))
    if one.tail:
        marks.append(_said(words, "tail", tail=one.tail))
    return f'<p class="marks">{" &middot; ".join(marks)}</p>' if marks else ""


def _as_of(words: Words, now: Posix) -> str:
    local = time.localtime(now)
    return _said(words, "as_of", time=words.moment(local), zone=local.tm_zone or "?")


def _local(words: Words, seconds: Posix | None) -> str:
    return escape(card.local(words, seconds or 0.0))


def _said(words: Words, key: str, **values: object) -> str:
    return escape(words(key, **values))
