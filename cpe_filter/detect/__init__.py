"""Who is compromised. Pure: facts in, standing out.

Knows sessions' facts and the literature's indicators. Must not know packets, files, clocks, or what follows from
a standing.
"""
