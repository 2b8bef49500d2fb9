"""What a program shows in a terminal, as an animated SVG: `record(command, path)`.

Knows terminals and SVG. Must not know what is shown. Lines come in at the bottom at the times at which they came, and
long waits are shortened. The image needs no script and asks for nothing elsewhere. Who wants no motion sees the end.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

COLUMNS, ROWS = 112, 34
#: Seconds that a wait may take, and that the end is shown.
_LONGEST, _END = 1.2, 8.0
_LINE, _SIZE, _CHARACTER, _EDGE = 18, 13, 7.83, 14
_COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff"}
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


class Line(NamedTuple):
    """at: seconds since the beginning. text: with the escapes of its colours."""

    at: float
    text: str


def record(command: Sequence[str], path: Path, title: str, cwd: Path) -> int:
    """Runs a command in a terminal, passes on what it shows, and draws it. Returns its exit code."""
    lines, code = _run(command, cwd)
    path.write_text(draw(lines, title), encoding="utf-8")
    return code


def _run(command: Sequence[str], cwd: Path) -> tuple[list[Line], int]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=cwd)
    os.close(theirs)
    begun = time.monotonic()
    lines, rest = [], b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # the terminal's last user has gone
            break
        if not data:
            break
        os.write(1, data)
        *whole, rest = (rest + data).split(b"\n")
        now = time.monotonic() - begun
        lines += [Line(now, text.decode(errors="replace").rstrip("\r")) for text in whole]
    os.close(ours)
    return lines, process.wait()


def draw(lines: Sequence[Line], title: str) -> str:
    """The lines as SVG."""
    times = _times(lines)
    total = (times[-1] if times else 0.0) + _END
    height = ROWS * _LINE + 2 * _EDGE
    width = round(COLUMNS * _CHARACTER + 2 * _EDGE)
    steps = [(0.0, ROWS)]
    for count, at in enumerate(times, 1):
        if at == steps[-1][0]:
            steps[-1] = (at, ROWS - count)
        else:
            steps.append((at, ROWS - count))
    frames = "".join(
        f"{100 * at / total:.3f}%{{transform:translateY({rows * _LINE}px)}}"
        for at, rows in [*steps, (total, steps[-1][1])]
    )
    end = steps[-1][1] * _LINE
    rows = "".join(
        f'<text y="{number * _LINE}" xml:space="preserve">{_coloured(line.text)}</text>\n'
        for number, line in enumerate(lines, 1)
        if _SGR.sub("", line.text).strip()
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">
<title>{escape(title)}</title>
<style>
text{{font:{_SIZE}px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:#e6edf3}}
.b{{font-weight:bold}}
#s{{transform:translateY({end}px)}}
@media (prefers-reduced-motion:no-preference){{#s{{animation:s {total:.1f}s step-end infinite}}}}
@keyframes s{{{frames}}}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<clipPath id="c"><rect x="0" y="{_EDGE}" width="{width}" height="{ROWS * _LINE}"/></clipPath>
<g clip-path="url(#c)"><g transform="translate({_EDGE} {_EDGE - 4})"><g id="s">
{rows}</g></g></g>
</svg>
"""


def _times(lines: Sequence[Line]) -> list[float]:
    """When each line is shown: as it came, without long waits."""
    shown, before, now = [], 0.0, 0.0
    for line in lines:
        now += min(line.at - before, _LONGEST)
        before = line.at
        shown.append(round(now, 2))
    return shown


def _coloured(text: str) -> str:
    """One line, cut at the terminal's width, as tspans."""
    parts, style, room = [], "", COLUMNS
    at = 0
    for found in [*_SGR.finditer(text), None]:
        piece = text[at : found.start() if found else len(text)][:room]
        room -= len(piece)
        piece = escape("".join(c if c.isprintable() else "?" for c in piece))
        parts.append(f"<tspan{style}>{piece}</tspan>" if piece and style else piece)
        if found:
            at = found.end()
            codes = found[1].split(";")
            colour = next((_COLOURS[code] for code in codes if code in _COLOURS), "")
            style = (' class="b"' if "1" in codes else "") + (f' fill="{colour}"' if colour else "")
            style = style.replace(' fill="', ' style="fill:')
    return "".join(parts)
