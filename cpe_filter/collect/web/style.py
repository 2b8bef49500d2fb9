"""How the fleet page looks, on top of the style of the reports: light, dark, narrow, printed. Nothing is loaded.

Knows class names. Must not know pages.
"""

from __future__ import annotations

import hashlib

from cpe_filter.replay.style import STYLE as REPORTS

_FLEET = """
:root {
  --new: #b86e00; --recurring: #b3261e; --cleared: #2b8a57; --carried: #8296ab; --track: #e9edf1; --field: #fff;
  --edge: #6b7682;
}
@media (prefers-color-scheme: dark) {
  :root {
    --new: #e8b84a; --recurring: #ff8f85; --cleared: #58b884; --carried: #6f8296; --track: #262e37; --field: #0d1116;
    --edge: #8792a0;
  }
}
html { scroll-behavior: auto; }
.page { max-width: 90rem; padding-top: 1.5rem; }
.top {
  display: flex; flex-wrap: wrap; align-items: center; gap: .6rem 1.75rem; padding-bottom: .9rem; margin-bottom: 1.9rem;
  border-bottom: 1px solid var(--rule);
}
.top strong { font-size: 1.02rem; letter-spacing: -.01em; }
.top nav ul { display: flex; flex-wrap: wrap; gap: .25rem; list-style: none; margin: 0; padding: 0; }
.top nav a { display: block; padding: .3rem .7rem; border-radius: 6px; text-decoration: none; color: var(--ink); }
.top nav a:hover { text-decoration: underline; }
.top nav a[aria-current] { background: var(--track); font-weight: 600; }
.who { margin-left: auto; display: flex; align-items: center; gap: .9rem; font-size: .875rem; color: var(--soft); }
h1 { font-size: clamp(1.55rem, 4vw, 2.05rem); }
.card > h2 { font-size: 1.08rem; margin-bottom: .15rem; }
.card > h3 { font-size: .95rem; margin: 1.5rem 0 .2rem; }
.card > p.note { max-width: 56rem; }
.pair, .both { display: grid; gap: 1.25rem; align-items: start; margin: 1.25rem 0; }
.pair { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.both { grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); }
.pair > .card { margin: 0; }
.pair > div > .card:first-child, .both > div > .card:first-child { margin-top: 0; }
.pair > div > .card:last-child, .both > div > .card:last-child { margin-bottom: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .8rem; }
.tiles { margin: 1.4rem 0; padding: 0; }
.tiles > div {
  background: var(--paper); border: 1px solid var(--rule); border-radius: 10px; padding: .85rem 1rem .9rem;
}
.tiles dd { font-size: 1.6rem; font-weight: 650; line-height: 1.25; letter-spacing: -.02em; }
.tiles .note { display: block; font-weight: 400; font-size: .8rem; letter-spacing: 0; line-height: 1.4; }

form { margin: 0; }
label, .label { font-size: .8rem; color: var(--soft); display: block; margin-bottom: .2rem; }
input, select, textarea, button, .button {
  font: inherit; font-size: .9rem; color: var(--ink); background: var(--field); border: 1px solid var(--edge);
  border-radius: 6px; padding: .4rem .6rem; min-height: 2.35rem; max-width: 100%;
}
textarea { width: 100%; min-height: 4.5rem; resize: vertical; }
button, .button {
  background: var(--paper); font-weight: 550; cursor: pointer; padding: .4rem .95rem; white-space: nowrap;
}
.button { display: inline-flex; align-items: center; text-decoration: none; }
button:hover, .button:hover { background: var(--track); }
button.main { background: var(--link); border-color: var(--link); color: var(--paper); }
button.main:hover { filter: brightness(1.08); }
button.plain { border: 0; background: none; padding: .3rem .2rem; min-height: 0; color: var(--link); }
button.plain { text-decoration: underline; text-underline-offset: .15em; font-weight: 400; font-size: inherit; }
.filter { display: flex; flex-wrap: wrap; gap: .7rem .9rem; align-items: end; margin: 1.2rem 0 0; }
.filter > div { flex: 0 1 auto; min-width: 7rem; }
.filter > div.wide { flex: 1 1 13rem; }
.filter select, .filter input { width: 100%; }
.filter .go { min-width: 0; display: flex; gap: .9rem; align-items: center; }
.message {
  border-left: 3px solid var(--clear); background: var(--clear-back); padding: .5rem .9rem; margin: 0 0 1.4rem;
  border-radius: 0 6px 6px 0;
}
.message.wrong { border-color: var(--compromised); background: var(--compromised-back); }
.pages { display: flex; flex-wrap: wrap; gap: .7rem 1rem; align-items: center; justify-content: space-between; }
.pages { margin-top: 1rem; }
.pages .links { display: flex; gap: .6rem; }
.login { max-width: 23rem; margin: 12vh auto 0; }
.login form > div { margin-top: 1rem; }
.login input { width: 100%; }
.login h1 { font-size: 1.4rem; }

figure.columns { padding-left: 2.9rem; }
figure.columns figcaption { margin-left: -2.9rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin: 0; padding: 0; }
.legend li { display: inline-flex; align-items: center; gap: .45rem; }
.mark { width: .8rem; height: .8rem; flex: none; background: currentColor; }
.mark.total { height: 0; border-top: 3px solid var(--line); background: none; width: 1rem; }
.mark.new { color: var(--new); border-radius: 50%; }
.mark.recurring { color: var(--recurring); }
.mark.cleared { color: var(--cleared); transform: rotate(45deg) scale(.82); }
.mark.carried { color: var(--carried); height: .45rem; }
.chart rect { stroke: var(--paper); stroke-width: .6; }
.chart rect.new { fill: var(--new); }
.chart rect.recurring { fill: var(--recurring); }
.chart rect.cleared { fill: var(--cleared); }
.chart rect.carried { fill: var(--carried); }
.chart rect.touch { fill: transparent; stroke: none; }
.chart rect.touch:hover { fill: var(--area); }
.share { display: block; width: 100%; min-width: 3.5rem; height: .7rem; overflow: visible; }
.share .track { fill: var(--track); }
.share .fill { fill: var(--line); }
.share .fill.new { fill: var(--new); }
.share .fill.recurring { fill: var(--recurring); }
.share .fill.cleared { fill: var(--cleared); }
.share .fill.carried { fill: var(--carried); }
td.share-cell, th.share-cell { width: 30%; vertical-align: top; padding-top: .72rem; }
.facts .note { font-weight: 400; }
.facts.even { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .85rem 1.5rem; }
.facts.even dd { overflow-wrap: anywhere; }
.lead { max-width: 60rem; }
.data { margin-top: .8rem; }
.data .scroll { max-height: 22rem; overflow-y: auto; }
.data thead th { position: sticky; top: 0; background: var(--paper); }
.quiet caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.scroll { position: relative; }

.state { font-weight: 600; font-size: .85rem; white-space: nowrap; }
.state::before { content: "\\25cf"; margin-right: .4em; }
.state.open { color: var(--compromised); }
.state.recurring { color: var(--compromised); }
.state.recurring::before { content: "\\21bb"; font-weight: 700; }
.state.notified { color: var(--suspected); }
.state.notified::before { content: "\\25d0"; }
.state.acknowledged { color: var(--link); }
.state.acknowledged::before { content: "\\25d1"; }
.state.clean { color: var(--clear); }
.state.clean::before { content: "\\2713"; }
.state.closed { color: var(--soft); }
.state.closed::before { content: "\\25cb"; }
.cases td, .cases tbody th { vertical-align: top; }
.cases .last { min-width: 11rem; }
.cases .whose { min-width: 13rem; }
.cases td time.nowrap { white-space: normal; }
.cases tbody tr:hover > * { background: var(--back); }
.back { font-size: .9rem; margin: 0 0 .8rem; }
.timeline { list-style: none; margin: .9rem 0 0; padding: 0; }
.timeline li { position: relative; padding: 0 0 1.05rem 1.5rem; margin-left: .4rem; }
.timeline li { border-left: 2px solid var(--rule); }
.timeline li:last-child { border-left-color: transparent; padding-bottom: 0; }
.timeline li::before {
  content: ""; position: absolute; left: -.42rem; top: .45rem; width: .7rem; height: .7rem; border-radius: 50%;
  background: var(--soft); border: 2px solid var(--paper);
}
.timeline li.raised::before, .timeline li.recurring::before { background: var(--compromised); }
.timeline li.opened::before { background: var(--suspected); }
.timeline li.clean::before { background: var(--clear); }
.timeline time { color: var(--soft); font-size: .82rem; display: block; }
.timeline .text { white-space: pre-line; overflow-wrap: anywhere; }
.letter {
  margin-top: 1rem; padding: 1rem 1.1rem; max-width: 46rem; border: 1px solid var(--rule); border-radius: 6px;
  background: var(--field); white-space: pre-wrap; overflow-wrap: anywhere;
}
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
input[type=checkbox], input[type=radio] { min-height: 0; width: 1.1rem; height: 1.1rem; padding: 0; margin: 0; }
input[type=checkbox], input[type=radio] { flex: none; accent-color: var(--link); vertical-align: -.15rem; }
.cases .box { margin: 0 .6rem 0 0; }
.radio { display: inline-flex; align-items: center; gap: .45rem; }
.radio label { margin: 0; font-size: .9rem; color: var(--ink); }
.which { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; align-items: center; }
.which { border: 0; margin: 1rem 0 0; padding: 0; }
.which legend { float: left; font-weight: 600; font-size: .9rem; padding: 0; margin-right: 1.4rem; }
.saved ul { display: flex; flex-wrap: wrap; gap: .4rem .6rem; list-style: none; margin: .9rem 0 0; padding: 0; }
.saved li { border: 1px solid var(--rule); border-radius: 1rem; padding: .1rem .8rem; background: var(--paper); }
.saved li { font-size: .9rem; overflow-wrap: anywhere; }
.drop { list-style: none; margin: .9rem 0 0; padding: 0; columns: 22rem auto; font-size: .9rem; }
.drop li { padding: .15rem 0; break-inside: avoid; overflow-wrap: anywhere; }
.drop li .note { font-size: .85rem; }
form.inline { display: inline; margin-left: .7rem; }
.needs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1.25rem; }
.needs { margin: 1.4rem 0 0; align-items: start; }
.needs > .card { margin: 0; }
.need .figure { display: flex; gap: .6rem; align-items: baseline; margin: .3rem 0 .1rem; }
.need .figure strong { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; }
.need h2 a { color: var(--ink); text-decoration-color: var(--rule); }
.oldest { list-style: none; margin: .8rem 0 0; padding: 0; font-size: .9rem; }
.oldest li { display: flex; gap: .6rem; align-items: baseline; padding: .35rem 0; border-top: 1px solid var(--rule); }
.oldest a { overflow-wrap: anywhere; }
.oldest .age { margin-left: auto; white-space: nowrap; color: var(--soft); }
.more { font-size: .9rem; margin: .5rem 0 0; }
.message h2 { font-size: 1rem; }
.text { white-space: pre-line; overflow-wrap: anywhere; }
.quiet td .note { white-space: normal; }
label.apart { margin-top: 1rem; }
.acts { display: flex; flex-wrap: wrap; gap: .7rem; margin-top: 1rem; }
.three { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0 2rem; align-items: start; }
.tz { font-size: .82em; color: var(--soft); }
.facts.even time { white-space: normal; }
.pick { display: inline-flex; gap: .5rem; align-items: baseline; }
.pick label { margin: 0; font-weight: inherit; }
.audit td, .audit tbody th { vertical-align: top; }
.audit .reason { min-width: 12rem; overflow-wrap: anywhere; }
.none { color: var(--soft); padding: 1.2rem 0 .4rem; }

@media (max-width: 88rem) { .cases .last { display: none; } }
@media (max-width: 77rem) {
  .wide-only { display: none; }
  .cases td.nowrap { white-space: normal; }
  .pair { grid-template-columns: minmax(0, 1fr); }
  .cases .whose { min-width: 0; }
}
@media (max-width: 66rem) {
  .cases .whose { min-width: 0; }
  .three { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 48rem) {
  .stack, .stack caption, .stack tbody, .stack tr, .stack tbody th { display: block; }
  .stack thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stack tr { padding: .7rem 0; border-bottom: 1px solid var(--rule); }
  .stack tbody tr:last-child { border-bottom: 0; }
  .stack td, .stack tbody th { padding: .15rem 0; border: 0; text-align: left; white-space: normal; min-width: 0; }
  .stack td:not(.narrow-off) { display: flex; gap: .75rem; align-items: baseline; }
  .stack td::before { content: attr(data-title); content: attr(data-title) / ""; }
  .stack td::before { flex: 0 0 8rem; color: var(--soft); font-size: .8rem; overflow-wrap: anywhere; }
  .stack td[data-title=""]::before { content: none; }
  .stack td > div { flex: 1; min-width: 0; overflow-wrap: anywhere; }
  .stack tbody th { font-weight: 600; overflow-wrap: anywhere; }
  .stack tbody th .note { font-weight: 400; }
}
@media (min-width: 40.01rem) and (max-width: 48rem) {
  .stack td.narrow-off { display: flex; gap: .75rem; align-items: baseline; }
}
@media (max-width: 56rem) {
  .pair, .both, .three { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 40rem) {
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tiles dd { font-size: 1.35rem; }
  .tiles > div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .facts.even { grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
  .who { margin-left: 0; width: 100%; justify-content: space-between; }
  .filter > div { flex: 1 1 42%; }
  .filter .go { flex-basis: 100%; }
}
@media (forced-colors: active) {
  .chart rect, .share rect, .mark { forced-color-adjust: none; }
}
@media print {
  :root {
    --new: #b86e00; --recurring: #b3261e; --cleared: #2b8a57; --carried: #8296ab; --track: #e9edf1; --field: #fff;
  }
  .top nav, .who form, .filter, .acts, .pages .links { display: none; }
}
"""

STYLE = (REPORTS + _FLEET).encode()

ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f4e79"/>'
    b'<path d="M7 9h18l-7 9v7l-4-2v-5z" fill="#fff"/></svg>'
)


def _path(name: str, data: bytes, kind: str) -> str:
    """A name that changes with the content, so that browsers may cache it without end."""
    return f"/static/{name}-{hashlib.sha256(data).hexdigest()[:16]}.{kind}"


STYLE_PATH = _path("fleet", STYLE, "css")
ICON_PATH = _path("icon", ICON, "svg")

#: What is served: path -> (type, bytes).
FILES = {STYLE_PATH: ("text/css; charset=utf-8", STYLE), ICON_PATH: ("image/svg+xml", ICON)}
