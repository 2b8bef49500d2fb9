-- What became of the notice, for the funnel: told, seen, answered, clean, relapsed (docs/collector.md defines each).
-- Of an incident: when the notice was first known to be open at the device, and at another device of the home; when it was
-- first known to be answered, and with an objection; the last answer: seen, cleaned, server or mistake. Times are those of
-- the events that say so, so it happened no later. NULL: not, as far as is known.
ALTER TABLE incident ADD COLUMN seen_at BIGINT;
ALTER TABLE incident ADD COLUMN seen_home_at BIGINT;
ALTER TABLE incident ADD COLUMN answered_at BIGINT;
ALTER TABLE incident ADD COLUMN objected_at BIGINT;
ALTER TABLE incident ADD COLUMN answer TEXT;

-- Of an episode: when its subscriber was first told, in all and by each channel (router: the notice was opened in the home;
-- mail: the relay has accepted it, and it has not come back; webhook; desk: a person said so). seen_by: device, home, or both,
-- separated by a space. clean_since: its last finding, once enough days without another were observed. relapsed_at: the first
-- finding after these. last_at: the last finding. outcome: what the desk closed it as (confirmed, false-alarm), or ''.
ALTER TABLE desk_episode ADD COLUMN told_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN told_router_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN told_mail_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN told_webhook_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN told_desk_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN seen_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN seen_by TEXT NOT NULL DEFAULT '';
ALTER TABLE desk_episode ADD COLUMN answered_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN answer TEXT;
ALTER TABLE desk_episode ADD COLUMN clean_since BIGINT;
ALTER TABLE desk_episode ADD COLUMN relapsed_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN last_at BIGINT;
ALTER TABLE desk_episode ADD COLUMN outcome TEXT NOT NULL DEFAULT '';

-- The same of the latest episode of a case; relapsed_at: also if the latest episode is itself the relapse. told_by: channels,
-- separated by spaces. objection: 1 while people's objection waits for the desk.
ALTER TABLE desk_case ADD COLUMN told_at BIGINT;
ALTER TABLE desk_case ADD COLUMN told_by TEXT NOT NULL DEFAULT '';
ALTER TABLE desk_case ADD COLUMN seen_at BIGINT;
ALTER TABLE desk_case ADD COLUMN seen_by TEXT NOT NULL DEFAULT '';
ALTER TABLE desk_case ADD COLUMN answered_at BIGINT;
ALTER TABLE desk_case ADD COLUMN answer TEXT;
ALTER TABLE desk_case ADD COLUMN objection BIGINT NOT NULL DEFAULT 0;
ALTER TABLE desk_case ADD COLUMN clean_since BIGINT;
ALTER TABLE desk_case ADD COLUMN relapsed_at BIGINT;

-- What earlier versions kept: the single events while there are any, or else the time of the incident's latest event. The
-- columns of cases follow when cases are built.
UPDATE incident SET
    seen_at = COALESCE((SELECT MIN(p.at) FROM report p WHERE p.router = incident.router AND p.incident = incident.id
        AND p.body LIKE '%"notice":{%'), updated_at)
WHERE notice IS NOT NULL AND notice NOT LIKE '%"shown":0%';
UPDATE incident SET
    answered_at = COALESCE((SELECT MIN(p.at) FROM report p WHERE p.router = incident.router AND p.incident = incident.id
        AND p.body LIKE '%"notice":{"answer":"%'), updated_at),
    answer = CASE WHEN notice LIKE '%"answer":"seen"%' THEN 'seen' WHEN notice LIKE '%"answer":"cleaned"%' THEN 'cleaned'
        WHEN notice LIKE '%"answer":"server"%' THEN 'server' ELSE 'mistake' END
WHERE notice LIKE '%"answer":"%';
UPDATE incident SET objected_at = answered_at WHERE answer IN ('server', 'mistake');
