-- Of an incident's device: its counts at submission ports as JSON, 1 if it takes mail from outside, and what it is by DHCP.
ALTER TABLE incident ADD COLUMN sub TEXT;
ALTER TABLE incident ADD COLUMN serves BIGINT;
ALTER TABLE incident ADD COLUMN class TEXT;
-- Devices with many submission servers, as the last heartbeat says: how many, and each with its counts, as JSON.
ALTER TABLE router_state ADD COLUMN submitters BIGINT;
ALTER TABLE router_state ADD COLUMN submission TEXT;
