"""Notices by e-mail: from a case to the relay of the ISP, and back from a bounce to the case.

    message      a notice -> a message and its envelope;   token   the signed address to which its bounce comes
    outbox       messages that wait, and what became of those before, in the store
    sender       sends what is due through the relay (relay);   bounce   reads what comes back
    desk         what the fleet page shows and does;   setup   all together, as the configuration has it

Knows cases and the subscriber map. Must not know pages. The address of a subscriber is in the map alone: neither the
store nor a log has it.
"""
