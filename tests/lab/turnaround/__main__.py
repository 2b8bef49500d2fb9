"""`python -m tests.lab.turnaround` (root; a quarter of an hour): the tables of docs/turnaround.md.

Each condition is played in clear and with STARTTLS. The router records it, and the live filter watches it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from cpe_filter.inspect.turnaround import LEAST
from tests.lab import boxes
from tests.lab.net import PYTHON, Lab
from tests.lab.turnaround import measure
from tests.lab.turnaround.play import DEVICE, OPERATOR, THINKERS, Scene

#: Milliseconds that the second table compares.
THRESHOLDS = (5, 10, 15, 20, 25, 30, 40, 50)
RELAYED = "relayed"
#: HELO name -> milliseconds and turns with an acknowledgement ahead, of each connection.
Values = dict[str, list[tuple[int, int]]]


def conditions(scene: Scene, count: int) -> dict[str, tuple[str, float, Callable[[], None]]]:
    """Title -> the network in the home, the round trip to the operator, who plays."""

    def local() -> None:
        scene.programs(DEVICE, count)

    def relayed() -> None:
        scene.programs(OPERATOR, count, ("postfix", "exim"))

    return {
        "programs, wired": ("wired", 20.0, local),
        "programs, Wi-Fi with jitter and loss": ("Wi-Fi", 20.0, local),
        "programs, Wi-Fi with power saving": ("power saving", 20.0, local),
        "programs, loaded NAS": ("wired", 20.0, lambda: scene.loaded(local)),
        "thinkers": ("wired", 20.0, lambda: scene.thinkers(DEVICE, 2 * count)),
        f"{RELAYED}, 20 ms": ("wired", 20.0, relayed),
        f"{RELAYED}, 60 ms": ("wired", 60.0, relayed),
        f"{RELAYED}, 150 ms": ("wired", 150.0, relayed),
        f"{RELAYED}, 60 ms, Wi-Fi": ("Wi-Fi", 60.0, relayed),
    }


def play(tls: bool, count: int, folder: Path, only: list[str]) -> dict[str, dict[str, Values]]:
    """Condition -> "capture" and "live" -> what was found."""
    results: dict[str, dict[str, Values]] = {}
    with Lab(devices=1) as lab:
        scene = Scene(lab, tls)
        notes = lab.folder / "notes"
        policy = lab.policy('[filter]\nmode = "monitor"\n')
        program = [PYTHON, "-m", "tests.lab.turnaround.noting", str(notes), "run", "--policy", str(policy)]
        log = lab.folder / "noting.log"
        with log.open("w") as file:
            lab.start("router", program, stderr=file)
        try:
            for title, (lan, operator_ms, run) in conditions(scene, count).items():
                if only and not any(word in title for word in only):
                    continue
                scene.network(lan, operator_ms)
                path = folder / f"{'tls' if tls else 'clear'} {title}.pcap".replace(" ", "-").replace(",", "")
                before = len(notes.read_text().splitlines()) if notes.exists() else 0
                scene.capture(path, run)
                live = [line.split() for line in notes.read_text().splitlines()[before:]]
                found = measure.of_capture(path)
                results[title] = {
                    "capture": _by_name(found),
                    "live": _by_name([measure.Session(helo, *map(int, numbers)) for helo, *numbers in live]),
                }
                print(f"{'STARTTLS' if tls else 'clear'}: {title}: {len(found)} connections", file=sys.stderr)
        finally:
            scene.close()
    return results


def _by_name(found: list[measure.Session]) -> Values:
    values: Values = defaultdict(list)
    for session in found:
        values[session.helo].append((session.ms, session.ahead))
    return dict(values)


def rows(results: dict[str, dict[str, Values]], source: str) -> dict[str, list[tuple[int, int]]]:
    """Title of a row -> what was found, sorted. Programs of one condition are one row, thinkers a row each."""
    found: dict[str, list[tuple[int, int]]] = {}
    for title, sources in results.items():
        if title == "thinkers":
            for number, thinker in enumerate(THINKERS):
                found[thinker] = sorted(sources[source].get(f"thinker{number}.example", []))
        else:
            found[title] = sorted(one for values in sources[source].values() for one in values)
    return found


def tables(results: dict[str, dict[str, dict[str, Values]]]) -> str:
    """Both tables. results: "clear" and "STARTTLS" -> as `play` returns it."""
    lines = ["| who | dialogue | connections | p5 | p50 | p95 | most | live: p5 | p50 | p95 |", "|" + "---|" * 10]
    shares = ["| " + " | ".join(["who | dialogue", *(f">= {ms} ms" for ms in THRESHOLDS)]) + " |"]
    shares += ["|" + "---|" * (2 + len(THRESHOLDS))]
    for dialogue, played in results.items():
        live = rows(played, "live")
        for title, found in rows(played, "capture").items():
            if found:
                cells = [*_quantiles(found), found[-1][0], *_quantiles(live.get(title, []))]
                lines.append("| " + " | ".join([title, dialogue, str(len(found)), *map(str, cells)]) + " |")
                shares.append("| " + " | ".join([title, dialogue, *(_share(found, ms) for ms in THRESHOLDS)]) + " |")
    return "\n".join([*lines, "", *shares])


def _quantiles(found: list[tuple[int, int]]) -> list[int | str]:
    return [measure.quantile([ms for ms, _ in found], part) if found else "-" for part in (0.05, 0.5, 0.95)]


def _share(found: list[tuple[int, int]], least: int) -> str:
    """How many have at least so many milliseconds, and how many of all in addition an acknowledgement always ahead."""
    slow = [ahead for ms, ahead in found if ms >= least]
    return f"{100 * len(slow) / len(found):.0f} / {100 * slow.count(LEAST) / len(found):.0f} %"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20, help="messages of each program in each condition")
    parser.add_argument("--folder", type=Path, help="keep the captures and all figures here")
    parser.add_argument("only", nargs="*", help="only conditions that have one of these words")
    options = parser.parse_args()
    for text in boxes.get():
        print(f"could not get {text}", file=sys.stderr)
    with Lab(devices=1) as spare:
        folder = options.folder or spare.folder
        results = {
            name: play(tls, options.count, folder, options.only) for name, tls in (("clear", False), ("STARTTLS", True))
        }
        (folder / "turnaround.json").write_text(json.dumps(results))
    print(tables(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
