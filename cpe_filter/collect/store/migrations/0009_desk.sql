-- Who works on a case. Of an action `assigned`: the user, '' for no one; NULL for other actions. Of a case: what its
-- latest such action says.
ALTER TABLE desk_case_action ADD COLUMN assignee TEXT;
ALTER TABLE desk_case ADD COLUMN assignee TEXT NOT NULL DEFAULT '';
CREATE INDEX desk_case_assignee ON desk_case (assignee, state);

-- What a person does to many cases at once. query: the filter that selected the cases, '' where each was chosen.
-- action: '' until it is confirmed. text: the reason. begun_at: when it was confirmed; done_at: when no case waited any
-- more, NULL if it was interrupted. number: cases.
CREATE TABLE desk_batch (
    id TEXT NOT NULL PRIMARY KEY,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    query TEXT NOT NULL,
    number BIGINT NOT NULL,
    action TEXT NOT NULL,
    text TEXT NOT NULL,
    assignee TEXT NOT NULL,
    begun_at BIGINT,
    done_at BIGINT
);
CREATE INDEX desk_batch_made ON desk_batch (made_by, made_at);
-- state: waiting, done, refused; why: of refused. It changes in the transaction that changes the case.
CREATE TABLE desk_batch_case (
    batch TEXT NOT NULL,
    place BIGINT NOT NULL,
    case_id TEXT NOT NULL,
    state TEXT NOT NULL,
    why TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (batch, place)
);

-- Filters of the list of cases that people have saved. owner: '' for all users. query: as in the URL.
CREATE TABLE desk_filter (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL
);
CREATE UNIQUE INDEX desk_filter_name ON desk_filter (owner, name);
