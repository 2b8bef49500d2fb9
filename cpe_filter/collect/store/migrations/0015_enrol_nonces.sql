-- Nonces that a factory's key has signed, until they have expired: each is good once, in all processes together.
CREATE TABLE enrol_nonce (
    nonce TEXT NOT NULL PRIMARY KEY,
    ends_at BIGINT NOT NULL
);
CREATE INDEX enrol_nonce_ends ON enrol_nonce (ends_at);
