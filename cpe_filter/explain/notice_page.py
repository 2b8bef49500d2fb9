"""The notice that is served: what a compromised device's users read, and the form by which they answer.

Knows HTML and the texts' keys. Must not know sockets, or who reads it. A device's name is hostile: it goes through
`html.shown`. No script, nothing is loaded, and the only links are the provider's and the languages'.
"""

from __future__ import annotations

import os

from cpe_filter.notice import card
from cpe_filter.notice.style import HASH, STYLE
from cpe_filter.texts import notice as texts
from cpe_filter.texts.html import escape, shown
from cpe_filter.texts.notice import LANGUAGES, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.policy.model import NoticeTable

#: What the form adds to the page's style, and its hash, a constant as with the page's.
FORM_STYLE = """
nav { float: right; }
form p { display: grid; gap: .2rem; margin: .9rem 0; }
button {
  font: inherit; font-weight: 600; padding: .7rem 1rem; min-height: 2.9rem; text-align: left; cursor: pointer;
  color: var(--ink); background: var(--back); border: 1px solid var(--soft); border-radius: 8px;
}
button:hover { border-color: var(--link); color: var(--link); }
.hint { color: var(--soft); font-size: .92rem; }
@media (max-width: 36rem) { nav { float: none; } }
"""
FORM_HASH = "sha256-rEnPA17ICv33Zt3P0G8Vlbtmzzyh4FOgJY361330GZ8="
POLICY = (
    f"default-src 'none'; style-src '{HASH}' '{FORM_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Each language by its own name.
_NAMES = {"en": "English", "nl": "Nederlands", "de": "Deutsch", "tr": "Türkçe"}
#: Answers in their order on the page.
_ANSWERS = ("seen", "cleaned", "server", "mistake")
#: What says that the provider learns of it, and answers after which it has to. Without reports people must tell it.
_TOLD = ("hint_cleaned_isp", "hint_server_isp", "hint_mistake")
_OF_PROVIDER = ("cleaned", "server", "mistake")
#: Answers after which websites open, except in quarantine; and the text there instead.
_HELD = {"seen": "", "mistake": "hint_mistake"}
_TEXTS = os.path.dirname(texts.__file__)


def languages() -> tuple[str, ...]:
    """Those that are installed."""
    return tuple(code for code in LANGUAGES if code == "en" or os.path.isdir(os.path.join(_TEXTS, code)))


def load(language: str) -> None:
    """Loads a language's words; the texts below then need no file."""
    Words(language, "")


def page(notice: NoticeTable, language: str, about: dict[str, Any], token: str, router: str) -> str:
    """about: what the filter says. token: for the form. router: the router's address, for `http://.../mail-filter/`."""
    words = Words(language, notice.provider)
    to, devices = about.get("to"), about.get("devices") or []
    urgent = to in ("own", "other") and bool(devices)
    title = words("h_action_one") if urgent and len(devices) == 1 else words("h_not_here")
    if len(devices) > 1:
        title = words("h_action_many", count=len(devices))
    parts = [_device(words, one, to == "own") for one in devices]
    if to == "own" and about.get("until"):
        parts.append(_quarantine(words, notice, about))
    if urgent:
        parts.append(_form(words, language, token, about if to == "own" else {}, own=to == "own"))
    if to == "own":
        parts += [_steps(words, one) for one in devices]
    parts.append(_more(words, notice, router))
    # Nothing is said of the home's other devices to one that is not shown them.
    lead = "lead_action" if urgent else "lead_not_here"
    return _whole(words, language, title, _said(words, lead), "".join(parts), urgent, switch=True)


def done(notice: NoticeTable, language: str, result: str, router: str, reports: bool, held: bool = False) -> str:
    """What has followed from an answer. reports: the provider gets reports. held: the device is still in quarantine."""
    words = Words(language, notice.provider)
    good = result not in ("refused", "busy", "failed")
    title = words("thanks") if good else words("not_done")
    tell = f"<p>{_said(words, 'hint_tell')}</p>" if result in _OF_PROVIDER and not reports else ""
    stays = f"<p>{_said(words, 'done_held')}</p>" if held else ""
    key = _HELD.get(result, f"done_{result}") if held else f"done_{result}"
    if key in _TOLD and not reports:
        key = ""
    text = f"<p>{_said(words, key)}</p>" if key else ""
    body = f"<section>{text}{stays}{tell}</section>{_more(words, notice, router)}"
    return _whole(words, language, title, "", body, not good, switch=False)


def _device(words: Words, one: dict[str, Any], own: bool) -> str:
    """own: it is the one that reads it. Others do not learn what was found."""
    place, name, tail, since = one.get("place"), one.get("name"), one.get("tail"), one.get("since")
    called = _said(words, str(place)) if place else shown(name) if name else _said(words, "unnamed")
    at = f'<span class="since">{_said(words, "since", time=card.local(words, since))}</span>' if since else ""
    marks = f'<p class="marks">{_said(words, "tail", tail=tail)}</p>' if tail else ""
    facts = ""
    if own:
        connections, refused = one.get("counts") or (0, 0)
        found, last = one.get("found") or (), one.get("last")
        facts = card.facts(words, found, since, last, (connections, refused), str(one.get("in_force")))
    return (
        f'<article class="action"><div class="top"><h2>{called}</h2><p class="standing"><strong class="mark">'
        f"{_said(words, 'action')}</strong> {at}</p></div>{marks}"
        f"<p>{_said(words, 'standing_compromised')}</p>{facts}</article>"
    )


def _form(words: Words, language: str, token: str, about: dict[str, Any], own: bool) -> str:
    """A button for each answer: no choice is made by a script."""
    answers = _ANSWERS if own else ("seen",)
    counts = {"hint_cleaned_held": {"count": about.get("releases")}}
    items = []
    for answer in answers:
        hint = f"hint_{answer}"
        if answer == "cleaned" and not about.get("releases"):
            hint = "hint_cleaned_isp"
        elif answer == "server" and not about.get("exempt"):
            hint = "hint_server_isp"
        elif answer == "cleaned" and about.get("until"):
            hint = "hint_cleaned_held"
        elif answer == "seen" and (about.get("until") or not own):
            hint = "hint_seen_other" if not own else "done_held"
        if hint in _TOLD and not about.get("reports"):
            hint = "hint_tell"
        items.append(
            f'<p><button name="answer" value="{answer}">{_said(words, f"answer_{answer}")}</button> '
            f'<span class="hint">{_said(words, hint, **counts.get(hint, {}))}</span></p>'
        )
    hidden = f'<input type="hidden" name="token" value="{token}"><input type="hidden" name="l" value="{language}">'
    form = f'<form method="post" action="/">{hidden}{"".join(items)}</form>'
    return f"<section><h2>{_said(words, 'h_answer')}</h2>{form}</section>"


def _steps(words: Words, one: dict[str, Any]) -> str:
    if one.get("place"):
        return "<section><p>" + _said(words, f"step_{one['place']}") + "</p></section>"
    then = card.afterwards(str(one.get("mode")), str(one.get("in_force")))
    report = f"{_said(words, 'step_3_here', answer=words('answer_cleaned'))} {_said(words, then)}"
    steps = "".join(f"<li>{text}</li>" for text in (_said(words, "step_1"), _said(words, "step_2"), report))
    return f'<section><h2>{_said(words, "h_steps")}</h2><ol class="steps">{steps}</ol></section>'


def _quarantine(words: Words, notice: NoticeTable, about: dict[str, Any]) -> str:
    """What the quarantine is, and what ends it."""
    ends = _said(words, "quarantine_ends", time=card.local(words, about["until"]))
    if not about.get("releases"):
        ends = f"{_said(words, 'quarantine_isp')} {ends}"
        if notice.help_phone:
            ends += f" {_said(words, 'phone')} <strong>{escape(notice.help_phone)}</strong>"
    return f"<section><h2>{_said(words, 'h_quarantine')}</h2><p>{ends}</p></section>"


def _more(words: Words, notice: NoticeTable, router: str) -> str:
    """Where to read more, and who helps."""
    lines = []
    if notice.page:
        url = f"http://{router}/mail-filter/"
        lines.append(f'{_said(words, "reach")} <a href="{url}">{url}</a>')
    if notice.help_url:
        url = escape(notice.help_url)
        lines.append(f'{_said(words, "help")} <a href="{url}" rel="noreferrer">{url}</a>')
    if notice.help_phone:
        lines.append(f"{_said(words, 'phone')} <strong>{escape(notice.help_phone)}</strong>")
    paragraphs = "".join(f"<p>{line}</p>" for line in lines)
    return f"<section>{paragraphs}</section>" if lines else ""


def _whole(words: Words, language: str, title: str, lead: str, body: str, urgent: bool, switch: bool) -> str:
    links = ""
    if switch:
        codes = [code for code in languages() if code != language]
        links = " &middot; ".join(
            f'<a href="/?l={code}" lang="{code}" hreflang="{code}">{_NAMES[code]}</a>' for code in codes
        )
        links = f'<nav class="over">{links}</nav>' if links else ""
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><style>{FORM_STYLE}</style></head><body>"
        f'<header class="{"action" if urgent else "calm"}"><div>{links}<p class="over">{_said(words, "title")}</p>'
        f"<h1>{escape(title)}</h1>{f'<p>{lead}</p>' if lead else ''}</div></header>\n"
        f"<main>{body}</main></body></html>\n"
    )


def _said(words: Words, key: str, **values: object) -> str:
    return escape(words(key, **values))
