"""How fast clients answer, measured: real programs on a device, and the same ones behind a relay on it.

`cable` delays packets, `relay` is the proxy, `sender` a client that may be slow, `noting` the live filter with the
events written down, `play` who sends what, `measure` what the captures show. `python -m tests.lab.turnaround` (root)
prints the tables of docs/turnaround.md.
"""
