"""What the router knows of the home: leases, networks, neighbours, MX queries, prefixes of NAT64.

Knows files, /proc and sockets of the router. Must not judge, filter, or send anything.
"""
