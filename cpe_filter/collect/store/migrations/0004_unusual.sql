-- How many devices look like mail servers, as the last heartbeat says.
ALTER TABLE router_state ADD COLUMN unusual BIGINT;
CREATE INDEX incident_unusual ON incident (standing, closed_at);
