"""What waits for the desk, as conditions on cases: the first page counts each, and the list of cases filters by it.

Knows columns of desk_case and desk_mail. Must not know how a list is read or shown. Conditions are our own SQL, with
`c` for the case, and parameters :answered_before (POSIX seconds) and :me where they are named.
"""

from __future__ import annotations

from typing import NamedTuple

from cpe_filter.collect.cases.history import ACKNOWLEDGED, ACTIVE


class Need(NamedTuple):
    """title, hint: for people; `{days}` is the time for an answer. condition: SQL. since: the column of desk_case from
    which it waits; the oldest comes first."""

    name: str
    title: str
    hint: str
    condition: str
    since: str


_ACTIVE = f"c.state IN ({', '.join(repr(state) for state in ACTIVE)})"
#: Compromised, no one works on it, and no days without a finding say that it is clean.
_WAITS = f"c.state IN ({', '.join(repr(state) for state in ACTIVE if state != ACKNOWLEDGED)})"
_WAITS += " AND (c.clean_since IS NULL OR c.relapsed_at >= c.clean_since)"

NEEDS: dict[str, Need] = {
    need.name: need
    for need in (
        Need(
            "objection",
            "Objections",
            "The subscriber says: this is a mistake, or my mail server. To acknowledge or close decides on it.",
            "c.objection = 1",
            "answered_at",
        ),
        Need(
            "relapsed",
            "Relapsed",
            "Found again after it was clean or closed, and no one works on it.",
            f"{_WAITS} AND (c.relapsed_at IS NOT NULL OR c.episodes > 1)",
            "begun_at",
        ),
        Need(
            "bounced",
            "Mail came back",
            "The notice by e-mail failed or was returned, and none is on its way.",
            f"{_ACTIVE} AND EXISTS (SELECT 1 FROM desk_mail m WHERE m.case_id = c.id AND m.made_at >= c.begun_at"
            " AND m.state IN ('bounced', 'failed') AND m.dismissed_at IS NULL AND NOT EXISTS (SELECT 1 FROM desk_mail o"
            " WHERE o.case_id = m.case_id AND o.place > m.place AND o.state IN ('queued', 'sent')))",
            "begun_at",
        ),
        Need(
            "untold",
            "Open, not notified",
            "No notice has reached the subscriber by any channel.",
            f"{_WAITS} AND c.told_at IS NULL",
            "begun_at",
        ),
        Need(
            "unanswered",
            "Notified, and no answer",
            "Notified at least {days} ago; no answer since, and no one works on it.",
            f"{_WAITS} AND c.told_at < :answered_before AND c.answered_at IS NULL",
            "told_at",
        ),
        Need("mine", "Assigned to me", "Active cases.", f"{_ACTIVE} AND c.assignee = :me", "begun_at"),
    )
}
