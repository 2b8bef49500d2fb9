"""Reports to the Internet provider, on the side of `run`: incidents, counts, the spool.

Knows the wire format (collect/report-v1.schema.json) and the files in tmpfs. Must not know the network: `send` does.
"""
