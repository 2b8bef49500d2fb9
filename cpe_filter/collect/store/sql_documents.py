"""Reports -> rows of `router_document` and `router_in_force`: what has become of the ISP's signed documents.

Knows these two tables. Must not know an engine, or what a document asks for. As in `sql`, each statement is idempotent,
and late or disordered reports give the same rows as ordered ones: the later of two outcomes stays, and what was taken
back later than it was applied is not in force.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.collect.wire import Event, Report

Rows = list[dict[str, Any]]

#: Types that a heartbeat lists (signed.document; instructions are answered by events of their own).
TYPES = ("policy", "table", "replies")

OUTCOME = """
INSERT INTO router_document (router, type, digest, sequence, result, why, at)
VALUES (:router, :type, :digest, :sequence, :result, :why, :at)
ON CONFLICT (router, type, digest) DO UPDATE SET
    sequence = excluded.sequence, result = excluded.result, why = excluded.why, at = excluded.at
WHERE excluded.at >= router_document.at
"""
# A router learns the type of a document that it refused when it gets the key. Then that refusal is an earlier outcome.
UNTYPED = """
INSERT INTO router_document (router, type, digest, sequence, result, why, at)
SELECT CAST(:router AS TEXT), CAST(:type AS TEXT), CAST(:digest AS TEXT), CAST(:sequence AS BIGINT),
    CAST(:result AS TEXT), CAST(:why AS TEXT), CAST(:at AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM router_document d WHERE d.router = :router AND d.type IN ('policy', 'table', 'replies')
    AND d.digest = :digest AND d.at >= :at)
ON CONFLICT (router, type, digest) DO UPDATE SET result = excluded.result, why = excluded.why, at = excluded.at
WHERE excluded.at >= router_document.at
"""
TYPED = "DELETE FROM router_document WHERE router = :router AND type = '' AND digest = :digest AND at <= :at"

_SET = """
ON CONFLICT (router, type) DO UPDATE SET
    since = CASE WHEN excluded.digest = router_in_force.digest THEN router_in_force.since ELSE excluded.since END,
    digest = excluded.digest, sequence = excluded.sequence, at = excluded.at
WHERE excluded.at >= router_in_force.at
"""
# The casts tell PostgreSQL the types of parameters that have no column here.
APPLIED = f"""
INSERT INTO router_in_force (router, type, digest, sequence, since, at)
SELECT CAST(:router AS TEXT), CAST(:type AS TEXT), CAST(:digest AS TEXT), CAST(:sequence AS BIGINT),
    CAST(:at AS BIGINT), CAST(:at AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM router_document d WHERE d.router = :router AND d.type = :type AND d.digest = :digest
    AND d.result <> 'applied' AND d.at >= :at)
{_SET}"""
IN_FORCE = f"""
INSERT INTO router_in_force (router, type, digest, sequence, since, at)
VALUES (:router, :type, :digest, :sequence, :at, :at)
{_SET}"""
#: It is not in force any more; what is, the next heartbeat says.
LEFT = """
UPDATE router_in_force SET digest = '', sequence = 0, since = :at, at = :at
WHERE router = :router AND type = :type AND digest = :digest AND at <= :at
"""
NONE = """
UPDATE router_in_force SET digest = '', sequence = 0, since = CASE WHEN digest = '' THEN since ELSE :at END, at = :at
WHERE router = :router AND at <= :at AND type NOT IN (:first, :second, :third)
"""


class Documents:
    """Collects the rows of reports; `pairs` has the statements, in the order in which they run."""

    def __init__(self) -> None:
        self._outcomes: Rows = []
        self._untyped: Rows = []
        self._typed: Rows = []
        self._applied: Rows = []
        self._left: Rows = []
        self._in_force: Rows = []
        self._none: Rows = []

    def outcome(self, report: Report, event: Event) -> None:
        """An event `document`."""
        row = {
            "router": report.router,
            "type": event.get("type", ""),
            "digest": event.get("doc", ""),
            "sequence": event.get("number"),
            "result": event["result"],
            "why": event.get("why") if event["result"] != "applied" else None,
            "at": report.at(event["up"]),
        }
        place = {name: row[name] for name in ("router", "type", "digest", "at")}
        if row["type"]:
            self._outcomes.append(row)
            self._typed.append(place)
        else:
            self._untyped.append(row)
        if row["result"] == "applied":
            self._applied.append({**place, "sequence": row["sequence"] or 0})
        elif row["result"] != "refused":
            self._left.append(place)

    def heartbeat(self, report: Report, event: Event) -> None:
        """Which documents are in force; where the list has no document of a type there is none."""
        at = report.at(event["up"])
        listed = {one["type"]: one for one in event.get("docs", ()) if one["type"] in TYPES}
        for kind, one in listed.items():
            row = {"router": report.router, "type": kind, "digest": one["doc"], "sequence": one["number"], "at": at}
            self._in_force.append(row)
        if len(listed) < len(TYPES):  # one statement for each heartbeat, however many types there are none of
            there = dict(zip(("first", "second", "third"), [*listed, "", "", ""], strict=False))
            self._none.append({"router": report.router, "type": "", "at": at, **there})

    def pairs(self) -> list[tuple[str, Rows]]:
        """Statements, each with its rows, in the order of their keys."""
        found = [
            (OUTCOME, self._outcomes),
            (UNTYPED, self._untyped),
            (TYPED, self._typed),
            (APPLIED, self._applied),
            (LEFT, self._left),
            (IN_FORCE, self._in_force),
            (NONE, self._none),
        ]
        return [(sql, sorted(rows, key=lambda row: (row["router"], row["type"], row["at"]))) for sql, rows in found]
