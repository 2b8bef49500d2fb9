"""Reports as they arrive: sockets, TLS, who the router is, what it may cost, and the way to the store.

Knows HTTP and NATS. Must not know cases, exports or pages.
"""
