-- How far a document has come, and the list of routers with one outcome, are read by type and digest.
DROP INDEX router_document_type;
CREATE INDEX router_document_of ON router_document (type, digest, result, router, why, at, sequence);
DROP INDEX router_in_force_type;
CREATE INDEX router_in_force_of ON router_in_force (type, digest, router);
