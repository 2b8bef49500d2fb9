"""The cost of the live filter, next to other programs, and its goals: `python -m tests.bench.cost` (root).

`--json` prints one JSON object instead of the tables, `--quick` takes fewer and shorter rounds. Exit status: 0 if all
goals that could be measured are met, which may be none (stderr says why), 1 if one is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.bench import cost_measures as measures
from tests.bench.cost_accounts import CORE
from tests.bench.cost_lab import CostLab, UnavailableError
from tests.bench.cost_measures import KNOWN, NEW, NONE, PYTHON_ALL, C, Round
from tests.lab.net import why_not

MET, MISSED, SKIPPED = "met", "MISSED", "not measured"


class Plan(NamedTuple):
    """How much is measured. upload: bytes; flood_s, gap_s: seconds; sizes: bytes of a message."""

    rounds: int
    dialogues: int
    upload_rounds: int
    upload: int
    flood_s: float
    floods: int
    starts: int
    gap_s: float
    gaps: int
    sizes: tuple[int, ...] = (1_000, 100_000, 1_000_000)


FULL = Plan(
    rounds=7, dialogues=2_000, upload_rounds=21, upload=600_000_000, flood_s=9.0, floods=5, starts=7, gap_s=6.0, gaps=3
)
QUICK = Plan(
    rounds=3, dialogues=500, upload_rounds=3, upload=200_000_000, flood_s=4.0, floods=3, starts=3, gap_s=2.0, gaps=1
)
FLOOD_RATE, SATURATION = 10_000, 50_000
FLOOD_MODES = ("block", "limit", "monitor")


class Line(NamedTuple):
    """A goal: at most (or at least) so much. figure: None where it could not be measured, `why` then says why."""

    what: str
    unit: str
    goal: float
    figure: float | None
    at_least: bool = False
    why: str = ""

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return SKIPPED
        return MET if (self.figure >= self.goal if self.at_least else self.figure <= self.goal) else MISSED


Tell = Callable[[str], None]


def short_dialogues(plan: Plan, tell: Tell) -> tuple[list[Line], dict[str, Any]]:
    """Total CPU against the C program's, and the filter's own against Suricata's."""
    with CostLab() as lab:
        results = measures.compare(lab, plan.rounds, plan.dialogues, tell)
    lines = [
        _against(results, KNOWN, NONE, "total CPU of a short dialogue, known server, of no filter's", 1.05, _total),
        _against(results, NEW, C, "total CPU of a short dialogue, new server, of the C program's", 1.3, _total),
    ]
    known = results[KNOWN]
    if not isinstance(known, str):
        shown = statistics.median(r.queued for r in known)
        lines.append(Line("packets of a known server's dialogue shown to the filter", "packets", 0, shown))
    return lines, {name: r if isinstance(r, str) else medians(r) for name, r in results.items()}


def _total(one: Round) -> float:
    return one.us


def _against(
    results: measures.Compared, name: str, other: str, what: str, goal: float, of: Callable[[Round], float]
) -> Line:
    ours, theirs = results[name], results[other]
    for rounds in (ours, theirs):
        if isinstance(rounds, str):
            return Line(what, "x", goal, None, why=rounds)
    assert not isinstance(ours, str)
    assert not isinstance(theirs, str)
    # Who drops mail does less: such a round says nothing.
    whole = [(one, two) for one, two in zip(ours, theirs, strict=True) if not (one.failed or two.failed)]
    if not whole:
        return Line(what, "x", goal, None, why="no round without failed dialogues")
    return Line(what, "x", goal, paired([one for one, _ in whole], [two for _, two in whole], of))


def paired(ours: list[Round], theirs: list[Round], of: Callable[[Round], float]) -> float:
    """The median over the rounds of the ratio within each: what slows a whole round down falls out."""
    return statistics.median(of(one) / of(other) for one, other in zip(ours, theirs, strict=True))


def medians(rounds: list[Round]) -> dict[str, float]:
    """The figures of a variant, by name."""
    return {
        "total_us": statistics.median(r.us for r in rounds),
        "machine_us": statistics.median(r.machine_us for r in rounds),
        "handler_us": statistics.median(r.handler_us for r in rounds),
        "per_second": statistics.median(r.per_second for r in rounds),
        "queued": statistics.median(r.queued for r in rounds),
        "rss_mb": statistics.median(r.rss[0] for r in rounds),
        "rss_after_mb": statistics.median(r.rss[1] for r in rounds),
        "failed": float(sum(r.failed for r in rounds)),
    }


def sizes(plan: Plan, tell: Tell) -> tuple[list[Line], dict[str, Any]]:
    tell("packets queued by size of the message")
    with CostLab() as lab:
        results = measures.queued_by_size(lab, plan.sizes)
    worst = max(queued for queued, _ in results.values())
    return [Line("packets queued of a one-message dialogue, most", "packets", 15, worst)], {
        name: {"queued": queued, "on_the_wire": wire} for name, (queued, wire) in results.items()
    }


def upload(plan: Plan, tell: Tell) -> tuple[list[Line], dict[str, Any]]:
    tell("bulk upload")
    with CostLab() as lab:
        results = measures.uploads(lab, (NONE, NEW), plan.upload_rounds, plan.upload)
        why: dict[str, Any] = {}
        for name in (C, PYTHON_ALL):
            try:
                results |= measures.uploads(lab, (name,), 3, plan.upload // 3)
            except UnavailableError as error:
                why[name] = str(error)
    speed = {name: statistics.median(rate for rate, _ in runs) for name, runs in results.items()}
    ratio = statistics.median(ours / bare for (ours, _), (bare, _) in zip(results[NEW], results[NONE], strict=True))
    details = {
        name: {"mb_per_s": speed[name], "queued": statistics.median(queued for _, queued in runs)}
        for name, runs in results.items()
    }
    return [Line("bulk upload, of no filter's", "x", 0.97, ratio, at_least=True)], details | why


def floods(plan: Plan, tell: Tell) -> tuple[list[Line], dict[str, Any]]:
    lines: list[Line] = []
    details: dict[str, Any] = {}
    for mode in FLOOD_MODES:
        tell(f"flood of SYNs, mode {mode}")
        with CostLab() as lab:  # each its own: connections of a flood stay in conntrack for two minutes
            result = measures.flood(lab, mode, FLOOD_RATE, plan.flood_s)
        beyond = [result.beyond]
        for _ in range(plan.floods - 1):
            with CostLab() as lab:
                beyond.append(measures.flood(lab, mode, FLOOD_RATE, 1.0, idle_s=0, status_s=1).beyond)
        result = result._replace(beyond=statistics.median_low(beyond))
        details[mode] = result._asdict()
        name, share = f"{FLOOD_RATE:,} SYN/s, {mode}", max(0.0, 100 * (result.handler - result.idle))
        lines += [
            Line(f"{name}: queued beyond the deciding one", "packets", 5, result.beyond),
            Line(f"{name}: the filter's CPU after that, above idle", "%", 0.1, share),
        ]
    return lines, details


def memory(plan: Plan, tell: Tell) -> tuple[list[Line], dict[str, Any]]:
    tell("memory")
    with CostLab() as lab:
        result = measures.memory(lab)
    return [
        Line("RSS idle, of a bare interpreter's", "x", 1.5, result.idle / result.bare),
        Line(f"RSS with {result.flows:,} flows and {result.devices} devices", "MB", 20, result.loaded),
    ], result._asdict()


def start(plan: Plan, tell: Tell) -> tuple[list[Line], dict[str, Any]]:
    tell("start")
    with CostLab(core=None) as lab:
        times = [measures.first_verdict(lab) for _ in range(plan.starts)]
    return [Line("first verdict after exec", "s", 0.3, statistics.median(times))], {"seconds": times}


def gap(plan: Plan, tell: Tell) -> tuple[list[Line], dict[str, Any]]:
    tell("the event loop under saturation")
    with CostLab() as lab:
        runs = sorted(measures.loop_gap(lab, SATURATION, plan.gap_s) for _ in range(plan.gaps))
    result = runs[(len(runs) - 1) // 2]
    return [Line("longest gap of the event loop under saturation", "ms", 100, result.gap_s * 1e3)], result._asdict()


PARTS = {
    "dialogues": short_dialogues,
    "sizes": sizes,
    "upload": upload,
    "floods": floods,
    "memory": memory,
    "start": start,
    "gap": gap,
}


# ── output ──────────────────────────────────────────────────────────────────────────────────────────


def machine() -> str:
    """This machine in a line."""
    model = platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"


def show(result: dict[str, Any], lines: list[Line]) -> None:
    print(f"{result['date']}, {result['machine']}, load of others {result['load']:.1f}\n")
    if result["load"] > len(os.sched_getaffinity(0)) / 4:
        print("Others use this machine: times, and what depends on who runs first, are worse than the program's own.\n")
    for name, rows in result["details"].items():
        show_details(name, rows)
    width = max(len(line.what) for line in lines)
    print(f"{'goal':<{width}}  {'':>2} {'goal':>6} {'figure':>9}  unit")
    for line in lines:
        figure = "-" if line.figure is None else f"{line.figure:.2f}"
        sign = ">=" if line.at_least else "<="
        why = f" ({line.why})" if line.why else ""
        print(f"{line.what:<{width}}  {sign} {line.goal:>6g} {figure:>9}  {line.unit:<8} {line.verdict}{why}")


def show_details(name: str, rows: dict[str, Any]) -> None:
    """A part's figures: a table where each row has the same columns, else one line."""
    if not all(isinstance(row, dict | str) for row in rows.values()):
        print(name + ": " + ", ".join(f"{key} {_number(value)}" for key, value in rows.items()) + "\n")
        return
    columns = next((list(row) for row in rows.values() if isinstance(row, dict)), [])
    print(f"{name:<27}" + "".join(f"{column:>13}" for column in columns))
    for key, row in rows.items():
        cells = f"  {row}" if isinstance(row, str) else "".join(f"{_number(row[column]):>13}" for column in columns)
        print(f"{key:<27}{cells}")
    print()


def _number(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_number, value))
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    reason = why_not()
    if reason:
        print(f"the cost of the live filter is not measured: {reason}", file=sys.stderr)
        return 0

    def tell(text: str) -> None:
        print(f"... {text}", file=sys.stderr, flush=True)

    load = os.getloadavg()[0]  # of others: nothing of ours runs yet
    lines: list[Line] = []
    details: dict[str, Any] = {}
    for name in options.parts or PARTS:
        try:
            found, details[name] = PARTS[name](QUICK if options.quick else FULL, tell)
        except UnavailableError as error:
            print(f"the cost of the live filter is not measured: {error}", file=sys.stderr)
            return 0
        lines += found
    result = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "load": load,
        "core": CORE,
        "details": details,
        "goals": [{**line._asdict(), "verdict": line.verdict} for line in lines],
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result, lines)
    return 1 if any(line.verdict == MISSED for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
