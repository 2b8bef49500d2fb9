"""What is on the wire: packets, streams, SMTP dialogues, sessions.

Knows bytes and RFCs. Must not know: sockets, clocks, policy, logging, what is good or bad.
"""
