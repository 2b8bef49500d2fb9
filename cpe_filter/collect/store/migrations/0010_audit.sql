-- Who did what when: see store/audit.py. Rows are only added, and deleted by retention. n: 1, 2, 3 ... without a gap.
-- who: a user of the page, the name of a token, a user of the system, '' where nobody is known. via: page, api, command,
-- service. what: a word of audit.KINDS, or another module's. case_id, reason, peer: '' where there is none.
-- chain: SHA-256, hexadecimal, of the row before and of this row.
CREATE TABLE desk_audit (
    n BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    via TEXT NOT NULL,
    what TEXT NOT NULL,
    case_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    peer TEXT NOT NULL,
    chain TEXT NOT NULL
);
CREATE INDEX desk_audit_at ON desk_audit (at);
CREATE INDEX desk_audit_who ON desk_audit (who, n);
CREATE INDEX desk_audit_case ON desk_audit (case_id, n);
CREATE INDEX desk_audit_what ON desk_audit (what, n);

-- Of a notice by e-mail: when the desk had it tried again, so that it is not given up at once for its age; and when the
-- desk took it from the list of those that failed.
ALTER TABLE desk_mail ADD COLUMN retried_at BIGINT;
ALTER TABLE desk_mail ADD COLUMN dismissed_at BIGINT;
