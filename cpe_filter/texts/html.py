"""Pieces of HTML: escaped strings of a capture, tables, second lines, numbers.

Knows HTML and the page's class names. Must not know what a page is about. Strings of a capture are hostile until
`shown` has escaped them; all other arguments are HTML, or the program's own words. Does not import `html` and `typing`,
because the router also writes its page with these pieces.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.texts.terminal import shorten

_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def escape(text: str) -> str:
    """Text as HTML, between tags or as an attribute's value in quotes."""
    return text.translate(_MARKUP)


def shown(text: object, width: int = 160) -> str:
    """A string of the capture as HTML: nothing in it is markup, is invisible, or changes the reading direction.

    Characters that Unicode does not count as printable (controls, overrides of direction, lone surrogates) are escaped.
    """
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return f"<bdi>{escape(shorten(plain, width))}</bdi>"


class Column(NamedTuple):
    """A column of a table: its title, and classes of its cells (n: numbers)."""

    title: str
    kind: str = ""


def table(caption: str, columns: Sequence[Column], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Rows are (class, cells), cells are HTML; the first cell of a row is its heading. Scrolls if it is too wide."""
    head = "".join(f'<th scope="col"{_class(column.kind)}>{column.title}</th>' for column in columns)
    body = []
    for kind, cells in rows:
        first, *rest = zip(columns, cells, strict=True)
        line = f'<th scope="row"{_class(first[0].kind)}>{first[1]}</th>'
        line += "".join(f"<td{_class(column.kind)}>{cell}</td>" for column, cell in rest)
        body.append(f"<tr{_class(kind)}>{line}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def code(text: str) -> str:
    return f'<span class="code">{shown(text)}</span>'


def note(markup: str) -> str:
    """A second line in a cell."""
    return f'<br><span class="note">{markup}</span>'


def pill(standing: str) -> str:
    return f'<span class="pill {standing}">{standing}</span>'


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def signed(weight: float, decimals: int = 1) -> str:
    return f"{weight:+.{decimals}f}".replace("-", "&minus;")
