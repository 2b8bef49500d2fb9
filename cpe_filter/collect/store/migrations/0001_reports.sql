-- What routers report. Runs on SQLite and on PostgreSQL: plain types, no default that one of them lacks.
-- Times are POSIX seconds of this server, unless said otherwise. JSON is text.

-- Each event once: (router, boot, seq) names it for good. The evidence, kept for days.
CREATE TABLE report (
    router TEXT NOT NULL,
    boot TEXT NOT NULL,
    seq BIGINT NOT NULL,
    received BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    incident TEXT,
    address TEXT,
    body TEXT NOT NULL,
    PRIMARY KEY (router, boot, seq)
);
CREATE INDEX report_received ON report (received);
CREATE INDEX report_incident ON report (router, incident);

-- The state of each incident after its latest event, whatever order the events came in.
-- boot, seq, at: of that event. first_at, last_at: of the evidence. closed_at, why: NULL while open.
-- changed_at: when this row last changed, for those who follow.
CREATE TABLE incident (
    router TEXT NOT NULL,
    id TEXT NOT NULL,
    dev TEXT NOT NULL,
    oui TEXT,
    name TEXT,
    kind TEXT NOT NULL,
    standing TEXT NOT NULL,
    why TEXT,
    act TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    conns BIGINT NOT NULL,
    nets BIGINT NOT NULL,
    msgs BIGINT NOT NULL,
    rcpts BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    ind TEXT NOT NULL,
    sp TEXT,
    address TEXT,
    boot TEXT NOT NULL,
    seq BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    raised_at BIGINT,
    updated_at BIGINT NOT NULL,
    closed_at BIGINT,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (router, id)
);
CREATE INDEX incident_changed ON incident (changed_at);
CREATE INDEX incident_device ON incident (router, dev);
CREATE INDEX incident_raised ON incident (raised_at);
CREATE INDEX incident_closed ON incident (closed_at);

-- What is known of each router. dropped: since its boot; drops: since it is known.
-- clock_off: the router's clock less this server's, seconds, NULL where its clock was not synchronised.
-- From heartbeat_at on: of the last heartbeat.
CREATE TABLE router_state (
    router TEXT NOT NULL PRIMARY KEY,
    address TEXT,
    boot TEXT NOT NULL,
    up BIGINT NOT NULL,
    heard_first BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    clock_off BIGINT,
    ver TEXT NOT NULL,
    pol TEXT NOT NULL,
    model TEXT,
    dropped BIGINT NOT NULL,
    drops BIGINT NOT NULL,
    heartbeat_at BIGINT,
    devices BIGINT,
    suspected BIGINT,
    compromised BIGINT,
    exempt BIGINT,
    mode TEXT,
    fail TEXT,
    packets BIGINT,
    failures BIGINT,
    restored BIGINT
);
CREATE INDEX router_state_heard ON router_state (heard_at);

-- Devices that were compromised in a month (UTC, YYYY-MM). Kept for good: it holds no evidence.
-- closed_at: when it was clear again, NULL if it was not by the month's end.
CREATE TABLE compromised_month (
    month TEXT NOT NULL,
    router TEXT NOT NULL,
    dev TEXT NOT NULL,
    model TEXT,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    closed_at BIGINT,
    PRIMARY KEY (month, router, dev)
);
