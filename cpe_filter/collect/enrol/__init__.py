"""Enrolment at the ISP: an EST server (RFC 7030) that gives certificates to known routers.

    authority   a request (PKCS #10) -> a certificate; revocation lists
    register    the store: which routers are known, one-time tokens, certificates, revocations
    proof       who a request comes from: nonces, signatures of factory keys
    est         the application: HTTP
    listener    its listener and jobs
    desk        commands for people: enrol, routers

Knows X.509, EST and which routers there are. Must not know reports or cases. A process of its own, `cpe-filter
collector est`, because the key of the authority is worth more than anything else here: what receives reports must not
have it.
"""
