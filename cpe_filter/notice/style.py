"""How the subscriber's page looks: light, dark, narrow, printed. Nothing is loaded from anywhere.

Knows the page's class names. Must not know words or devices. `HASH` is the hash of `STYLE` for the page's
Content-Security-Policy. It is a constant, because hashlib would take 4 MB of a small router; a test compares the two.
"""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fff; --back: #f4f5f7; --ink: #1b1f24; --soft: #565f69; --rule: #dde1e6; --link: #0b57b0;
  --alert: #a5231b; --alert-back: #fdecea; --calm: #19663a; --calm-back: #e7f4ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171c22; --back: #0e1217; --ink: #e6eaee; --soft: #a0aab5; --rule: #2e3640; --link: #86bcff;
    --alert: #ff9b92; --alert-back: #391a18; --calm: #7ad4a0; --calm-back: #14301f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--back); color: var(--ink); overflow-wrap: break-word;
  font: 17px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header > div, main, footer { max-width: 46rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding: 2.25rem 0 1.9rem; border-bottom: 1px solid var(--rule); background: var(--calm-back); }
header.action { background: var(--alert-back); }
header.action h1 { color: var(--alert); }
header.calm h1 { color: var(--calm); }
header p { margin: .6rem 0 0; max-width: 40rem; }
.over { color: var(--soft); font-size: .9rem; margin: 0 0 .35rem; }
h1, h2, h3 { line-height: 1.2; margin: 0; font-weight: 650; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.6rem, 5.5vw, 2.1rem); letter-spacing: -.015em; }
h2 { font-size: 1.2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .5rem 0; }
a { color: var(--link); overflow-wrap: anywhere; text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
article, section {
  background: var(--paper); border: 1px solid var(--rule); border-radius: 10px;
  margin: 1.25rem 0; padding: 1.3rem 1.4rem 1.2rem;
}
article.action { border-left: 5px solid var(--alert); }
article.calm { border-left: 5px solid var(--calm); }
.top { display: flex; flex-wrap: wrap; gap: .3rem .9rem; align-items: baseline; }
.standing { margin: 0; }
.mark { font-weight: 600; font-size: .92rem; color: var(--calm); white-space: nowrap; }
.mark::before { content: "\\2713\\a0"; }
article.action .mark { color: var(--alert); }
article.action .mark::before { content: "!\\a0"; font-weight: 800; }
.since { color: var(--soft); font-size: .92rem; }
.marks { color: var(--soft); font-size: .88rem; margin: .15rem 0 .7rem; }
dl { display: grid; grid-template-columns: 1fr 1fr; gap: .9rem 1.75rem; margin: 1.1rem 0 0; }
dt { color: var(--soft); font-size: .88rem; }
dd { margin: .1rem 0 0; }
.wide { grid-column: 1 / -1; }
ul { margin: .1rem 0 0; padding-left: 1.2rem; }
ol { margin: .3rem 0 0; padding-left: 1.5rem; }
ol li { margin: .35rem 0; padding-left: .2rem; }
ol li::marker { font-weight: 650; }
.others { list-style: none; margin: .4rem 0 0; padding: 0; }
.others li {
  display: flex; flex-wrap: wrap; gap: 0 .9rem; align-items: baseline;
  padding: .5rem 0; border-top: 1px solid var(--rule);
}
.others li:first-child { border-top: 0; }
.others .name { font-weight: 550; overflow-wrap: anywhere; }
.others .marks { margin: 0; flex-basis: 100%; }
footer { color: var(--soft); font-size: .88rem; padding-bottom: 2.5rem; }
@media (max-width: 36rem) {
  body { font-size: 16px; }
  header > div, main, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding: 1.5rem 0 1.3rem; }
  article, section { padding: 1.05rem 1rem .95rem; }
  dl { grid-template-columns: 1fr; }
}
@media print {
  :root { color-scheme: light; --paper: #fff; --back: #fff; --ink: #000; --soft: #444; --rule: #bbb; --link: #000;
    --alert: #8f1c15; --alert-back: #fff; --calm: #14522e; --calm-back: #fff; }
  body { font-size: 10.5pt; }
  header { padding: 0 0 .6rem; }
  header > div, main, footer { max-width: none; padding: 0; }
  article, section { border-radius: 0; padding: .6rem .8rem; margin: .7rem 0; }
  h2, h3 { break-after: avoid; }
  ol li, dl div, section { break-inside: avoid; }
}
"""
HASH = "sha256-NNGHw/DIGwZ9xXwTX1/MooW6f8KXFt7bx3USrGNcxpA="
