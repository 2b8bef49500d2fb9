"""The queries of `figures`. In braces: parts that `figures` fills in, which are never values from outside.

Knows the tables of the store. Must not know how a figure is shown.
"""

from __future__ import annotations

# Spells, see figures: (who, number from 1, begun, over_at or NULL, clean).
_SPELLS = """
WITH one AS (
    SELECT CASE WHEN c.subscriber = '' THEN 'router ' || c.router ELSE 'of ' || c.subscriber END AS who,
        e.begun_at AS begun, COALESCE(e.clean_at, e.closed_at) AS over_at,
        CASE WHEN e.clean_at IS NULL THEN 0 ELSE 1 END AS clean
    FROM desk_episode e JOIN desk_case c ON c.id = e.case_id LEFT JOIN router_state r ON r.router = c.router {where}
),
before AS (
    SELECT who, begun, over_at, clean,
        MAX(COALESCE(over_at, 9000000000000)) OVER (
            PARTITION BY who ORDER BY begun, COALESCE(over_at, 9000000000000)
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS until
    FROM one
),
numbered AS (
    SELECT who, begun, over_at, clean,
        SUM(CASE WHEN until IS NULL OR until < begun THEN 1 ELSE 0 END) OVER (
            PARTITION BY who ORDER BY begun, COALESCE(over_at, 9000000000000)
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS number
    FROM before
),
spell AS (
    SELECT who, number, MIN(begun) AS begun, MIN(clean) AS clean,
        CASE WHEN COUNT(over_at) = COUNT(*) THEN MAX(over_at) ELSE NULL END AS over_at
    FROM numbered GROUP BY who, number
)
"""
DAYS = (  # our own texts
    _SPELLS
    + """
SELECT day, SUM(new) AS new, SUM(recurring) AS recurring, SUM(cleared) AS cleared, SUM(ended) AS ended FROM (
    SELECT CASE WHEN begun < :since THEN -1 ELSE (begun - :since) / 86400 END AS day,
        CASE WHEN number = 1 THEN 1 ELSE 0 END AS new, CASE WHEN number = 1 THEN 0 ELSE 1 END AS recurring,
        0 AS cleared, 0 AS ended
    FROM spell
    UNION ALL
    SELECT CASE WHEN over_at < :since THEN -1 ELSE (over_at - :since) / 86400 END, 0, 0, clean, 1
    FROM spell WHERE over_at IS NOT NULL
) moment GROUP BY day
"""
)
MONTHS = """
SELECT month, SUM(subscribers) AS subscribers, SUM(new) AS new, SUM(recurring) AS recurring, SUM(cleared) AS cleared,
    SUM(expired) AS expired, SUM(notified) AS notified, SUM(acknowledged) AS acknowledged, SUM(cleans) AS cleans,
    SUM(clean_s) AS clean_s
FROM desk_month c {where} GROUP BY month ORDER BY month DESC LIMIT :most
"""
BY = """
SELECT name, COUNT(DISTINCT who) AS count FROM (
    SELECT {by} AS name, CASE WHEN c.subscriber = '' THEN 'router ' || c.router ELSE 'of ' || c.subscriber END AS who
    FROM desk_case c JOIN desk_episode e ON e.case_id = c.id LEFT JOIN router_state r ON r.router = c.router
    {where} e.clean_at IS NULL AND e.closed_at IS NULL
) active GROUP BY name ORDER BY count DESC, name LIMIT 500
"""
#: Episodes that go on in another device's are left out.
FUNNEL = """
SELECT CASE WHEN c.subscriber = '' THEN 'router ' || c.router ELSE 'of ' || c.subscriber END AS who, e.begun_at,
    e.told_at, e.told_router_at, e.told_mail_at, e.told_webhook_at, e.told_desk_at, e.seen_at, e.answered_at,
    e.clean_since, e.relapsed_at, e.outcome
FROM desk_episode e JOIN desk_case c ON c.id = e.case_id LEFT JOIN router_state r ON r.router = c.router
{where} e.begun_at >= :since AND (e.why IS NULL OR e.why <> 'merged') ORDER BY e.begun_at DESC LIMIT :most
"""
CLEAN_DAYS = "SELECT value FROM desk_mark WHERE name = :name"
INDICATORS = """
SELECT c.ind FROM desk_case c LEFT JOIN router_state r ON r.router = c.router
{where} c.last_at >= :since ORDER BY c.last_at DESC LIMIT :most
"""
FLEET = """
SELECT COUNT(*) AS routers, SUM(drops) AS drops, SUM(CASE WHEN drops > 0 THEN 1 ELSE 0 END) AS dropping,
    SUM(exempt) AS exempt, SUM(CASE WHEN exempt > 0 THEN 1 ELSE 0 END) AS exempting,
    SUM(CASE WHEN failures > 0 THEN 1 ELSE 0 END) AS failing,
    SUM(CASE WHEN ways > 0 THEN 1 ELSE 0 END) AS unwatched,
    SUM(CASE WHEN heartbeat_at >= :day THEN 1 ELSE 0 END) AS fresh,
    SUM(CASE WHEN heartbeat_at < :day AND heartbeat_at >= :three THEN 1 ELSE 0 END) AS late,
    SUM(CASE WHEN heartbeat_at < :three AND heartbeat_at >= :week THEN 1 ELSE 0 END) AS later,
    SUM(CASE WHEN heartbeat_at < :week OR heartbeat_at IS NULL THEN 1 ELSE 0 END) AS silent
FROM router_state c WHERE c.heard_at >= :fleet
"""
FLEET_BY = """
SELECT c.{by} AS name, COUNT(*) AS count FROM router_state c WHERE c.heard_at >= :fleet
GROUP BY c.{by} ORDER BY count DESC, name LIMIT 500
"""
BAD = """
SELECT router, model, drops, failures, restored, exempt, heard_at FROM router_state
WHERE heard_at >= :fleet AND (drops > 0 OR failures > 0 OR restored > 0)
ORDER BY CASE WHEN failures > 0 THEN 0 ELSE 1 END, drops DESC, router LIMIT 8
"""
UNMAPPED = "SELECT COUNT(DISTINCT router) AS count FROM desk_case WHERE subscriber = ''"
