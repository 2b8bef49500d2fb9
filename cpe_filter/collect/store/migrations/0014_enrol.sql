-- Routers that may have a certificate: see enrol/register.py. key: SHA-256, hexadecimal, of the public key of its
-- factory; '' for one that is known by a certificate of its factory, or a token, alone. state: allowed or revoked.
CREATE TABLE enrol_router (
    router TEXT NOT NULL PRIMARY KEY,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- One-time tokens. hash: SHA-256, hexadecimal. used_key: the key that got a certificate for it; that one may ask again.
CREATE TABLE enrol_token (
    router TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    used_key TEXT NOT NULL
);

-- Certificates. serial: hexadecimal. key: SHA-256 of the public key. how: factory, certificate, token, renewal, hand.
CREATE TABLE enrol_certificate (
    serial TEXT NOT NULL PRIMARY KEY,
    router TEXT NOT NULL,
    key TEXT NOT NULL,
    how TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX enrol_certificate_router ON enrol_certificate (router, issued_at);
CREATE INDEX enrol_certificate_key ON enrol_certificate (key);
CREATE INDEX enrol_certificate_revoked ON enrol_certificate (revoked_at, ends_at);
