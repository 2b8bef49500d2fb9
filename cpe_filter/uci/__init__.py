"""The router's own configuration as a policy: UCI, the firewall's zones, netifd's networks, DHCP's files.

Knows OpenWrt: the text of `uci export`, netifd's dump, and what the service needs from it. Short-lived: it is a part of
`cpe-filter uci`, which the init script calls, and never of the running filter. Must not know how a policy is carried
out, nor procd, which the init script talks to.
"""
