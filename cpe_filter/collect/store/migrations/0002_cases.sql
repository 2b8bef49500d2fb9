-- What the abuse desk works with. All but desk_case_action, desk_case_alias, desk_event, desk_export, desk_mark and
-- desk_month can be built anew from `incident`, `desk_case_action` and the map of subscribers, with the same result.
-- Times are POSIX seconds. JSON is text.

-- One for each device of a subscriber. subscriber: '' while the router is not in the map of subscribers; region, line
-- (tariff or the like), model, contact, asn: from that map, '' or NULL where it does not say.
-- state: open, recurring, notified, acknowledged, clean, closed (see history.py). standing: of the device now.
-- first_at, last_at: of the evidence of all its incidents. ind: JSON, indicator -> connections, of all its incidents;
-- so are the counts. opened_at: when its first episode began. Of the latest episode: begun_at, notified_at,
-- acknowledged_at, clean_at, closed_at, why (closed by what; of an incident, or 'desk').
-- acted: how many actions were taken into account. changed_at: the last change of an incident or by an action.
CREATE TABLE desk_case (
    id TEXT NOT NULL PRIMARY KEY,
    router TEXT NOT NULL,
    dev TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    region TEXT NOT NULL,
    line TEXT NOT NULL,
    model TEXT NOT NULL,
    contact TEXT NOT NULL,
    asn BIGINT,
    oui TEXT,
    state TEXT NOT NULL,
    standing TEXT NOT NULL,
    act TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    incidents BIGINT NOT NULL,
    episodes BIGINT NOT NULL,
    conns BIGINT NOT NULL,
    nets BIGINT NOT NULL,
    msgs BIGINT NOT NULL,
    rcpts BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    ind TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    notified_at BIGINT,
    acknowledged_at BIGINT,
    clean_at BIGINT,
    closed_at BIGINT,
    why TEXT,
    acted BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX desk_case_device ON desk_case (router, dev);
CREATE INDEX desk_case_subscriber ON desk_case (subscriber);
CREATE INDEX desk_case_state ON desk_case (state, last_at);
CREATE INDEX desk_case_last ON desk_case (last_at);

-- The times that a device was compromised: from its first incident to the end of the last one that overlaps, or to the
-- desk's closing. number: 0 for the first; the others are recurrences. incident: the one that began it.
CREATE TABLE desk_episode (
    case_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    incident TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    notified_at BIGINT,
    acknowledged_at BIGINT,
    clean_at BIGINT,
    closed_at BIGINT,
    why TEXT,
    PRIMARY KEY (case_id, number)
);
CREATE INDEX desk_episode_begun ON desk_episode (begun_at);
CREATE INDEX desk_episode_clean ON desk_episode (clean_at);

-- Which incident is in which case. case_id: NULL where it makes none (suspected only). begun_at: from when it counts.
-- seen: which state of the incident was taken into account. mapped: what the map of subscribers said.
CREATE TABLE desk_incident (
    router TEXT NOT NULL,
    incident TEXT NOT NULL,
    dev TEXT NOT NULL,
    case_id TEXT,
    begun_at BIGINT NOT NULL,
    seen TEXT NOT NULL,
    mapped TEXT NOT NULL,
    PRIMARY KEY (router, incident)
);
CREATE INDEX desk_incident_case ON desk_incident (case_id);
CREATE INDEX desk_incident_device ON desk_incident (router, dev);

-- What people and notification systems did, who and when. what: notified, acknowledged, closed, reopened, note.
-- known: JSON, the incidents that were in the case then.
CREATE TABLE desk_case_action (
    id TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    text TEXT NOT NULL,
    known TEXT NOT NULL
);
CREATE INDEX desk_case_action_case ON desk_case_action (case_id);
CREATE INDEX desk_case_action_at ON desk_case_action (at);

-- A case's id changes with its subscriber (a router becomes known, the map is put right): the old id finds it still.
CREATE TABLE desk_case_alias (
    old TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL
);
CREATE INDEX desk_case_alias_id ON desk_case_alias (id);

-- What notification systems are told: opened, recurring, raised, clean, closed; each once (slot says which).
-- n: order. state: queued, delivered, dead, skipped (it is from before notifications were set up).
-- status: the last answer's, NULL where none came; why: of the last failure.
CREATE TABLE desk_event (
    id TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    slot TEXT NOT NULL,
    n BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    done_at BIGINT,
    status BIGINT,
    why TEXT
);
CREATE INDEX desk_event_case ON desk_event (case_id);
CREATE INDEX desk_event_state ON desk_event (state, next_at);
CREATE INDEX desk_event_made ON desk_event (made_at);

-- What has been exported under which mark, so that it is exported once. done: 0 while its files are being written.
CREATE TABLE desk_export (
    mark TEXT NOT NULL,
    router TEXT NOT NULL,
    incident TEXT NOT NULL,
    batch BIGINT NOT NULL,
    done BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (mark, router, incident)
);
CREATE INDEX desk_export_batch ON desk_export (mark, batch);

-- Places kept between runs: watermarks, and who does the desk's work until when.
CREATE TABLE desk_mark (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL,
    holder TEXT NOT NULL
);

-- Months' figures (UTC, YYYY-MM), kept for good: no names in them. subscribers: compromised at some time of the month;
-- new: for the first time ever; recurring: again after having been clean or closed; cleared: clean at the month's end;
-- expired: over without being known to be clean; notified, acknowledged: at some time of the month. Each subscriber is
-- counted once, under the region and model of its latest case. clean_s: from begin to clean, summed over `cleans`.
CREATE TABLE desk_month (
    month TEXT NOT NULL,
    region TEXT NOT NULL,
    model TEXT NOT NULL,
    subscribers BIGINT NOT NULL,
    new BIGINT NOT NULL,
    recurring BIGINT NOT NULL,
    cleared BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    notified BIGINT NOT NULL,
    acknowledged BIGINT NOT NULL,
    cleans BIGINT NOT NULL,
    clean_s BIGINT NOT NULL,
    PRIMARY KEY (month, region, model)
);
