-- Notices sent to subscribers by e-mail. No address: the map of subscribers has it, and is asked at each attempt.
-- id: 20 hex digits, in Message-ID and in the token of bounces. place: how many of the case came before. made_by: the user who
-- asked for it; '' where it is automatic. state: queued, sent (the relay has accepted it), failed (given up), bounced,
-- skipped (the case had ended). status: the last enhanced status code or reply code (RFC 3463); why: of the last failure.
-- sent_at: when the relay accepted it. languages: as they were sent, separated by spaces.
CREATE TABLE desk_mail (
    id TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    subscriber TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    state TEXT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    sent_at BIGINT,
    done_at BIGINT,
    status TEXT,
    why TEXT,
    languages TEXT NOT NULL
);
CREATE INDEX desk_mail_case ON desk_mail (case_id);
CREATE INDEX desk_mail_state ON desk_mail (state, next_at);
CREATE INDEX desk_mail_sent ON desk_mail (sent_at);
