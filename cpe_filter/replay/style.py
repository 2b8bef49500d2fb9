"""How the page looks: light, dark, narrow, printed. Nothing is loaded from anywhere.

Knows the page's class names. Must not know tracks or words.
"""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fff; --back: #f5f6f8; --ink: #1b1f24; --soft: #57606a; --rule: #d9dee4; --link: #0b57b0;
  --line: #1f4e79; --area: rgba(31, 78, 121, .09); --zone: .4;
  --compromised: #b3261e; --suspected: #8a5a00; --clear: #1a6e3c;
  --compromised-back: #fdecea; --suspected-back: #fdf3dc; --clear-back: #e6f4ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #161b21; --back: #0d1116; --ink: #e4e8ed; --soft: #9aa5b1; --rule: #2d353f; --link: #7db7ff;
    --line: #8ec1f0; --area: rgba(142, 193, 240, .1); --zone: .35;
    --compromised: #ff8f85; --suspected: #e8b84a; --clear: #6fcf97;
    --compromised-back: #3a1a18; --suspected-back: #33270d; --clear-back: #12301f;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--back); color: var(--ink); font-variant-numeric: tabular-nums;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
.page { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--paper); }
a { color: var(--link); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
h1, h2, h3, h4 { line-height: 1.2; margin: 0; font-weight: 650; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); letter-spacing: -.02em; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; }
h3 { font-size: 1.1rem; }
h3.code { font-size: 1.05rem; }
h4 { font-size: .95rem; margin: 1.75rem 0 .4rem; }
p { margin: .4rem 0; }
code, .code { font: .92em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
bdi { overflow-wrap: anywhere; }
.over { font-size: .85rem; color: var(--soft); margin: 0 0 .5rem; letter-spacing: .02em; }
.lead { color: var(--soft); max-width: 44rem; }
.soft, .note { color: var(--soft); }
.note { font-size: .875rem; }
.contents { list-style: none; margin: 1.5rem 0 0; padding: 0; border-top: 1px solid var(--rule); }
.contents li {
  display: flex; flex-wrap: wrap; gap: .25rem 1rem; justify-content: space-between;
  padding: .55rem 0; border-bottom: 1px solid var(--rule);
}
.found { display: inline-grid; grid-template-columns: auto 8rem; gap: 1rem; }
.capture { margin-top: 3.5rem; }
.warning { border-left: 3px solid var(--suspected); padding: .1rem 0 .1rem .75rem; margin: .75rem 0; font-size: .9rem; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem 2.25rem; margin: 1rem 0 1.25rem; }
.facts div { min-width: 5rem; }
dt { font-size: .8rem; color: var(--soft); }
dd { margin: 0; font-weight: 550; }
.card {
  background: var(--paper); border: 1px solid var(--rule); border-radius: 10px;
  padding: 1.4rem 1.5rem 1.5rem; margin: 1.25rem 0;
}
.card.loose { padding-top: 1rem; padding-bottom: 1rem; }
.card > header { display: flex; flex-wrap: wrap; gap: .4rem .75rem; align-items: center; }

.pill {
  display: inline-flex; align-items: center; gap: .4em; padding: .35em .65em; border-radius: 1em;
  font-size: .8rem; font-weight: 600; line-height: 1; white-space: nowrap;
}
.pill::before { content: ""; width: .6em; height: .6em; background: currentColor; border-radius: 50%; }
.pill.suspected::before { border-radius: 0; transform: rotate(45deg) scale(.9); }
.pill.compromised::before { border-radius: 1px; }
.pill.compromised { color: var(--compromised); background: var(--compromised-back); }
.pill.suspected { color: var(--suspected); background: var(--suspected-back); }
.pill.unusual { color: var(--suspected); background: var(--suspected-back); }
.pill.unusual::before { border-radius: 0; }
.pill.clear { color: var(--clear); background: var(--clear-back); }
.then { display: inline-block; margin-top: .35rem; }
.then .pill { background: none; padding-left: 0; }

.scroll { overflow-x: auto; margin: .4rem 0 0; }
.loose .scroll { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; line-height: 1.4; }
caption { text-align: left; color: var(--soft); font-size: .875rem; padding: 0 0 .4rem; }
th, td {
  text-align: left; vertical-align: baseline; padding: .42rem .9rem .42rem 0; border-bottom: 1px solid var(--rule);
}
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: .78rem; font-weight: 550; color: var(--soft); white-space: nowrap; }
thead th { border-bottom-color: var(--soft); }
tbody th { font-weight: inherit; }
tbody tr:last-child > * { border-bottom: 0; }
td .note, th .note { font-size: .92em; }
.n { text-align: right; white-space: nowrap; }
.nowrap { white-space: nowrap; }
.middle { text-align: center; }
td.middle { width: 7rem; }
tr.suspected > * { background: var(--suspected-back); }
tr.compromised > * { background: var(--compromised-back); }
.sessions caption { display: none; }
.sessions table { table-layout: fixed; min-width: 60rem; font-size: .84rem; }
.sessions th:nth-child(1) { width: 8.5%; }
.sessions th:nth-child(2) { width: 15.5%; }
.sessions th:nth-child(3) { width: 13%; }
.sessions th:nth-child(6) { width: 11%; }
.sessions th:nth-child(7) { width: 20%; }
.bar { display: block; width: 7rem; height: .7rem; }
.bar rect { opacity: .75; }
.bar .for { fill: var(--compromised); }
.bar .against { fill: var(--clear); }
.bar line { stroke: var(--soft); stroke-width: 1; vector-effect: non-scaling-stroke; }
details { margin-top: 1.25rem; }
summary { cursor: pointer; width: fit-content; padding: .25rem 0; font-size: .9rem; font-weight: 550; }
summary { color: var(--link); }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
footer { font-size: .875rem; color: var(--soft); }

figure { margin: 1.1rem 0 0; padding-left: 2.6rem; }
figcaption { color: var(--soft); font-size: .875rem; margin: .5rem 0 0 -2.6rem; }
.chart { display: block; overflow: visible; font-size: 12px; }
.zone { opacity: var(--zone); }
.zone.suspected { fill: var(--suspected-back); }
.zone.compromised { fill: var(--compromised-back); }
.area { fill: var(--area); }
.line { fill: none; stroke: var(--line); stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--rule); stroke-width: 1; }
.base { stroke: var(--soft); stroke-width: 1; }
.threshold { stroke-width: 1.25; stroke-dasharray: 5 4; }
.threshold.suspected { stroke: var(--suspected); }
.threshold.compromised { stroke: var(--compromised); }
.chart text { fill: var(--soft); }
.chart .scale { text-anchor: end; }
.chart .tick { text-anchor: middle; }
.chart .tick.first { text-anchor: start; }
.chart .tick.last { text-anchor: end; }
.chart .label {
  fill: var(--ink); font-weight: 600;
  paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round;
}
.chart .label.suspected { fill: var(--suspected); }
.chart .label.compromised { fill: var(--compromised); }
.chart .left { text-anchor: end; }
.moment { stroke: var(--paper); stroke-width: 2; }
.moment.suspected { fill: var(--suspected); }
.moment.compromised { fill: var(--compromised); }

@media (max-width: 40rem) {
  .page { padding: 1.5rem 1rem 3rem; }
  .card { padding: 1.1rem 1rem; border-radius: 8px; }
  .chart .second, .narrow-off { display: none; }
  figure { padding-left: 2.3rem; }
  figcaption { margin-left: -2.3rem; }
  table { font-size: .82rem; }
  th, td { padding-right: .5rem; }
  td code, td .note, th .note { font-size: .95em; }
}
@media (prefers-reduced-motion: reduce) {
  html { scroll-behavior: auto; }
}
@media print {
  :root {
    color-scheme: light;
    --paper: #fff; --back: #fff; --ink: #000; --soft: #444; --rule: #bbb; --link: #000;
    --line: #1f4e79; --area: rgba(31, 78, 121, .09);
    --compromised: #b3261e; --suspected: #7a5000; --clear: #1a6e3c;
    --compromised-back: #fdecea; --suspected-back: #fdf3dc; --clear-back: #e6f4ea;
  }
  body { font-size: 10pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .page { max-width: none; padding: 0; }
  .skip { display: none; }
  .card { border: 0; padding: 0; margin: 1.5rem 0; }
  h2, h3, h4, caption { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  table { font-size: 8.5pt; }
  .scroll { overflow: visible; }
  .sessions table { min-width: 0; font-size: 7pt; }
  .sessions details::details-content { content-visibility: visible; block-size: auto; }
}
"""
