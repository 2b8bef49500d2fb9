"""The daemon `cpe-filter run` and its parts: everything that exists only while it runs.

Knows the order in which things start and stop, the clock, the poll loop, the log. Must not judge: that is the engine's.
"""
