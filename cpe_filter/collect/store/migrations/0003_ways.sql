-- By how many interfaces outside the filter's mail of the home can leave, as the last heartbeat says.
ALTER TABLE router_state ADD COLUMN ways BIGINT;
