-- What has become of the ISP's signed documents on routers, by events `document` and heartbeats (`docs`).
-- The last outcome of each document on each router. type: '' where its signature was not good. digest: 16 hex digits of
-- the signed bytes; '' where there were none. sequence: NULL where the type is ''. result: applied, refused, taken-back or rolled-back. why: the
-- router's code, NULL where it was applied. at: of the last event.
CREATE TABLE router_document (
    router TEXT NOT NULL,
    type TEXT NOT NULL,
    digest TEXT NOT NULL,
    sequence BIGINT,
    result TEXT NOT NULL,
    why TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (router, type, digest)
);
CREATE INDEX router_document_at ON router_document (at);
CREATE INDEX router_document_type ON router_document (type, sequence);

-- Which document of each type is in force on each router. digest: '' for none. since: when it was first known to be.
-- at: the event or heartbeat that says so.
CREATE TABLE router_in_force (
    router TEXT NOT NULL,
    type TEXT NOT NULL,
    digest TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    since BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (router, type)
);
CREATE INDEX router_in_force_type ON router_in_force (type, sequence);
