"""Notices by e-mail: `message` writes them, `outbox` keeps them in the store, `sender` sends them through `relay`,
`bounce` reads what comes back, `desk` is what the fleet page shows and does, `setup` puts all together.

Knows cases and the subscriber map. Must not know pages. The address of a subscriber is in the map alone: neither the
store nor a log has it.
"""
