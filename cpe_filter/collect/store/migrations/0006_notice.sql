-- Of an incident: how often the notice was opened at its device, and the last answer there, as JSON.
ALTER TABLE incident ADD COLUMN notice TEXT;
