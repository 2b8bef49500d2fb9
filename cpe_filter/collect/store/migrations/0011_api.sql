-- Tokens of the API. id: 8 hex digits, a part of the token. hash: SHA-256 of the whole token, in hex; the token itself is nowhere.
-- role: read, desk or admin. used_at: the last use, to the minute; NULL before the first. revoked_at: NULL while it is valid.
CREATE TABLE api_token (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    used_at BIGINT
);
-- Answers to POST requests with an Idempotency-Key, for a day. digest: SHA-256 of method, path and body.
-- status: NULL while the request is being done. headers, body: as they were sent.
CREATE TABLE api_request (
    token TEXT NOT NULL,
    key TEXT NOT NULL,
    at BIGINT NOT NULL,
    digest TEXT NOT NULL,
    status BIGINT,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (token, key)
);
CREATE INDEX api_request_at ON api_request (at);
-- Which version of a case a request has acted on: only one request may.
CREATE TABLE api_claim (
    case_id TEXT NOT NULL,
    version TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (case_id, version)
);
CREATE INDEX api_claim_at ON api_claim (at);
