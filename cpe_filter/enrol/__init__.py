"""Enrolment: how a router gets the certificate by which the collector knows it, and renews it (RFC 7030, EST).

Knows EST, keys and certificates. Must not know what is reported. `cpe-filter enrol`, short-lived.
"""
