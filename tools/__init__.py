"""What developers and builders run; nothing of it is on a router."""
