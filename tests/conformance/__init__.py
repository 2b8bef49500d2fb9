"""What another dissector reads in the same captures: tshark's dissection next to replay's, session by session.

Knows tshark and replay. `python -m tests.conformance` (`make conformance`) compares every capture at hand.
`dissection` runs tshark, `readings` has one session as either of the two reads it, `differences` compares them, and
`rules` explains what differs. tests/bench/captures.py compares their speed.
"""
