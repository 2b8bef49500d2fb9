"""The running filter as others see it: the status file, metrics, `cpe-filter status`, refusals in the log.

Knows how facts are worded and written. Must not judge or enforce.
"""
