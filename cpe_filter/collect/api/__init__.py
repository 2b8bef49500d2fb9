"""The API for other systems: cases, subscribers, figures and mails over HTTP, with tokens instead of logins.

    tokens       `cpe_...`: made, listed, revoked and recognised; only hashes are stored
    problem      errors (RFC 9457), request bodies, the headers of every answer
    query        query parameters, cursors
    schemas      what requests and answers look like (JSON Schema);   openapi   all operations, as OpenAPI 3.1
    answers      rows and cases -> JSON
    reads, acts  the operations
    once         Idempotency-Key: a repeated request is done once;   versions   ETag and If-Match
    app          routes, tokens, rate limits (ASGI);   listener   address and TLS

Knows HTTP and JSON. Must not know HTML, cookies or sessions: a cookie authorises nothing here, and a token nothing on
the fleet page, which is another application at another address.
"""
