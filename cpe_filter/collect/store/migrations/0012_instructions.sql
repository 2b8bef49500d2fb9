-- Instructions of the desk for one router: signed documents that travel with the answers to its reports.
-- id: 16 hex digits of the signed bytes, by which the router answers. until_at: of an exemption. sequence: grows for each
-- router. state: queued, sent (in an answer to the router), applied, refused, expired (never answered). why: the router's
-- code of a refusal. remark: the desk's, which does not travel. document: as it is sent; '' once it has ended.
CREATE TABLE desk_instruction (
    id TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    router TEXT NOT NULL,
    dev TEXT NOT NULL,
    action TEXT NOT NULL,
    until_at BIGINT,
    remark TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    sent_at BIGINT,
    done_at BIGINT,
    why TEXT,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX desk_instruction_sequence ON desk_instruction (router, sequence);
CREATE INDEX desk_instruction_case ON desk_instruction (case_id);
CREATE INDEX desk_instruction_state ON desk_instruction (state, expires_at);
CREATE INDEX desk_instruction_made ON desk_instruction (made_at);
